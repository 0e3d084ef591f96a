/**
 * What the gateway has to make of the bytes of one connection: which packets, which answers, which
 * records, and how it ends. A second opinion, made from MQTT 3.1.1 and the package mqtt-packet, not
 * from the gateway's code: the bytes of every packet that passes are read by mqtt-packet, and what
 * must not pass is judged by rules written down here.
 *
 * Knows a client's session between its connections (QoS 2 ids), streams `t`, `a` and `both` of
 * fuzzed-gate.ts, and the limits there. Not known to it: copies for local subscribers.
 */
import mqttPacket, { type Packet } from 'mqtt-packet'
import type { CloseReason, RefuseReason } from '../../../gateway/broker/events.ts'

export interface JudgedRecord {
  readonly stream: string
  readonly device: string
  readonly topic: string
  readonly payload: string
  readonly qos: number
  readonly dup: boolean
  readonly retain: boolean
  readonly will: boolean
}

export type Ending =
  /** It lives until the client ends it; `connected`: CONNACK came. */
  | { readonly kind: 'open'; readonly connected: boolean }
  | {
      readonly kind: 'closed'
      readonly reason: CloseReason
      readonly connected: boolean
      /** Its CONNECT says MQTT 5, so a CONNACK of that version says why. */
      readonly isTold: boolean
    }
  | { readonly kind: 'refused'; readonly reason: RefuseReason; readonly returnCode: number }

export interface Judgement {
  ending: Ending
  clientId: string | null
  /** Whole packets that were looked at. */
  packets: number
  sessionPresent: boolean
  /** `40 17`: type of the ack and packet id, PUBACK and PUBREC in one order. */
  readonly acks: string[]
  readonly completions: number[]
  pings: number
  /** `<packet id> <return codes> <refused>`, or `<packet id> u`. */
  readonly subscriptions: string[]
  readonly records: JudgedRecord[]
  /** How many records there are with the message of each of `acks`. */
  readonly recordsAtAck: number[]
  /**
   * Of its ending without DISCONNECT: the records, empty where no stream takes the topic. Null:
   * there is no will.
   */
  will: readonly JudgedRecord[] | null
  /**
   * Packets behind a SUBSCRIBE may be held back when a broken one is found further on, which ends
   * the connection before they are looked at; they are not acknowledged then. `records` says only
   * what there is at most.
   */
  isCutShort: boolean
  /** Its CONNECT is one of MQTT 5, which nobody judges here. */
  speaks5: boolean
  /** Bytes that were looked at. */
  bytes: number
}

/** QoS 2 ids that are open, with what they stand for, of each stored session. */
export type StoredSessions = Map<string, Map<number, string>>

export interface JudgeLimits {
  readonly maxPacketBytes: number
  readonly maxConnectPacketBytes: number
  readonly maxTopicBytes: number
  readonly maxTopicLevels: number
  readonly maxClientIdBytes: number
}

/** Something that the gateway's parser would take and mqtt-packet does not, or reads otherwise. */
export class Divergence extends Error {}

interface Cut {
  readonly first: number
  readonly body: Buffer
  readonly whole: Buffer
  readonly next: number
}

interface State {
  readonly judgement: Judgement
  readonly limits: JudgeLimits
  readonly minted: string
  readonly sessions: StoredSessions
  readonly parser: ReturnType<typeof mqttPacket.parser>
  readonly parsed: Packet[]
  ids: Map<number, string>
  /** MQTT 3.1. */
  isOld: boolean
}

/** `minted`: stands for the client id that the gateway makes up. Changes `sessions`. */
export function judge(
  bytes: Buffer,
  sessions: StoredSessions,
  limits: JudgeLimits,
  minted: string,
): Judgement {
  const parser = mqttPacket.parser({ protocolVersion: 4 })
  const parsed: Packet[] = []
  parser.on('packet', (packet) => parsed.push(packet))
  parser.on('error', (error) => {
    throw new Divergence(`mqtt-packet refuses what passes here: ${error.message}`)
  })
  const judgement: Judgement = {
    ending: { kind: 'open', connected: false },
    clientId: null,
    packets: 0,
    sessionPresent: false,
    acks: [],
    completions: [],
    pings: 0,
    subscriptions: [],
    records: [],
    recordsAtAck: [],
    will: null,
    isCutShort: false,
    speaks5: false,
    bytes: 0,
  }
  const state: State = {
    judgement,
    limits,
    minted,
    sessions,
    parser,
    parsed,
    ids: new Map(),
    isOld: false,
  }
  let at = 0
  while (at < bytes.length && isOpen(judgement)) {
    const cut = cutFrame(bytes, at, state)
    if (cut === null) break
    at = cut.next
    judgement.bytes = at
    judgement.packets += 1
    const ending = judgement.clientId === null ? judgeConnect(cut, state) : judgePacket(cut, state)
    if (ending !== null) judgement.ending = ending
  }
  const { ending, subscriptions } = judgement
  const isBroken = ending.kind === 'closed' && ending.reason !== 'client-disconnect'
  judgement.isCutShort = isBroken && subscriptions.length > 0
  return judgement
}

