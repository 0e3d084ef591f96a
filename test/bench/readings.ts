/** Prebuilt PUBLISH frames of a device: seeded random walks, never one constant payload. */
import { createModel, MODEL_KINDS } from '../../device-sim/models/model.ts'
import { Walk } from '../../device-sim/models/walk.ts'
import { Random } from '../../device-sim/random.ts'

/**
 * What a reading looks like. `models`: those of the fleet, which deflate makes 0.28 of. `channels`:
 * eight measured values of three decimals, most of whose digits are noise, as from a converter with
 * more bits than the signal: 0.45 to 0.5.
 */
export type Shape = 'models' | 'channels'

const CHANNELS = 8

export interface DeviceFrames {
  readonly clientId: string
  /** PUBLISH frames; the packet id is patched before each send. */
  readonly frames: readonly Buffer[]
  /** Offset of the packet id in each frame. */
  readonly idAt: readonly number[]
  readonly payloadBytes: number
}

export function encodeLength(length: number): Buffer {
  const bytes: number[] = []
  let rest = length
  do {
    const digit = rest % 128
    rest = Math.floor(rest / 128)
    bytes.push(rest > 0 ? digit | 0x80 : digit)
  } while (rest > 0)
  return Buffer.from(bytes)
}

export function utf8(text: string): Buffer {
  const bytes = Buffer.from(text)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}

/** Level of the protocol: MQTT 3.1.1 or 5. */
export type Protocol = 4 | 5

/** An empty list of properties, of which MQTT 3.1.1 has none. */
function noProperties(protocol: Protocol): Buffer {
  return Buffer.alloc(protocol === 5 ? 1 : 0)
}

export function connectFrame(clientId: string, clean: boolean, protocol: Protocol = 4): Buffer {
  const variable = Buffer.concat([
    utf8('MQTT'),
    Buffer.from([protocol, clean ? 2 : 0, 0, 0]),
    noProperties(protocol),
    utf8(clientId),
  ])
  return Buffer.concat([Buffer.from([0x10]), encodeLength(variable.length), variable])
}

/** Gives the topic's last level and the payloads of a device, one after the other. */
function source(
  shape: Shape,
  clientId: string,
  device: number,
  seed: number,
): { kind: string; next(): Buffer } {
  if (shape === 'models') {
    const kind = MODEL_KINDS[device % MODEL_KINDS.length] ?? 'temperature'
    return createModel(kind, seed, { device: clientId })
  }
  const random = new Random(seed, `channels/${clientId}`)
  const walks = Array.from(
    { length: CHANNELS },
    () => new Walk(random, { low: -1000, high: 1000, step: 200 }),
  )
  let n = 0
  return {
    kind: 'channels',
    next: () => {
      const values = walks.map((walk, i) => `"ch${i}":${walk.next().toFixed(3)}`)
      return Buffer.from(`{"n":${++n},${values.join(',')}}`)
    },
  }
}

export interface FramesOptions {
  readonly seed: number
  readonly qos: 1 | 2
  /** @default models */
  readonly shape?: Shape
  /** @default 4 */
  readonly protocol?: Protocol
  /** Messages of a device. */
  readonly frames: number
}

export function deviceFrames(device: number, options: FramesOptions): DeviceFrames {
  const { seed, qos, shape = 'models', protocol = 4, frames: count } = options
  const clientId = `bench-${device}`
  const readings = source(shape, clientId, device, seed)
  const frames: Buffer[] = []
  const idAt: number[] = []
  let payloadBytes = 0
  for (let i = 0; i < count; i++) {
    const payload = readings.next()
    payloadBytes += payload.length
    const topic = utf8(`plant/${clientId}/${readings.kind}`)
    const body = Buffer.concat([topic, Buffer.alloc(2), noProperties(protocol), payload])
    const length = encodeLength(body.length)
    frames.push(Buffer.concat([Buffer.from([0x30 | (qos << 1)]), length, body]))
    idAt.push(1 + length.length + topic.length)
  }
  return { clientId, frames, idAt, payloadBytes: payloadBytes / count }
}
