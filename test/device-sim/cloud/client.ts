/** A minimal gateway, written from the ingest contract: builds batches and posts them. */
import { crc32, gzipSync } from 'node:zlib'

export const QUEUE = { gateway: 'edge-01', spool: 'k3f9x2m7q4w8z', stream: 'telemetry' } as const

export interface BatchOptions {
  readonly gateway?: string
  readonly spool?: string
  readonly stream?: string
  /** Value of Sluice-Gap. */
  readonly gaps?: string
  readonly encoding?: 'gzip' | 'identity'
  /** Replaces the payload of a seq, as JSON text. */
  readonly payload?: (seq: number) => string
  /** Replaces or, with null, removes headers. */
  readonly headers?: Readonly<Record<string, string | null>>
  /** Makes another body of the lines. */
  readonly mangle?: (lines: string[]) => string
}

export interface CloudAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** Of a JSON body. */
  readonly ackedThrough: number | null
  readonly rejected: ReadonlyArray<{ readonly seq: number; readonly status?: number }>
}

export function line(seq: number, options: BatchOptions = {}): string {
  const { gateway, spool, stream } = { ...QUEUE, ...options }
  const payload = options.payload?.(seq) ?? `{"celsius":${20 + (seq % 10)}.5}`
  const message = `"device":"press-7","topic":"plant/press-7/temp","qos":1,"receivedAt":"2026-11-23T03:05:00.123Z"`
  return `{"id":"${gateway}:${spool}:${stream}:${seq}","seq":${seq},${message},"payload":${payload}}`
}

/** Posts the records with these seqs as one batch. @throws when there is no HTTP answer */
export async function post(
  url: string,
  seqs: readonly number[],
  options: BatchOptions = {},
): Promise<CloudAnswer> {
  const { gateway, spool, stream } = { ...QUEUE, ...options }
  const lines = seqs.map((seq) => line(seq, options))
  const raw = Buffer.from(options.mangle?.(lines) ?? `${lines.join('\n')}\n`)
  const body = options.encoding === 'identity' ? raw : gzipSync(raw)
  const [first, last] = [seqs[0] ?? 0, seqs.at(-1) ?? 0]
  const crc = crc32(raw).toString(16).padStart(8, '0')
  const headers: Record<string, string> = {
    'Sluice-Contract': '1',
    'Content-Type': 'application/x-ndjson',
    'Idempotency-Key': `"${gateway}:${spool}:${stream}:${first}-${last}:${crc}"`,
    'Sluice-Gateway': gateway,
    'Sluice-Spool': spool,
    'Sluice-Stream': stream,
    'Sluice-First-Seq': String(first),
    'Sluice-Last-Seq': String(last),
    'Sluice-Record-Count': String(seqs.length),
  }
  if (options.encoding !== 'identity') headers['Content-Encoding'] = 'gzip'
  if (options.gaps !== undefined) headers['Sluice-Gap'] = options.gaps
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (value === null) delete headers[name]
    else headers[name] = value
  }
  const response = await fetch(url, { method: 'POST', headers, body, redirect: 'manual' })
  const text = await response.text()
  const parsed = text.startsWith('{') ? (JSON.parse(text) as Partial<CloudAnswer>) : {}
  return {
    status: response.status,
    headers: response.headers,
    text,
    ackedThrough: parsed.ackedThrough ?? null,
    rejected: parsed.rejected ?? [],
  }
}

/** Posts like {@link post}; true when the connection ended without an answer. */
export async function postIsCut(
  url: string,
  seqs: readonly number[],
  options: BatchOptions = {},
): Promise<boolean> {
  try {
    await post(url, seqs, options)
    return false
  } catch {
    return true
  }
}

/** `first` to `last`. */
export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, n) => first + n)
}
