/**
 * One record is one NDJSON line of the ingest contract:
 *
 *   {"id":"<gateway>:<spool id>:<stream>:<seq>","seq":<seq>,"device":…,"topic":…,"qos":…,"receivedAt":"…"
 *   [,"requeuedFrom":"…"][,"dup":true][,"retain":true][,"will":true][,<clock members>][,<members of properties>],"payload":…}LF
 *
 * What is sent to the sink is written here once, when the message arrives, and never rewritten
 * afterwards (I4), but for the id and seq of records whose commit failed ({@link renumber}) or that
 * are requeued. {@link RecordBuffer.append} runs once for every message and stream: no strings, no
 * objects, only bytes copied behind each other.
 *
 * Does not decide what is JSON (`json-scan.ts`), nor what is taken.
 */

import type { SinkRecord } from '../../ports/sink.ts'
import { base64Length, MAX_NUMBER_BYTES, put, putBase64, putJson, putNumber } from './bytes.ts'
import { putText } from './json-text.ts'
import { TIMESTAMP_BYTES, TimestampText, timestampMs } from './timestamp.ts'

/** One record, as {@link RecordBuffer.append} takes it. The caller owns and reuses the object. */
export interface RecordFields {
  /** From {@link idPrefix}. */
  idPrefix: Uint8Array
  /** 1 to 2^53 - 1. */
  seq: number
  /** From {@link envelopeBytes}. */
  envelope: Uint8Array
  qos: 0 | 1 | 2
  dup: boolean
  retain: boolean
  will: boolean
  /** Wall clock, ms since the epoch. */
  receivedAtMs: number
  /** The message's bytes are `payload[start, end)`. */
  payload: Uint8Array
  start: number
  end: number
  /** The verdict of `isJson` on them; false: they travel as base64. */
  json: boolean
  /**
   * They travel as a JSON string of so many bytes, `textBytes` of json-text.ts; negative or absent:
   * they do not.
   */
  textLength?: number
  requeuedFrom: string | null
  /** From {@link unsetClockBytes} while the clock is known to be unset; else null or absent. */
  clock?: Uint8Array | null
  /** From `propertyMembers` of property-members.ts; null or absent: there are none. */
  properties?: Uint8Array | null
}

const DIGIT_0 = 0x30
const LINE_FEED = 0x0a
const QUOTE = 0x22
const COMMA = 0x2c
const CLOSE_BRACE = 0x7d

const SEQ_MEMBER = Buffer.from('","seq":')
const QOS_MEMBER = ',"qos":'
const RECEIVED_MEMBER = '0,"receivedAt":"'
const REQUEUED_MEMBER = Buffer.from(',"requeuedFrom":')
const DUP_MEMBER = Buffer.from(',"dup":true')
const RETAIN_MEMBER = Buffer.from(',"retain":true')
const WILL_MEMBER = Buffer.from(',"will":true')
const PAYLOAD_MEMBER = Buffer.from(',"payload":')
const BASE64_MEMBER = Buffer.from(',"payloadBase64":"')
const EXPIRY_MEMBER = Buffer.from(',"messageExpiry":')

/** Everything of a line that has a fixed bound, with room to spare. */
const FIXED_BYTES = 2 * MAX_NUMBER_BYTES + TIMESTAMP_BYTES + 128

/**
 * `{"id":"<gateway>:<spool id>:<stream>:`, the start of every line of a queue. Names need no escapes.
 */
export function idPrefix(gateway: string, spoolId: string, stream: string): Uint8Array {
  return Buffer.from(`{"id":"${gateway}:${spoolId}:${stream}:`)
}

/**
 * `"device":"…","topic":"…"`, constant for a connection and topic. Any strings; escaped as JSON wants it.
 */
export function envelopeBytes(device: string, topic: string): Uint8Array {
  return Buffer.from(`"device":${JSON.stringify(device)},"topic":${JSON.stringify(topic)}`)
}

/**
 * The members that a record has while the gateway's clock is known to be unset. `uptimeMs`: since
 * boot.
 */
export function unsetClockBytes(bootId: string, uptimeMs: number): Uint8Array {
  return Buffer.from(
    `"clock":"unset","bootId":${JSON.stringify(bootId)},"uptimeMs":${Math.floor(uptimeMs)}`,
  )
}

