/**
 * The head of an ingest request: what the batch says of itself, and the answer to a head that the
 * contract does not allow. Pure. Written from the ingest contract alone: this is the far side, it
 * shares nothing with the gateway.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { BatchClaim, SeqRange } from './store/lines.ts'

const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/
/** Behind the checksum may stand the form, where the body has one of its own or had another before. */
const KEY = /^"([^":]+:[^":]+:[^":]+):(\d+)-(\d+):([0-9a-f]{8})(?::[!#-~]{1,200})?"$/
const GAP_REASONS: ReadonlySet<string> = new Set([
  'expired',
  'dropped-oldest',
  'corrupt',
  'commit-failed',
  'unused',
  'dead-lettered',
  'purged',
])

/** Longest Sluice-Gap that the contract allows, bytes. */
const MAX_GAP_BYTES = 2048

/** Seqs that will never come, as the gateway reported it. */
export interface Gap extends SeqRange {
  readonly reason: string
  /** The identity they belong to. */
  readonly spool: string
}

export interface BatchHead extends BatchClaim {
  readonly gaps: readonly Gap[]
  readonly encoding: 'gzip' | 'identity'
  /** CRC-32 of the uncompressed body, from the Idempotency-Key. */
  readonly crc32: number
  readonly contentLength: number
}

/** `status` is the answer to such a head; `detail` its body. */
interface BadHead {
  readonly status: number
  readonly detail: string
}

/**
 * Reads the head of a POST. What is not the contract's gets the status that makes a gateway hold,
 * not drop.
 * @param contentType of the bodies that are taken here
 */
export function readHead(headers: IncomingHttpHeaders, contentType: string): BatchHead | BadHead {
  const text = (name: string): string => {
    const value = headers[name]
    return typeof value === 'string' ? value : ''
  }
  if (text('sluice-contract') !== '1') return bad(415, 'Sluice-Contract is not 1')
  const type = text('content-type').split(';')[0]?.trim()
  if (type !== contentType) return bad(415, `Content-Type is not ${contentType}`)
  const encoding = text('content-encoding') === '' ? 'identity' : text('content-encoding')
  if (encoding !== 'gzip' && encoding !== 'identity')
    return bad(415, `Content-Encoding is not gzip`)
  if (!/^\d+$/.test(text('content-length'))) return bad(411, 'there is no Content-Length')
  const [gateway, spool, stream] = [
    text('sluice-gateway'),
    text('sluice-spool'),
    text('sluice-stream'),
  ]
  for (const name of [gateway, spool, stream]) {
    if (!NAME.test(name))
      return bad(400, 'Sluice-Gateway, Sluice-Spool or Sluice-Stream is no name')
  }
  const [firstSeq, lastSeq] = [count(text('sluice-first-seq')), count(text('sluice-last-seq'))]
  const recordCount = count(text('sluice-record-count'))
  if (
    firstSeq === null ||
    lastSeq === null ||
    recordCount === null ||
    recordCount > lastSeq - firstSeq + 1
  ) {
    return bad(400, 'Sluice-First-Seq, Sluice-Last-Seq and Sluice-Record-Count do not fit together')
  }
  const key = KEY.exec(text('idempotency-key'))
  const keyFits =
    key?.[1] === `${gateway}:${spool}:${stream}` &&
    Number(key[2]) === firstSeq &&
    Number(key[3]) === lastSeq
  if (key === null || !keyFits)
    return bad(400, 'Idempotency-Key does not name this queue and these seqs')
  const gaps = readGaps(text('sluice-gap'), spool)
  if (typeof gaps === 'string') return bad(400, gaps)
  return {
    gateway,
    spool,
    stream,
    firstSeq,
    lastSeq,
    recordCount,
    gaps,
    encoding,
    crc32: Number.parseInt(key[4] ?? '', 16),
    contentLength: Number(text('content-length')),
  }
}

/**
 * `Sluice-Gap`: `<first>-<last>;reason=<reason>[;spool=<id>]`, comma-separated. A string says what is wrong.
 */
export function readGaps(header: string, spool: string): readonly Gap[] | string {
  if (header === '') return []
  if (Buffer.byteLength(header) > MAX_GAP_BYTES)
    return `Sluice-Gap is longer than ${MAX_GAP_BYTES} bytes`
  const gaps: Gap[] = []
  for (const part of header.split(',')) {
    const [bounds = '', ...parameters] = part
      .trim()
      .split(';')
      .map((one) => one.trim())
    const numbers = /^(\d+)-(\d+)$/.exec(bounds)
    const [first, last] = [count(numbers?.[1] ?? ''), count(numbers?.[2] ?? '')]
    const values = new Map(
      parameters.map((one) => [one.split('=')[0] ?? '', one.slice(one.indexOf('=') + 1)]),
    )
    const reason = values.get('reason') ?? ''
    if (first === null || last === null || last < first) return `Sluice-Gap: ${bounds} is no range`
    if (!GAP_REASONS.has(reason)) return `Sluice-Gap: ${reason} is no reason`
    const owner = values.get('spool') ?? spool
    if (!NAME.test(owner)) return 'Sluice-Gap: spool is no name'
    gaps.push({ first, last, reason, spool: owner })
  }
  return gaps
}

/** An integer from 1 to 2^53-1, or null. */
function count(text: string): number | null {
  const value = Number(text)
  return /^\d{1,16}$/.test(text) && Number.isSafeInteger(value) && value > 0 ? value : null
}

function bad(status: number, detail: string): BadHead {
  return { status, detail }
}
