/**
 * A batch of one record that no spool holds, made as a spool would make it: to show what a message
 * becomes, and to try a sink. Its spool id is its own, so no receiver takes it for a queue's.
 */
import { crc32, gzipSync } from 'node:zlib'
import type { Batch } from '../../ports/sink.ts'
import { isJson } from '../codec/json-scan.ts'
import { textBytes } from '../codec/json-text.ts'
import { envelopeBytes, idPrefix, RecordBuffer, recordOfLine } from '../codec/record.ts'
import type { StreamConfig } from '../config.ts'

export interface LoneMessage {
  readonly gateway: string
  readonly spoolId: string
  readonly stream: string
  readonly device: string
  readonly topic: string
  readonly message: Uint8Array
  /** Wall clock, ms since the epoch. */
  readonly receivedAtMs: number
  /** As the stream is configured. */
  readonly payload: StreamConfig['payload']
}

/** Of the sink's encoder. */
type Form = Pick<Batch, 'fingerprint'>

export function loneBatch(lone: LoneMessage, { fingerprint }: Form): Batch {
  const line = lineOf(lone)
  const gzip = gzipSync(line)
  const { gateway, spoolId, stream, receivedAtMs } = lone
  let note: string | null = null
  return {
    gateway,
    spoolId,
    stream,
    firstSeq: 1,
    lastSeq: 1,
    recordCount: 1,
    gaps: [],
    receivedAtMs,
    fingerprint,
    formerFingerprints: [],
    get note() {
      return note
    },
    keepNote: async (text) => {
      note = text
    },
    rawBytes: line.length,
    crc32: crc32(line),
    bodyBytes: line.length,
    stitched: async (encoding) => {
      const bytes = encoding === 'gzip' ? gzip : line
      return { chunks: [bytes], byteLength: bytes.length }
    },
    records: async function* () {
      yield recordOfLine(line)
    },
  }
}

function lineOf(lone: LoneMessage): Uint8Array {
  const { gateway, spoolId, stream, device, topic, message, receivedAtMs, payload } = lone
  const buffer = new RecordBuffer(message.length)
  buffer.append({
    idPrefix: idPrefix(gateway, spoolId, stream),
    seq: 1,
    envelope: envelopeBytes(device, topic),
    qos: 1,
    dup: false,
    retain: false,
    will: false,
    receivedAtMs,
    payload: message,
    start: 0,
    end: message.length,
    json: isJson(message, 0, message.length),
    textLength: payload === 'text' ? textBytes(message, 0, message.length) : -1,
    requeuedFrom: null,
  })
  return Buffer.from(buffer.bytes())
}