/** Appends lines to memory of its own that grows by doubling and is kept when it is cleared. */
export class RecordBuffer {
  /** From qos to the end of receivedAt: all that changes is patched in place. */
  readonly #middle = Buffer.from(`${QOS_MEMBER}${RECEIVED_MEMBER}${'0'.repeat(TIMESTAMP_BYTES)}"`)
  readonly #timestamp = new TimestampText(this.#middle, QOS_MEMBER.length + RECEIVED_MEMBER.length)
  #buffer: Buffer
  #byteLength = 0
  #recordCount = 0

  constructor(initialBytes: number) {
    // Not from node's pool: a view of it would keep unrelated memory alive.
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(1, initialBytes))
  }

  get byteLength(): number {
    return this.#byteLength
  }

  get recordCount(): number {
    return this.#recordCount
  }

  /** A view of the lines so far; valid until the next {@link append} or {@link clear}. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#byteLength)
  }

  clear(): void {
    this.#byteLength = 0
    this.#recordCount = 0
  }

  /** Copies everything it needs before it returns. */
  append(fields: RecordFields): void {
    const { payload, start, end } = fields
    const payloadBytes = end - start
    const clock = fields.clock ?? null
    const properties = fields.properties ?? null
    let bound = FIXED_BYTES + fields.idPrefix.length + fields.envelope.length
    const textLength = fields.textLength ?? -1
    if (textLength >= 0) bound += textLength
    else bound += fields.json ? payloadBytes : base64Length(payloadBytes)
    if (clock !== null) bound += clock.length + 1
    if (properties !== null) bound += properties.length + 1
    const requeued =
      fields.requeuedFrom === null ? null : Buffer.from(JSON.stringify(fields.requeuedFrom))
    if (requeued !== null) bound += REQUEUED_MEMBER.length + requeued.length
    if (this.#byteLength + bound > this.#buffer.length) this.#grow(this.#byteLength + bound)

    const out = this.#buffer
    this.#middle[QOS_MEMBER.length] = DIGIT_0 + fields.qos
    this.#timestamp.set(fields.receivedAtMs)
    let at = put(out, this.#byteLength, fields.idPrefix)
    const digitsAt = at
    at = putNumber(out, at, fields.seq)
    const digitsEnd = at
    at = put(out, at, SEQ_MEMBER)
    for (let from = digitsAt; from < digitsEnd; from += 1) out[at++] = out[from] as number
    out[at++] = COMMA
    at = put(out, at, fields.envelope)
    at = put(out, at, this.#middle)
    if (requeued !== null) at = put(out, put(out, at, REQUEUED_MEMBER), requeued)
    if (fields.dup) at = put(out, at, DUP_MEMBER)
    if (fields.retain) at = put(out, at, RETAIN_MEMBER)
    if (fields.will) at = put(out, at, WILL_MEMBER)
    if (clock !== null) {
      out[at++] = COMMA
      at = put(out, at, clock)
    }
    if (properties !== null) {
      out[at++] = COMMA
      at = put(out, at, properties)
    }
    if (textLength >= 0) {
      at = put(out, at, PAYLOAD_MEMBER)
      out[at++] = QUOTE
      at = putText(out, at, payload, start, end)
      out[at++] = QUOTE
    } else if (fields.json) {
      at = put(out, at, PAYLOAD_MEMBER)
      at = putJson(out, at, payload, start, end)
    } else {
      at = put(out, at, BASE64_MEMBER)
      at = putBase64(out, at, payload, start, end)
      out[at++] = QUOTE
    }
    out[at++] = CLOSE_BRACE
    out[at++] = LINE_FEED
    this.#byteLength = at
    this.#recordCount += 1
  }

  #grow(needed: number): void {
    let capacity = this.#buffer.length
    while (capacity < needed) capacity *= 2
    const larger = Buffer.allocUnsafeSlow(capacity)
    this.#buffer.copy(larger, 0, 0, this.#byteLength)
    this.#buffer = larger
  }
}

/**
 * Where lines begin, and at the end where the last one ends: line n is `raw[offsets[n], offsets[n +
 * 1])`.
 */
export function lineOffsets(raw: Uint8Array): Uint32Array {
  const bytes = asBuffer(raw)
  // Lines are seldom shorter; grows where they are.
  let offsets = new Uint32Array(Math.ceil(raw.length / SHORT_LINE_BYTES) + 2)
  let count = 1
  for (let at = 0; at < bytes.length; count += 1) {
    const lineFeed = bytes.indexOf(LINE_FEED, at)
    at = lineFeed < 0 ? bytes.length : lineFeed + 1
    if (count === offsets.length) {
      const larger = new Uint32Array(offsets.length * 2)
      larger.set(offsets)
      offsets = larger
    }
    offsets[count] = at
  }
  return offsets.slice(0, count)
}

/** A guess, for the size of an index. */
const SHORT_LINE_BYTES = 128

/**
 * A view of one line, its LF included. O(bytes before it): for many lines use {@link lineOffsets}.
 */
export function lineAt(raw: Uint8Array, index: number): Buffer {
  const bytes = asBuffer(raw)
  let start = 0
  for (let skipped = 0; ; skipped += 1) {
    if (start >= bytes.length) throw new RangeError(`line ${index} of ${skipped}`)
    const lineFeed = bytes.indexOf(LINE_FEED, start)
    const end = lineFeed < 0 ? bytes.length : lineFeed + 1
    if (skipped === index) return bytes.subarray(start, end)
    start = end
  }
}

/** `{"id":"`, the start of every line. */
const ID_AT = 7

/**
 * The same records under new ids: `prefix` and seqs from `newFirstSeq` on, one by one. For records
 * whose commit failed, before anybody saw them; a record that was sent never changes its id (I4).
 */
export function renumber(raw: Uint8Array, prefix: Uint8Array, newFirstSeq: number): Buffer {
  const bytes = asBuffer(raw)
  const offsets = lineOffsets(raw)
  const lines = offsets.length - 1
  const perLine = prefix.length + 2 * MAX_NUMBER_BYTES + SEQ_MEMBER.length
  const out = Buffer.allocUnsafe(bytes.length + lines * perLine)
  let at = 0
  for (let line = 0; line < lines; line += 1) {
    const start = offsets[line] as number
    at = putIdentity(out, at, prefix, newFirstSeq + line)
    at = put(out, at, bytes.subarray(identityEnd(bytes, start), offsets[line + 1]))
  }
  return Buffer.from(out.subarray(0, at))
}

/**
 * A dead letter as a new record: new id and seq, `requeuedFrom` names the old id (and replaces an
 * older one), every other byte as it was. `line` with its LF.
 */
export function requeueLine(line: Uint8Array, prefix: Uint8Array, newSeq: number): Buffer {
  const bytes = asBuffer(line)
  const oldId = idOfLine(line)
  const membersAt = identityEnd(bytes, 0)
  // No string can hold these bytes: a quote inside one has a backslash before it.
  const receivedAt = bytes.indexOf(RECEIVED_AT, membersAt)
  if (receivedAt < 0) throw malformed(bytes)
  const insertAt = receivedAt + RECEIVED_AT.length + TIMESTAMP_BYTES + 1
  let restAt = insertAt
  if (bytes.indexOf(REQUEUED_MEMBER, insertAt) === insertAt) {
    restAt = bytes.indexOf(QUOTE, insertAt + REQUEUED_MEMBER.length + 1) + 1
    if (restAt === 0) throw malformed(bytes)
  }
  const identity = Buffer.allocUnsafe(prefix.length + 2 * MAX_NUMBER_BYTES + SEQ_MEMBER.length)
  return Buffer.concat([
    identity.subarray(0, putIdentity(identity, 0, prefix, newSeq)),
    bytes.subarray(membersAt, insertAt),
    REQUEUED_MEMBER,
    Buffer.from(JSON.stringify(oldId)),
    bytes.subarray(restAt),
  ])
}

const RECEIVED_AT = Buffer.from(',"receivedAt":"')

/** A record's own time of arrival, ms; null: the line does not say. */
export function receivedAtOf(line: Uint8Array): number | null {
  const text = asBuffer(line)
  const at = text.indexOf(RECEIVED_AT)
  if (at < 0) return null
  const from = at + RECEIVED_AT.length
  const ms = Date.parse(text.toString('latin1', from, text.indexOf(QUOTE, from)))
  return Number.isNaN(ms) ? null : ms
}

interface Envelope {
  readonly id: string
  readonly seq: number
  readonly device: string
  readonly topic: string
  readonly qos: 0 | 1 | 2
  readonly receivedAt: string
  readonly payloadBase64?: string
}

const PLAIN_ENVELOPE =
  /^\{"id":"([^"]+)","seq":(\d+),"device":"([^"]*)","topic":"([^"]*)","qos":([012]),"receivedAt":"([^"]+)"/

/** The same as JSON.parse gives, in half its time; null: something in it is escaped. */
function plainEnvelope(text: string): Envelope | null {
  if (text.includes('\\')) return null
  const [, id = '', seq, device = '', topic = '', qos, receivedAt = ''] =
    PLAIN_ENVELOPE.exec(text) ?? []
  if (seq === undefined) return null
  return { id, seq: Number(seq), device, topic, qos: Number(qos) as Envelope['qos'], receivedAt }
}

/** A line taken apart; `line` with its LF. The payload is not parsed. */
export function recordOfLine(line: Uint8Array): SinkRecord {
  const bytes = asBuffer(line)
  // No string before it can hold these bytes: a quote inside one has a backslash before it.
  const payloadAt = bytes.indexOf(PAYLOAD_MEMBER)
  const isJson = payloadAt >= 0
  const text = bytes.toString('utf8', 0, isJson ? payloadAt : bytes.length)
  const { id, seq, device, topic, qos, receivedAt, payloadBase64 } =
    (isJson ? plainEnvelope(text) : null) ?? (JSON.parse(isJson ? `${text}}` : text) as Envelope)
  return {
    id,
    seq,
    device,
    topic,
    qos,
    receivedAtMs: timestampMs(receivedAt),
    payloadKind: isJson ? 'json' : 'bytes',
    payload: isJson
      ? bytes.subarray(payloadAt + PAYLOAD_MEMBER.length, bytes.length - 2)
      : Buffer.from(payloadBase64 ?? '', 'base64'),
    line,
    expirySeconds: null,
  }
}

/** The number behind `"seq":`. */
export function seqOfLine(line: Uint8Array): number {
  const bytes = asBuffer(line)
  const at = seqAt(bytes, 0)
  const seq = Number(bytes.toString('latin1', at, digitsEnd(bytes, at)))
  if (!Number.isSafeInteger(seq) || seq < 1) throw malformed(bytes)
  return seq
}

/** Whether any of these lines can have one: cheap, where most have none. */
export function mayExpire(raw: Uint8Array): boolean {
  return asBuffer(raw).includes(EXPIRY_MEMBER)
}

/**
 * Its Message Expiry Interval, seconds; null: it has none. Nor has one that an operator requeued: it
 * is wanted.
 */
export function expirySecondsOf(line: Uint8Array): number | null {
  const bytes = asBuffer(line)
  const at = bytes.indexOf(EXPIRY_MEMBER)
  if (at < 0) return null
  // No string of the members before can hold these bytes, but a payload can.
  const payloadAt = bytes.indexOf(PAYLOAD_MEMBER)
  if (payloadAt >= 0 && payloadAt < at) return null
  const requeuedAt = bytes.indexOf(REQUEUED_MEMBER)
  if (requeuedAt >= 0 && requeuedAt < at) return null
  const from = at + EXPIRY_MEMBER.length
  return Number(bytes.toString('latin1', from, digitsEnd(bytes, from)))
}

/** `<gateway>:<spool id>:<stream>:<seq>` */
export function idOfLine(line: Uint8Array): string {
  const bytes = asBuffer(line)
  return bytes.toString('latin1', ID_AT, seqAt(bytes, 0) - SEQ_MEMBER.length)
}

/** `<prefix><seq>","seq":<seq>` */
function putIdentity(out: Uint8Array, at: number, prefix: Uint8Array, seq: number): number {
  return putNumber(out, put(out, putNumber(out, put(out, at, prefix), seq), SEQ_MEMBER), seq)
}

/** Behind the digits of `"seq":`, in the line that starts at `start`. */
function identityEnd(bytes: Buffer, start: number): number {
  return digitsEnd(bytes, seqAt(bytes, start))
}

/** Ids hold no quotes, so the first one behind the id's start ends it. */
function seqAt(bytes: Buffer, start: number): number {
  const idEnd = bytes.indexOf(QUOTE, start + ID_AT)
  if (
    idEnd < 0 ||
    bytes.compare(SEQ_MEMBER, 0, SEQ_MEMBER.length, idEnd, idEnd + SEQ_MEMBER.length) !== 0
  ) {
    throw malformed(bytes.subarray(start))
  }
  return idEnd + SEQ_MEMBER.length
}

function digitsEnd(bytes: Buffer, start: number): number {
  let at = start
  while (
    at < bytes.length &&
    (bytes[at] as number) >= DIGIT_0 &&
    (bytes[at] as number) < DIGIT_0 + 10
  )
    at += 1
  return at
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Lines come from blocks whose CRC was checked, so this is a programmer's error. */
function malformed(bytes: Uint8Array): Error {
  return new Error(`not a record: ${Buffer.from(bytes.subarray(0, 80)).toString('latin1')}`)
}