function isOpen({ ending }: Judgement): boolean {
  return ending.kind === 'open'
}

function closed(reason: CloseReason, { judgement }: State): Ending {
  return { kind: 'closed', reason, connected: judgement.clientId !== null, isTold: false }
}

/** null: it is not complete, or broken (then the ending says so). Section 2.2.3. */
function cutFrame(bytes: Buffer, at: number, state: State): Cut | null {
  const { judgement, limits } = state
  const isFirst = judgement.clientId === null
  const end = (reason: CloseReason): null => {
    judgement.ending = closed(reason, state)
    return null
  }
  // 0x16 is how TLS begins.
  if (isFirst && (bytes[at]! >> 4 !== 1 || bytes[at] === 0x16)) return end('malformed')
  let length = 0
  let offset = at + 1
  for (let factor = 1; ; factor *= 128) {
    if (offset - at > 4) return end('malformed')
    if (offset >= bytes.length) return null
    const byte = bytes[offset]!
    offset += 1
    length += (byte % 128) * factor
    if (byte < 128) break
  }
  const next = offset + length
  if (next - at > (isFirst ? limits.maxConnectPacketBytes : limits.maxPacketBytes))
    return end('packet-too-large')
  if (next > bytes.length) return null
  return {
    first: bytes[at]!,
    body: bytes.subarray(offset, next),
    whole: bytes.subarray(at, next),
    next,
  }
}

/** Exactly one packet, in the words of mqtt-packet. */
function parse<C extends Packet['cmd']>(
  cut: Cut,
  state: State,
  cmd: C,
): Extract<Packet, { cmd: C }> {
  state.parsed.length = 0
  const whole = Buffer.from(cut.whole)
  // What MQTT 3.1 does not look at, mqtt-packet does.
  if (state.isOld && cmd !== 'publish') whole[0] = (cut.first & 0xf0) | fixedFlags(cut.first >> 4)
  state.parser.parse(whole)
  const [packet] = state.parsed
  if (packet === undefined || state.parsed.length !== 1 || packet.cmd !== cmd) {
    const seen = state.parsed.map((one) => one.cmd).join(' ')
    throw new Divergence(
      `mqtt-packet makes "${seen}" of one ${cmd}: ${cut.whole.toString('hex').slice(0, 200)}`,
    )
  }
  return packet as Extract<Packet, { cmd: C }>
}

// CONNECT, section 3.1.

function judgeConnect(cut: Cut, state: State): Ending | null {
  const { judgement, limits, sessions } = state
  const { body } = cut
  const malformed = closed('malformed', state)
  const name = stringAt(body, 0)
  if (name === null || name.end >= body.length) return malformed
  if (name.text !== 'MQTT' && name.text !== 'MQIsdp') return malformed
  const level = body[name.end]!
  // With or without the bridge mark.
  const version = level % 128
  if (name.text === 'MQTT' && level === 5) {
    judgement.speaks5 = cut.first % 16 === 0 && isConnect5(body, name.end + 1)
    return { kind: 'closed', reason: 'malformed', connected: false, isTold: true }
  }
  if (version !== (name.text === 'MQTT' ? 4 : 3)) {
    const returnCode = version === 3 || version === 4 ? 1 : 0x84
    return { kind: 'refused', reason: 'protocol-version', returnCode }
  }
  if (name.end + 4 > body.length) return malformed
  const flags = body[name.end + 1]!
  const [hasUser, hasPassword, hasWill] = [flags >= 128, (flags & 64) !== 0, (flags & 4) !== 0]
  const willQos = (flags >> 3) & 3
  // MQTT 3.1 does not look at what it reserves, and user name and password may be missing.
  const isOld = version === 3
  if (willQos === 3) return malformed
  if (!isOld && (flags % 2 === 1 || cut.first % 16 !== 0)) return malformed
  if (!isOld && !hasWill && (flags & 0x38) !== 0) return malformed
  if (hasPassword && !hasUser) return malformed
  const isMissing = (at: number): boolean => isOld && at === body.length
  const id = stringAt(body, name.end + 4)
  let field: { end: number } | null = id
  const willTopic = field !== null && hasWill ? stringAt(body, field.end) : null
  if (hasWill) field = willTopic
  const willPayload = field !== null && hasWill ? bytesAt(body, field.end) : null
  if (hasWill) field = willPayload
  if (field !== null && hasUser && !isMissing(field.end)) field = stringAt(body, field.end)
  if (field !== null && hasPassword && !isMissing(field.end)) field = bytesAt(body, field.end)
  if (id === null || field === null || field.end !== body.length) return malformed
  const {
    clientId,
    clean = false,
    will,
  } = isOld
    ? {
        clientId: id.text,
        clean: (flags & 2) !== 0,
        will:
          willTopic === null || willPayload === null
            ? undefined
            : {
                topic: willTopic.text,
                payload: body.subarray(willTopic.end + 2, willPayload.end),
                qos: willQos as 0 | 1 | 2,
                retain: (flags & 32) !== 0,
              },
      }
    : parse(cut, state, 'connect')
  if (clientId === '' && (isOld || !clean))
    return { kind: 'refused', reason: 'identifier-rejected', returnCode: 2 }
  if (Buffer.byteLength(clientId) > limits.maxClientIdBytes) {
    return { kind: 'refused', reason: 'identifier-rejected', returnCode: 2 }
  }
  if (will !== undefined) {
    if (!isTopicName(will.topic)) return malformed
  }
  judgement.clientId = clientId === '' ? state.minted : clientId
  judgement.ending = { kind: 'open', connected: true }
  state.isOld = isOld
  judgement.sessionPresent = !clean && sessions.has(judgement.clientId) && level % 128 === 4
  if (clean) sessions.delete(judgement.clientId)
  else {
    state.ids = sessions.get(judgement.clientId) ?? state.ids
    sessions.set(judgement.clientId, state.ids)
  }
  if (will !== undefined) {
    const payload = will.payload.toString()
    const flags = { qos: will.qos ?? 0, dup: false, retain: will.retain === true, will: true }
    judgement.will = isTooBig(will.topic, limits)
      ? []
      : recordsOf(judgement.clientId, will.topic, payload, flags)
  }
  return null
}

