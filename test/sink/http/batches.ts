/**
 * Batches and configurations for the sink's tests, as the drain and the configuration would hand
 * them over.
 */
import { crc32, gzipSync } from 'node:zlib'
import type { Batch, Gap, Stitched } from '../../../gateway/ports/sink.ts'
import type { HttpSinkConfig } from '../../../gateway/sink/http/config.ts'
import { recordOfLine } from '../../../gateway/spool/codec/record.ts'
import { httpSinkConfig } from '../../support/configs.ts'

export function recordId(seq: number): string {
  return `edge-01:k3f9x2m7q4w8z:telemetry:${seq}`
}

/** One NDJSON line of the contract, LF included. */
export function recordLine(seq: number, payload = '{"celsius":21.4}'): string {
  const id = `"id":"${recordId(seq)}"`
  const message =
    '"device":"press-7","topic":"plant/press-7/temp","qos":1,"receivedAt":"2026-11-23T03:05:00.123Z"'
  return `{${id},"seq":${seq},${message},"payload":${payload}}\n`
}

/** A batch with its bytes at hand. */
export interface MadeBatch extends Batch {
  /** As it is stitched for gzip. */
  readonly body: Buffer
}

/** A batch of the records `first` to `last`. */
export function batchOf(first: number, last: number, changes: Partial<Batch> = {}): MadeBatch {
  const lines: string[] = []
  for (let seq = first; seq <= last; seq += 1) lines.push(recordLine(seq))
  const raw = Buffer.from(lines.join(''))
  const body = gzipSync(raw)
  return {
    gateway: 'edge-01',
    spoolId: 'k3f9x2m7q4w8z',
    stream: 'telemetry',
    firstSeq: first,
    lastSeq: last,
    recordCount: last - first + 1,
    gaps: [],
    receivedAtMs: Date.parse('2026-11-23T03:05:00.123Z'),
    fingerprint: 'http:ndjson:gzip',
    formerFingerprints: [],
    note: null,
    keepNote: async () => undefined,
    rawBytes: raw.length,
    crc32: crc32(raw),
    bodyBytes: body.length,
    body,
    stitched: async (encoding) => stitchedOf([encoding === 'gzip' ? body : raw]),
    records: async function* () {
      for (const line of lines) yield recordOfLine(Buffer.from(line))
    },
    ...changes,
  }
}

/** The same batch with other bytes to send. */
export function withBody(batch: MadeBatch, chunks: readonly Uint8Array[]): MadeBatch {
  const stitched = stitchedOf(chunks)
  return { ...batch, bodyBytes: stitched.byteLength, stitched: async () => stitched }
}

function stitchedOf(chunks: readonly Uint8Array[]): Stitched {
  return { chunks, byteLength: chunks.reduce((sum, chunk) => sum + chunk.length, 0) }
}

/** A gap of the same identity. */
export function expired(firstSeq: number, lastSeq: number): Gap {
  return { spoolId: 'k3f9x2m7q4w8z', firstSeq, lastSeq, reason: 'expired' }
}

/** The defaults of the configuration, to a URL. */
export function sinkConfig(url: string, changes: Partial<HttpSinkConfig> = {}): HttpSinkConfig {
  return httpSinkConfig({ url, connectTimeout: 5_000, timeout: 5_000, ...changes })
}

/** A signal that never aborts. */
export function never(): AbortSignal {
  return new AbortController().signal
}
