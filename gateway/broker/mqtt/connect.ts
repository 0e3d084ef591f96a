/** CONNECT (section 3.1), read and checked. Pure. */
import { CONNECT } from './packets.ts'
import type { Qos } from './publish.ts'
import { PacketReader } from './reader.ts'

export interface Will {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
}

export interface Connect {
  /** 3: MQTT 3.1 ("MQIsdp"); 4: MQTT 3.1.1. */
  readonly level: 3 | 4
  /**
   * The level carries the mark 0x80 that brokers put there when they connect as a bridge to another
   * broker.
   */
  readonly isBridge: boolean
  readonly clean: boolean
  readonly keepAliveSeconds: number
  /** May be empty; only with `clean`. */
  readonly clientId: string
  readonly will: Will | null
  readonly username: string | null
  readonly password: Buffer | null
}

type ConnectResult =
  | { readonly kind: 'connect'; readonly connect: Connect }
  /**
   * Answered with CONNACK and this code, then closed. `clientId`: for the log; empty if it is not
   * known.
   */
  | {
      readonly kind: 'refuse'
      readonly returnCode: 1 | 2 | typeof UNSUPPORTED_VERSION
      readonly detail: string
      readonly clientId: string
    }
  /** Closed without an answer. */
  | { readonly kind: 'malformed'; readonly detail: string }

const CLEAN_SESSION = 0x02
const WILL = 0x04
const WILL_RETAIN = 0x20
const PASSWORD = 0x40
const USERNAME = 0x80

/**
 * Not of the standard; Mosquitto's bridges try it first (`try_private`), and other brokers know it
 * too.
 */
const BRIDGE_MARK = 0x80

/** Longer client ids are refused with 0x02: they stand in every record and in the session table. */
const MAX_CLIENT_ID_BYTES = 1024

/** The reason code of MQTT 5 for a version that is not spoken here (MQTT 5, section 3.2.2.2). */
const UNSUPPORTED_VERSION = 0x84

/**
 * `bytes` from `at` (behind the fixed header) to `end`: the body of one complete CONNECT; `first`: the first byte of its
 * header. MQTT 3.1 lets reserved bits be anything, and a user name or password be missing though
 * its flag is set.
 */
export function readConnect(
  bytes: Buffer,
  at: number,
  end: number,
  first: number = CONNECT,
): ConnectResult {
  const reader = new PacketReader(bytes, at, end)
  const protocol = reader.string('protocol name')
  const level = reader.uint8('protocol level')
  if (reader.fault !== null) return malformed(reader.fault)
  if (protocol !== 'MQTT' && protocol !== 'MQIsdp') return malformed('unknown protocol name')
  const isBridge = level >= BRIDGE_MARK
  const version = level % BRIDGE_MARK
  if (version !== (protocol === 'MQTT' ? 4 : 3)) return refuseVersion(reader, level)
  const isLenient = version === 3
  if (!isLenient && first !== CONNECT) return malformed('reserved flags of CONNECT') // [MQTT-2.2.2-2]
  const flags = reader.uint8('connect flags')
  const flagFault = checkFlags(flags, isLenient)
  if (flagFault !== null) return malformed(flagFault)
  const keepAliveSeconds = reader.uint16('keep alive')
  const clientId = reader.string('client identifier')
  const will = (flags & WILL) === 0 ? null : readWill(reader, flags)
  const mayLack = (): boolean => isLenient && reader.rest === 0
  const username = (flags & USERNAME) === 0 || mayLack() ? null : reader.string('user name')
  const password = (flags & PASSWORD) === 0 || mayLack() ? null : reader.bytes('password')
  if (reader.fault !== null) return malformed(reader.fault)
  if (reader.rest > 0) return malformed('CONNECT has bytes behind its last field')
  const clean = (flags & CLEAN_SESSION) !== 0
  if (clientId === '' && (isLenient || !clean)) {
    return refuse(
      2,
      isLenient ? 'empty client identifier' : 'empty client identifier with clean session 0',
    )
  }
  if (Buffer.byteLength(clientId) > MAX_CLIENT_ID_BYTES) {
    return refuse(2, `client identifier over ${MAX_CLIENT_ID_BYTES} bytes`)
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

/**
 * A client of MQTT 3.1.1 or 3.1 that names the other's level understands 0x01 [MQTT-3.1.2-2];
 * a client of another version is told so as MQTT 5 has it, which its libraries show as
 * "unsupported protocol version".
 */
function refuseVersion(reader: PacketReader, level: number): ConnectResult {
  const detail = `protocol level ${level}: only MQTT 3.1.1 (4) and 3.1 (3) are spoken here`
  reader.uint8('connect flags')
  reader.uint16('keep alive')
  const version = level % BRIDGE_MARK
  if (version === 5) reader.skip(reader.varint('property length'), 'properties')
  const clientId = reader.string('client identifier')
  // A version that is not known may look like anything; of 5 it is known.
  if (version === 5 && reader.fault !== null) return malformed(reader.fault)
  const isNamedWrong = version === 3 || version === 4
  return refuse(
    isNamedWrong ? 1 : UNSUPPORTED_VERSION,
    detail,
    clientId.slice(0, MAX_CLIENT_ID_BYTES),
  )
}

function readWill(reader: PacketReader, flags: number): Will {
  const topic = reader.string('will topic')
  const payload = reader.bytes('will message')
  return {
    topic,
    payload,
    qos: ((flags >> 3) & 3) as Qos,
    retain: (flags & WILL_RETAIN) !== 0,
  }
}

function checkFlags(flags: number, isLenient: boolean): string | null {
  if ((flags & 1) !== 0 && !isLenient) return 'the reserved connect flag is set' // [MQTT-3.1.2-3]
  const willQos = (flags >> 3) & 3
  if (willQos === 3) return 'will QoS 3' // [MQTT-3.1.2-14]
  if (!isLenient && (flags & WILL) === 0 && (willQos !== 0 || (flags & WILL_RETAIN) !== 0)) {
    return 'will flags without a will' // [MQTT-3.1.2-11]
  }
  if ((flags & PASSWORD) !== 0 && (flags & USERNAME) === 0) return 'a password without a user name' // [MQTT-3.1.2-22]
  return null
}

function refuse(
  returnCode: 1 | 2 | typeof UNSUPPORTED_VERSION,
  detail: string,
  clientId = '',
): ConnectResult {
  return { kind: 'refuse', returnCode, detail, clientId }
}

function malformed(detail: string): ConnectResult {
  return { kind: 'malformed', detail }
}