/**
 * Behind the level of a CONNECT of MQTT 5. Properties would be a miracle: what is broken here was a
 * session of 3.1.1.
 */
function isConnect5(body: Buffer, at: number): boolean {
  const flags = body[at] ?? 1
  const [hasUser, hasPassword, hasWill] = [flags >= 128, (flags & 64) !== 0, (flags & 4) !== 0]
  if (flags % 2 === 1 || (flags & 24) === 24 || (!hasWill && (flags & 56) !== 0)) return false
  const ends = (end: number | undefined, read: typeof bytesAt): number | undefined =>
    end === undefined ? end : read(body, end)?.end
  const behindProperties = (end: number | undefined): number | undefined =>
    end !== undefined && body[end] === 0 ? end + 1 : undefined
  let end = ends(behindProperties(at + 3), stringAt)
  if (hasWill) end = ends(ends(behindProperties(end), stringAt), bytesAt)
  if (hasUser) end = ends(end, stringAt)
  if (hasPassword) end = ends(end, bytesAt)
  return end === body.length
}

// Everything behind it.

function fixedFlags(type: number): number {
  return type === 6 || type === 8 || type === 10 ? 2 : 0
}

function judgePacket(cut: Cut, state: State): Ending | null {
  const { first, body } = cut
  const { judgement } = state
  const malformed = closed('malformed', state)
  const type = first >> 4
  if (type === 3) return judgePublish(cut, state)
  // MQTT 3.1 has DUP in some of them, and does not look at the rest.
  if (!state.isOld && first % 16 !== fixedFlags(type)) return malformed
  switch (type) {
    case 4:
    case 5:
    case 6:
    case 7: {
      if (body.length !== 2 || body.readUInt16BE(0) === 0) return malformed
      const ack = parse(cut, state, (['puback', 'pubrec', 'pubrel', 'pubcomp'] as const)[type - 4]!)
      if (ack.messageId !== body.readUInt16BE(0))
        throw new Divergence('mqtt-packet reads another packet id')
      if (type !== 6) return null
      const id = ack.messageId ?? 0
      state.ids.delete(id)
      judgement.completions.push(id)
      return null
    }
    case 8:
    case 10:
      return judgeSubscribe(cut, state, type === 8)
    case 12:
      if (body.length > 0) return malformed
      parse(cut, state, 'pingreq')
      judgement.pings += 1
      return null
    case 14:
      if (body.length > 0) return malformed
      parse(cut, state, 'disconnect')
      judgement.will = null
      return closed('client-disconnect', state)
    default:
      return malformed
  }
}

