/**
 * Batches and configurations for the sink's tests, as the drain and the configuration would hand
 * them over.
 */
import { crc32, gzipSync } from 'node:zlib'
import type { Batch } from '../../../gateway/ports/sink.ts'
import type { HttpSinkConfig } from '../../../gateway/sink/http/config.ts'
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

/** A batch of the records `first` to `last`. */
export function batchOf(first: number, last: number, changes: Partial<Batch> = {}): Batch {
  const lines: string[] = []
  for (let seq = first; seq <= last; seq += 1) lines.push(recordLine(seq))
  const raw = Buffer.from(lines.join(''))
  const encoding = changes.encoding ?? 'gzip'
  const body = [encoding === 'gzip' ? gzipSync(raw) : raw]
  return {
    gateway: 'edge-01',
    spoolId: 'k3f9x2m7q4w8z',
    stream: 'telemetry',
    firstSeq: first,
    lastSeq: last,
    recordCount: last - first + 1,
    gaps: null,
    crc32: crc32(raw),
    encoding,
    body,
    bodyBytes: body.reduce((sum, chunk) => sum + chunk.length, 0),
    ...changes,
  }
}

/** The defaults of the configuration, to a URL. */
export function sinkConfig(url: string, changes: Partial<HttpSinkConfig> = {}): HttpSinkConfig {
  return httpSinkConfig({ url, connectTimeout: 5_000, timeout: 5_000, ...changes })
}

/** A signal that never aborts. */
export function never(): AbortSignal {
  return new AbortController().signal
}
