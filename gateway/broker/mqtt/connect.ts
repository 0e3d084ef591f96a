/** CONNECT (section 3.1), read and checked. Pure. */
import { CONNECT } from './packets.ts'
import type { Qos } from './publish.ts'
import { PacketReader } from './reader.ts'
import { type ConnectOptions, readConnectOptions, readWillOptions } from './v5/connect.ts'
import type { MessageOptions } from './v5/message-options.ts'
import { isFault } from './v5/properties.ts'
import { malformed as malformed5, type PacketFault } from './v5/reason-codes.ts'

export interface Will {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  /** How long after the end of the connection it is due, seconds. */
  readonly delaySeconds: number
  /** null: it has none. */
  readonly options: MessageOptions | null
}

export interface Connect {
  /** 3: MQTT 3.1 ("MQIsdp"); 4: MQTT 3.1.1; 5: MQTT 5. */
  readonly level: 3 | 4 | 5
  /**
   * The level carries the mark 0x80 that brokers put there when they connect as a bridge to another
   * broker.
   */
  readonly isBridge: boolean
  /** Clean Session, in MQTT 5 Clean Start: what an earlier connection left is discarded. */
  readonly clean: boolean
  readonly keepAliveSeconds: number
  /** May be empty; before MQTT 5 only with `clean`. */
  readonly clientId: string
  readonly will: Will | null
  readonly username: string | null
  readonly password: Buffer | null
  /** null before MQTT 5. */
  readonly options: ConnectOptions | null
}

type ConnectResult =
  | { readonly kind: 'connect'; readonly connect: Connect }
  /**
   * Answered with CONNACK and this code, then closed. `clientId`: for the log; empty if it is not
   * known.
   */
  | {
      readonly kind: 'refuse'
      readonly returnCode: RefusalCode
      readonly detail: string
      readonly clientId: string
    }
  /** Closed; with CONNACK and the code where the client is known to speak MQTT 5. */
  | { readonly kind: 'malformed'; readonly detail: string; readonly fault: PacketFault | null }

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
const CLIENT_IDENTIFIER_NOT_VALID = 0x85

type RefusalCode = 1 | 2 | typeof UNSUPPORTED_VERSION | typeof CLIENT_IDENTIFIER_NOT_VALID

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
  if (protocol === 'MQTT' && level === 5) return readConnect5(reader, first)
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
      options: null,
    },
  }
}

/** MQTT 5, section 3.1; the reader stands behind the protocol level. */
function readConnect5(reader: PacketReader, first: number): ConnectResult {
  if (first !== CONNECT) return faulty(malformed5('reserved flags of CONNECT')) // [MQTT-2.1.3-1]
  const flags = reader.uint8('connect flags')
  const flagFault = checkFlags(flags, false, true)
  if (flagFault !== null) return faulty(malformed5(flagFault))
  const keepAliveSeconds = reader.uint16('keep alive')
  const options = readConnectOptions(reader)
  if (isFault(options)) return faulty(options)
  const clientId = reader.string('client identifier')
  const willOptions = (flags & WILL) === 0 ? null : readWillOptions(reader)
  if (willOptions !== null && isFault(willOptions)) return faulty(willOptions)
  const will = willOptions === null ? null : { ...readWill(reader, flags), ...willOptions }
  const username = (flags & USERNAME) === 0 ? null : reader.string('user name')
  const password = (flags & PASSWORD) === 0 ? null : reader.bytes('password')
  if (reader.fault !== null) return faulty(malformed5(reader.fault))
  if (reader.rest > 0) return faulty(malformed5('CONNECT has bytes behind its last field'))
  if (Buffer.byteLength(clientId) > MAX_CLIENT_ID_BYTES) {
    return refuse(
      CLIENT_IDENTIFIER_NOT_VALID,
      `client identifier over ${MAX_CLIENT_ID_BYTES} bytes`,
    )
  }
  const clean = (flags & CLEAN_SESSION) !== 0
  const fields = { clean, keepAliveSeconds, clientId, will, username, password, options }
  return { kind: 'connect', connect: { level: 5, isBridge: false, ...fields } }
}

function faulty(fault: PacketFault): ConnectResult {
  return { kind: 'malformed', detail: fault.detail, fault }
}

/**
 * A client of MQTT 3.1.1 or 3.1 that names the other's level understands 0x01 [MQTT-3.1.2-2];
 * a client of another version is told so as MQTT 5 has it, which its libraries show as
 * "unsupported protocol version".
 */
function refuseVersion(reader: PacketReader, level: number): ConnectResult {
  const detail = `protocol level ${level}: only MQTT 5 (5), 3.1.1 (4) and 3.1 (3) are spoken here`
  reader.uint8('connect flags')
  reader.uint16('keep alive')
  const version = level % BRIDGE_MARK
  // A version that is not known may look like anything: no byte behind it is a fault.
  const isReadable = version !== 5 || reader.properties('CONNECT', () => {}) === null
  const clientId = isReadable ? reader.string('client identifier') : ''
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
    delaySeconds: 0,
    options: null,
  }
}

function checkFlags(flags: number, isLenient: boolean, mayLackName = false): string | null {
  if ((flags & 1) !== 0 && !isLenient) return 'the reserved connect flag is set' // [MQTT-3.1.2-3]
  const willQos = (flags >> 3) & 3
  if (willQos === 3) return 'will QoS 3' // [MQTT-3.1.2-14]
  if (!isLenient && (flags & WILL) === 0 && (willQos !== 0 || (flags & WILL_RETAIN) !== 0)) {
    return 'will flags without a will' // [MQTT-3.1.2-11]
  }
  const isNameless = (flags & PASSWORD) !== 0 && (flags & USERNAME) === 0
  if (isNameless && !mayLackName) return 'a password without a user name' // [MQTT-3.1.2-22]
  return null
}

function refuse(returnCode: RefusalCode, detail: string, clientId = ''): ConnectResult {
  return { kind: 'refuse', returnCode, detail, clientId }
}

function malformed(detail: string): ConnectResult {
  return { kind: 'malformed', detail, fault: null }
}
