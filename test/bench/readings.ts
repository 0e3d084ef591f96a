/** Prebuilt PUBLISH frames of a device: seeded random walks of the fleet's models, never one constant payload. */
import { createModel, MODEL_KINDS } from '../../device-sim/models/model.ts'

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

export function connectFrame(clientId: string, clean: boolean): Buffer {
  const variable = Buffer.concat([utf8('MQTT'), Buffer.from([4, clean ? 2 : 0, 0, 0]), utf8(clientId)])
  return Buffer.concat([Buffer.from([0x10]), encodeLength(variable.length), variable])
}

export function deviceFrames(device: number, seed: number, qos: 1 | 2, count: number): DeviceFrames {
  const clientId = `bench-${device}`
  const kind = MODEL_KINDS[device % MODEL_KINDS.length] ?? 'temperature'
  const model = createModel(kind, seed, { device: clientId })
  const frames: Buffer[] = []
  const idAt: number[] = []
  let payloadBytes = 0
  for (let i = 0; i < count; i++) {
    const payload = model.next()
    payloadBytes += payload.length
    const topic = utf8(`plant/${clientId}/${kind}`)
    const length = encodeLength(topic.length + 2 + payload.length)
    frames.push(Buffer.concat([Buffer.from([0x30 | (qos << 1)]), length, topic, Buffer.alloc(2), payload]))
    idAt.push(1 + length.length + topic.length)
  }
  return { clientId, frames, idAt, payloadBytes: payloadBytes / count }
}
