/**
 * What the world outside of the gateway knows at a point of a recording: what devices have
 * published and seen answered, what the gateway has answered, what the sink has stored. Folded from
 * the journal, so that it fits the disk of the same point: a note stands in the journal before what
 * it tells of happens.
 */
import type { Speech } from '../../support/levels.ts'
import { type Level, REASON } from '../../support/mqtt-answers.ts'
import { packet, TYPE } from '../../support/raw-mqtt.ts'
import type { Entry } from './journal.ts'

export type Note =
  /** A gateway process begins on the folder; its MQTT port. */
  | { readonly t: 'start'; readonly port: number }
  /** A device connects from this port. */
  | { readonly t: 'open'; readonly d: string; readonly port: number }
  | { readonly t: 'publish'; readonly d: string; readonly n: number; readonly id: number }
  | { readonly t: 'release'; readonly d: string; readonly id: number }
  /** A device acts on an answer. */
  | { readonly t: 'saw'; readonly d: string; readonly type: number; readonly id: number }
  /** The sink has stored what request number `r` brought, and answers it next. */
  | { readonly t: 'stored'; readonly r: number }

export interface InFlight {
  readonly n: number
  readonly id: number
  /** QoS 2: a PUBREC came. */
  received: boolean
  /** QoS 2: the PUBREL may have left. */
  released: boolean
}

export interface DeviceState {
  readonly name: string
  readonly qos: 1 | 2
  readonly level: Speech
  /** Seed of its readings' texts: the same n is the same bytes. */
  readonly seed: string
  published: number
  lastId: number
  /** An answer of a stored session was seen: the gateway must know it from then on. */
  isStored: boolean
  inFlight: InFlight[]
  /** Readings by packet id: the last one under it. */
  readonly byId: Map<number, number>
  /**
   * PUBACK or PUBREC was handed to the network, whoever has seen it: durable, or the gateway lied.
   */
  readonly acked: Set<number>
  /** The same for PUBCOMP. */
  readonly completed: Set<number>
}

export interface World {
  readonly devices: Map<string, DeviceState>
  /** Numbers of the requests that the sink has stored, in order. */
  readonly stored: number[]
  readonly connections: Map<number, { readonly device: string; rest: Buffer }>
  mqttPort: number
}

export function newWorld(
  devices: ReadonlyArray<Pick<DeviceState, 'name' | 'qos' | 'level' | 'seed'>>,
): World {
  return {
    devices: new Map(
      devices.map((one) => [
        one.name,
        {
          ...one,
          published: 0,
          lastId: 0,
          isStored: false,
          inFlight: [],
          byId: new Map(),
          acked: new Set(),
          completed: new Set(),
        },
      ]),
    ),
    stored: [],
    connections: new Map(),
    mqttPort: 0,
  }
}

export function copyWorld(world: World): World {
  return structuredClone({
    ...world,
    connections: new Map<number, { device: string; rest: Buffer }>(),
  })
}

/** The entry has happened. */
export function apply(world: World, entry: Entry): void {
  if (entry.type === 'note') applyNote(world, entry.note as Note)
  else if (entry.type === 'sent' && entry.localPort === world.mqttPort) applySent(world, entry)
}

function applyNote(world: World, note: Note): void {
  if (note.t === 'start') {
    world.mqttPort = note.port
    world.connections.clear()
  } else if (note.t === 'stored') world.stored.push(note.r)
  else if (note.t === 'open')
    world.connections.set(note.port, { device: note.d, rest: Buffer.alloc(0) })
  else applyToDevice(deviceOf(world, note.d), note)
}

/** Also what a device does to its own state: both can only agree. */
export function applyToDevice(
  device: DeviceState,
  note: Extract<Note, { t: 'publish' | 'release' | 'saw' }>,
): void {
  if (note.t === 'publish') {
    if (note.n <= device.published) return
    device.published = note.n
    device.lastId = note.id
    device.byId.set(note.id, note.n)
    device.inFlight.push({ n: note.n, id: note.id, received: false, released: false })
    return
  }
  const one = device.inFlight.find(({ id }) => id === note.id)
  if (note.t === 'release') {
    if (one) one.released = true
  } else if (note.type === TYPE.PUBREC) {
    device.isStored = true
    if (one) one.received = true
  } else device.inFlight = device.inFlight.filter((other) => other !== one)
}

function applySent(world: World, { peerPort, bytes }: Extract<Entry, { type: 'sent' }>): void {
  const connection = world.connections.get(peerPort)
  if (!connection) return
  const device = deviceOf(world, connection.device)
  let rest = Buffer.concat([connection.rest, bytes])
  // Nothing that the gateway sends to a publisher has more than 127 bytes.
  while (rest.length >= 2 && rest.length >= 2 + (rest[1] as number)) {
    const end = 2 + (rest[1] as number)
    const type = (rest[0] as number) & 0xf0
    // In MQTT 5 a code may follow; a refusal is no ack.
    const isTaken = end < 5 || (rest[4] as number) < REASON.UNSPECIFIED
    const n = end >= 4 && isTaken ? device.byId.get(rest.readUInt16BE(2)) : undefined
    if (n !== undefined && (type === TYPE.PUBACK || type === TYPE.PUBREC)) device.acked.add(n)
    if (n !== undefined && type === TYPE.PUBCOMP) device.completed.add(n)
    rest = rest.subarray(end)
  }
  connection.rest = rest
}

function deviceOf(world: World, name: string): DeviceState {
  const device = world.devices.get(name)
  if (!device) throw new Error(`no device ${name}`)
  return device
}

export function topicOf(device: DeviceState): string {
  return `plant/${device.name}`
}

export function encodePublish(
  device: DeviceState,
  payload: string,
  fields: { readonly id: number; readonly dup: boolean; readonly level: Level },
): Buffer {
  return packet.publish(topicOf(device), payload, { qos: device.qos, ...fields })
}
