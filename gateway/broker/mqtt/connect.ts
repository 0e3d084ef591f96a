/**
 * CONNECT (section 3.1): read from the client, and written again for aedes. Pure.
 *
 * What aedes gets is not what the client sent: protocol level 4, keepalive 0 (the gate keeps time), the client id that
 * the gate settled on, and no credentials (the gate authenticates). The client's level stays with its connection.
 */
import { CONNECT, frame, prefixed } from './packets.ts'
import { PacketReader } from './reader.ts'

export interface Will {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
}

export interface Connect {
  /** 3: MQTT 3.1 ("MQIsdp"); 4: MQTT 3.1.1. */
  readonly level: 3 | 4
  /** The level carries the mark 0x80 that brokers put there when they connect as a bridge to another broker. */
  readonly isBridge: boolean
  readonly clean: boolean
  readonly keepAliveSeconds: number
  /** May be empty; only with `clean`. */
  readonly clientId: string
  readonly will: Will | null
  readonly username: string | null
  readonly password: Buffer | null
}

export type ConnectResult =
  | { readonly kind: 'connect'; readonly connect: Connect }
  /** Answered with CONNACK and this code, then closed. */
  | { readonly kind: 'refuse'; readonly returnCode: 1 | 2; readonly detail: string }
  /** Closed without an answer. */
  | { readonly kind: 'malformed'; readonly detail: string }

const CLEAN_SESSION = 0x02
const WILL = 0x04
const WILL_RETAIN = 0x20
const PASSWORD = 0x40
const USERNAME = 0x80

/** Not of the standard; Mosquitto's bridges try it first (`try_private`), and other brokers know it too. */
const BRIDGE_MARK = 0x80

/** Longer client ids are refused with 0x02: they stand in every record and in the session table. */
export const MAX_CLIENT_ID_BYTES = 1024

/** `bytes` from `at` (behind the fixed header) to `end`: the body of one complete CONNECT. */
export function readConnect(bytes: Buffer, at: number, end: number): ConnectResult {
  const reader = new PacketReader(bytes, at, end)
  const protocol = reader.string('protocol name')
  const level = reader.uint8('protocol level')
  if (reader.fault !== null) return malformed(reader.fault)
  if (protocol !== 'MQTT' && protocol !== 'MQIsdp') return malformed('unknown protocol name')
  const isBridge = level >= BRIDGE_MARK
  // 3.1.1, section 3.1.2.2: any other level is answered 0x01. That covers 5.
  if (level % BRIDGE_MARK !== (protocol === 'MQTT' ? 4 : 3)) {
    return { kind: 'refuse', returnCode: 1, detail: `protocol level ${level}` }
  }
  const flags = reader.uint8('connect flags')
  const flagFault = checkFlags(flags)
  if (flagFault !== null) return malformed(flagFault)
  const keepAliveSeconds = reader.uint16('keep alive')
  const clientId = reader.string('client identifier')
  const will = (flags & WILL) === 0 ? null : readWill(reader, flags)
  const username = (flags & USERNAME) === 0 ? null : reader.string('user name')
  const password = (flags & PASSWORD) === 0 ? null : reader.bytes('password')
  if (reader.fault !== null) return malformed(reader.fault)
  if (reader.rest > 0) return malformed('CONNECT has bytes behind its last field')
  const clean = (flags & CLEAN_SESSION) !== 0
  if (clientId === '' && !clean) {
    return { kind: 'refuse', returnCode: 2, detail: 'empty client identifier with clean session 0' }
  }
  if (Buffer.byteLength(clientId) > MAX_CLIENT_ID_BYTES) {
    return { kind: 'refuse', returnCode: 2, detail: `client identifier over ${MAX_CLIENT_ID_BYTES} bytes` }
  }
  return {
    kind: 'connect',
    connect: {
      level: protocol === 'MQTT' ? 4 : 3,
      isBridge,
      clean,
      keepAliveSeconds,
      clientId,
      will,
      username,
      password,
    },
  }
}

/** The CONNECT that aedes gets, one whole frame. */
export function connectForAedes(clientId: string, clean: boolean, will: Will | null): Buffer {
  let flags = clean ? CLEAN_SESSION : 0
  const parts: Uint8Array[] = [prefixed(clientId)]
  if (will !== null) {
    flags |= WILL | (will.qos << 3) | (will.retain ? WILL_RETAIN : 0)
    parts.push(prefixed(will.topic), prefixed(will.payload))
  }
  const level = 4
  const keepAlive = [0, 0]
  return frame(CONNECT, [prefixed('MQTT'), Buffer.of(level, flags, ...keepAlive), ...parts])
}

function readWill(reader: PacketReader, flags: number): Will {
  const topic = reader.string('will topic')
  const payload = reader.bytes('will message')
  return { topic, payload, qos: ((flags >> 3) & 3) as 0 | 1 | 2, retain: (flags & WILL_RETAIN) !== 0 }
}

function checkFlags(flags: number): string | null {
  if ((flags & 1) !== 0) return 'the reserved connect flag is set' // [MQTT-3.1.2-3]
  const willQos = (flags >> 3) & 3
  if (willQos === 3) return 'will QoS 3' // [MQTT-3.1.2-14]
  if ((flags & WILL) === 0 && (willQos !== 0 || (flags & WILL_RETAIN) !== 0)) {
    return 'will flags without a will' // [MQTT-3.1.2-11]
  }
  if ((flags & PASSWORD) !== 0 && (flags & USERNAME) === 0) return 'a password without a user name' // [MQTT-3.1.2-22]
  return null
}

function malformed(detail: string): ConnectResult {
  return { kind: 'malformed', detail }
}
