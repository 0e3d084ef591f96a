/**
 * Batch -> the head of its request, exactly as the ingest contract wants it. Pure. I4: everything
 * that the contract sets depends on the batch alone, so a repeat is the same request; configured
 * headers can add to it, never replace it. Not here: the body (it goes out as it is), secrets'
 * files, sending.
 */
import type { Batch } from '../../ports/sink.ts'
import { gapHeader, idempotencyKey } from './encode.ts'
import type { RequestBody } from './formats/body.ts'
import { headerFault } from './header-rules.ts'

/** Version of the contract that is spoken. */
const CONTRACT_VERSION = '1'

/** What the head says of the body. */
type BodyFacts = Omit<RequestBody, 'chunks' | 'query' | 'seqs' | 'refused'>

/** Request line and headers as they go out, up to the empty line. */
export function requestHead(
  url: URL,
  batch: Batch,
  body: BodyFacts & Pick<RequestBody, 'query'>,
  configured: ReadonlyArray<readonly [name: string, value: string]>,
): string {
  const key = idempotencyKey(batch, body.crc32).slice(1, -1)
  return headText(withQuery(url, body.query?.(key) ?? {}), requestHeaders(batch, body, configured))
}

/** What the url has in its query stays as it is. */
function withQuery(url: URL, query: Readonly<Record<string, string>>): URL {
  const more = new URLSearchParams({ ...query }).toString()
  if (more === '') return url
  const all = new URL(url)
  all.search = `${url.search === '' ? '?' : `${url.search}&`}${more}`
  return all
}

function headText(url: URL, headers: Readonly<Record<string, string>>): string {
  const lines = [
    `POST ${url.pathname}${url.search} HTTP/1.1`,
    `host: ${url.host}`,
    'connection: keep-alive',
  ]
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** The URL's host without the brackets of an IPv6 address. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1')
}

/** As a connection needs it. */
export function targetOf(url: URL): {
  readonly hostname: string
  readonly port: number
  readonly isTls: boolean
} {
  return { hostname: hostOf(url), port: portOf(url), isTls: url.protocol === 'https:' }
}

export function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port)
  return url.protocol === 'https:' ? 443 : 80
}

/**
 * All headers of the request except `Host`. `configured`: name and value as the configuration has
 * them, secrets resolved; those that {@link headerFault} refuses are left out.
 */
export function requestHeaders(
  batch: Batch,
  body: BodyFacts,
  configured: ReadonlyArray<readonly [name: string, value: string]>,
): Record<string, string> {
  const headers = commonHeaders(configured)
  headers['sluice-gateway'] = batch.gateway
  headers['sluice-spool'] = batch.spoolId
  headers['sluice-stream'] = batch.stream
  headers['sluice-first-seq'] = String(batch.firstSeq)
  headers['sluice-last-seq'] = String(batch.lastSeq)
  headers['sluice-record-count'] = String(body.recordCount)
  const gaps = gapHeader(batch.gaps, batch.spoolId)
  if (gaps !== null) headers['sluice-gap'] = gaps
  headers['idempotency-key'] = idempotencyKey(batch, body.crc32)
  headers['content-type'] = body.contentType
  headers['content-length'] = String(body.byteLength)
  if (body.contentEncoding !== null) headers['content-encoding'] = body.contentEncoding
  return headers
}

/** Head of a request that can deliver nothing: no record, no key, no seq, and it says so. */
export function probeHead(
  url: URL,
  { contentType, query }: Pick<RequestBody, 'contentType' | 'query'>,
  configured: ReadonlyArray<readonly [name: string, value: string]>,
): string {
  return headText(withQuery(url, query?.('probe') ?? {}), {
    ...commonHeaders(configured),
    'sluice-probe': '1',
    'sluice-record-count': '0',
    'content-type': contentType,
    'content-length': '0',
  })
}

function commonHeaders(
  configured: ReadonlyArray<readonly [name: string, value: string]>,
): Record<string, string> {
  const headers: Record<string, string> = {
    'user-agent': 'sluice',
    accept: 'application/json, text/plain;q=0.9, */*;q=0.1',
    'accept-encoding': 'identity',
  }
  for (const [name, value] of configured) {
    if (headerFault(name) === null) headers[name.toLowerCase()] = value
  }
  headers['sluice-contract'] = CONTRACT_VERSION
  return headers
}
