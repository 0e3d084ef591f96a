/**
 * The stored form of a dead letter: one line of JSON about it, then the record's line. A record
 * that the sink refused keeps its line byte for byte; a message refused at ingest gets a line of
 * the same shape without a seq, and with the id `<gateway>:<spool id>:<stream>:d<n>`.
 */

import type { Message } from '../../ports/appender.ts'
import type { WrittenCode } from '../../shared/text/answer-code.ts'
import type { DeadLetterOrigin } from '../store/keys.ts'
import { clockMembers } from '../time/wall-clock.ts'
import { CRC_BYTES, checked, withCrc } from './checked.ts'
import { isJson } from './json-scan.ts'
import { textBytes } from './json-text.ts'
import { idOfLine, RecordBuffer } from './record.ts'

export interface DeadLetterInfo {
  readonly id: string
  /** null: refused at ingest; it never had one. */
  readonly seq: number | null
  readonly origin: DeadLetterOrigin
  readonly status: WrittenCode
  readonly reason: string
  /** RFC 3339. */
  readonly deadLetteredAt: string
  /** The same in spool time, for `maxAge`; absent: written before there was one. */
  readonly spoolTimeMs?: number
  /** What was cut for size cannot be requeued. */
  readonly truncated: { readonly bytes: number; readonly sha256: string } | null
}

export interface StoredDeadLetter {
  readonly info: DeadLetterInfo
  /** NDJSON line, LF included. */
  readonly line: Buffer
}

export function packDeadLetter(info: DeadLetterInfo, line: Uint8Array): Buffer {
  return withCrc(Buffer.concat([Buffer.from(`${JSON.stringify(info)}\n`, 'utf8'), line]))
}

/** Length of what `packDeadLetter` makes of it. */
export function packedBytes(info: DeadLetterInfo, lineBytes: number): number {
  return CRC_BYTES + Buffer.byteLength(JSON.stringify(info)) + 1 + lineBytes
}

/** null: damaged. */
export function unpackDeadLetter(value: Buffer): StoredDeadLetter | null {
  const letter = checked(value)
  if (letter === null) return null
  const end = letter.indexOf(0x0a)
  return {
    info: JSON.parse(letter.toString('utf8', 0, end)) as DeadLetterInfo,
    line: letter.subarray(end + 1),
  }
}

/**
 * A message refused at ingest as a dead letter. Stored, its line carries the dead letter's number
 * in the place of a seq, so that it can be requeued like any record; `withoutSeq` shows it as it
 * is: it never had one.
 */
export function encodeDeadLetter(of: {
  idPrefix: Uint8Array
  n: number
  envelope: Uint8Array
  message: Message
  spoolTimeMs: number
  payload: Uint8Array
  /** From `propertyMembers`. */
  properties: Uint8Array | null
  reason: string
  /** The stream wants text. */
  asText: boolean
  truncated: DeadLetterInfo['truncated']
}): { readonly id: string; readonly bytes: Buffer } {
  const { message, payload, truncated } = of
  const properties = truncated === null ? of.properties : null
  const buffer = new RecordBuffer(payload.length * 2 + 512)
  buffer.append({
    idPrefix: Buffer.concat([of.idPrefix, Buffer.from('d')]),
    seq: of.n,
    envelope: of.envelope,
    qos: message.qos,
    dup: message.dup,
    retain: message.retain,
    will: message.will,
    receivedAtMs: message.receivedAtMs,
    payload,
    start: 0,
    end: payload.length,
    json: truncated === null && isJson(payload, 0, payload.length),
    textLength: of.asText && truncated === null ? textBytes(payload, 0, payload.length) : -1,
    requeuedFrom: null,
    clock: clockMembers(message.receivedAtMs, message.arrivedMs),
    properties,
  })
  const line = buffer.bytes()
  const id = idOfLine(line)
  const info: DeadLetterInfo = {
    id,
    seq: null,
    origin: 'ingest',
    status: null,
    reason: of.reason,
    deadLetteredAt: new Date(message.receivedAtMs).toISOString(),
    spoolTimeMs: of.spoolTimeMs,
    truncated,
  }
  return { id, bytes: packDeadLetter(info, line) }
}

export function withoutSeq(line: string): string {
  return line.replace(/"seq":\d+,/, '')
}