function judgePublish(cut: Cut, state: State): Ending | null {
  const { first, body } = cut
  const { judgement, limits } = state
  const malformed = closed('malformed', state)
  const qos = (first >> 1) & 3
  if (qos === 3 || (qos === 0 && (first & 8) !== 0) || body.length < 2) return malformed
  const topicEnd = 2 + body.readUInt16BE(0)
  if (topicEnd + (qos > 0 ? 2 : 0) > body.length) return malformed
  if (qos > 0 && body.readUInt16BE(topicEnd) === 0) return malformed
  if (stringAt(body, 0) === null) return malformed
  const publish = parse(cut, state, 'publish')
  const { topic, dup, retain, messageId: id = 0 } = publish
  if (!isTopicName(topic)) return malformed
  const payload = publish.payload.toString()
  if (qos > 0) judgement.acks.push(`${qos === 1 ? '40' : '50'} ${id}`)
  if (qos === 2) {
    const what = `${topic}\n${Buffer.from(publish.payload as Uint8Array).toString('hex')}`
    if (state.ids.get(id) === what) {
      judgement.recordsAtAck.push(judgement.records.length)
      return null
    }
    state.ids.set(id, what)
  }
  const flags = { qos, dup, retain, will: false }
  // Over a limit it is acknowledged and makes no record; under `$`, no stream of these takes it.
  if (!isTooBig(topic, limits)) {
    judgement.records.push(...recordsOf(judgement.clientId ?? '', topic, payload, flags))
  }
  if (qos > 0) judgement.recordsAtAck.push(judgement.records.length)
  return null
}

function judgeSubscribe(cut: Cut, state: State, withQos: boolean): Ending | null {
  const { body } = cut
  const { judgement, limits } = state
  const malformed = closed('malformed', state)
  if (body.length < 2 || body.readUInt16BE(0) === 0) return malformed
  const filters: string[] = []
  for (let at = 2; at < body.length; ) {
    const filter = stringAt(body, at)
    if (filter === null) return malformed
    at = filter.end + (withQos ? 1 : 0)
    if (at > body.length || (withQos && body[at - 1]! > 2)) return malformed
    if (!isFilter(filter.text)) return malformed
    filters.push(filter.text)
  }
  if (filters.length === 0) return malformed
  const packet = withQos ? parse(cut, state, 'subscribe') : parse(cut, state, 'unsubscribe')
  const read =
    packet.cmd === 'subscribe'
      ? packet.subscriptions.map(({ topic }) => topic)
      : packet.unsubscriptions
  if (JSON.stringify(read) !== JSON.stringify(filters))
    throw new Divergence('mqtt-packet reads other filters')
  // Over a limit of the gateway, not of MQTT: answered 0x80, and an UNSUBSCRIBE of one is answered
  // like any other. Under `$` nothing is delivered, so nothing is granted.
  const refused = filters.filter(
    (filter) => isTooBig(filter, limits) || filter.startsWith('$'),
  ).length
  judgement.subscriptions.push(
    `${packet.messageId} ${withQos ? `${filters.length} ${refused}` : 'u'}`,
  )
  return null
}

// Strings and topics, sections 1.5.3 and 4.7.

function bytesAt(body: Buffer, at: number): { end: number } | null {
  if (at + 2 > body.length) return null
  const end = at + 2 + body.readUInt16BE(at)
  return end > body.length ? null : { end }
}

function stringAt(body: Buffer, at: number): { text: string; end: number } | null {
  const bytes = bytesAt(body, at)
  if (bytes === null) return null
  try {
    const view = body.subarray(at + 2, bytes.end)
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(view)
    return text.includes('\u0000') ? null : { text, end: bytes.end }
  } catch {
    return null
  }
}

function isTooBig(topic: string, limits: JudgeLimits): boolean {
  const levels = topic.split('/').length
  return (
    topic === '' ||
    Buffer.byteLength(topic) > limits.maxTopicBytes ||
    levels > limits.maxTopicLevels
  )
}

function isTopicName(topic: string): boolean {
  return topic !== '' && !/[#+]/.test(topic)
}

function isFilter(filter: string): boolean {
  if (filter === '') return false
  const levels = filter.split('/')
  return levels.every((level, index) => {
    if (level === '#') return index === levels.length - 1
    return level === '+' || !/[#+]/.test(level)
  })
}

/** One per stream that takes the topic. */
function recordsOf(
  device: string,
  topic: string,
  payload: string,
  flags: Pick<JudgedRecord, 'qos' | 'dup' | 'retain' | 'will'>,
): JudgedRecord[] {
  const streams = STREAMS_OF[topic.split('/')[0] ?? ''] ?? []
  return Array.isArray(streams)
    ? streams.map((stream) => ({ stream, device, topic, payload, ...flags }))
    : []
}

/** First level of a topic to the streams of fuzzed-gate.ts that take it. */
const STREAMS_OF: Readonly<Record<string, readonly string[]>> = Object.assign(
  Object.create(null) as Record<string, readonly string[]>,
  { t: ['telemetry'], a: ['alarms'], both: ['alarms', 'audit'], u: ['audit'] },
)
