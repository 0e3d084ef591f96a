/**
 * AWS Signature Version 4 of one request: what makes a `POST` to Kinesis, an API Gateway or S3 that
 * of an account. Pure.
 *
 * A signature holds for some minutes around its date, so it is made for each try, and it is no part
 * of what a repeat repeats. Not here: where keys come from, temporary ones of a
 * service, chunked signatures of streamed bodies, presigned URLs.
 */
import { createHash, createHmac } from 'node:crypto'

export interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Of temporary credentials; null: they are an account's own. */
  readonly sessionToken: string | null
}

/** What the key is derived for. */
interface AwsScope {
  readonly region: string
  /** As AWS names it in signatures: `kinesis`, `execute-api`, `s3`, `iotdata`. */
  readonly service: string
}

export interface AwsRequest {
  readonly method: string
  readonly url: URL
  /**
   * Those that are signed besides `host` and what comes out here: names in any case. What proxies
   * change on the way is better left out.
   */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** SHA-256 of the body as it goes out, hex; `UNSIGNED-PAYLOAD` where the service (S3) takes it. */
  readonly payloadHash: string
  /** The date of the signature, ms since the epoch. */
  readonly atMs: number
}

const ALGORITHM = 'AWS4-HMAC-SHA256'

/** For {@link AwsRequest.payloadHash}. */
export function sha256Hex(chunks: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const chunk of chunks) hash.update(chunk)
  return hash.digest('hex')
}

/** The headers that the request needs besides those that it has. Lower case. */
export function sigV4Headers(
  request: AwsRequest,
  credentials: AwsCredentials,
  scope: AwsScope,
): Array<readonly [name: string, value: string]> {
  const stamp = new Date(request.atMs).toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const { sessionToken, accessKeyId } = credentials
  const added: Array<readonly [string, string]> = [['x-amz-date', stamp]]
  if (scope.service === 's3') added.push(['x-amz-content-sha256', request.payloadHash])
  if (sessionToken !== null) added.push(['x-amz-security-token', sessionToken])
  const headers = canonicalHeaders([['host', request.url.host], ...request.headers, ...added])
  const signed = [...headers.keys()].join(';')
  const canonical = [
    request.method,
    canonicalPath(request.url, scope.service),
    canonicalQuery(request.url),
    ...[...headers].map(([name, value]) => `${name}:${value}`),
    '',
    signed,
    request.payloadHash,
  ].join('\n')
  const day = stamp.slice(0, 8)
  const within = `${day}/${scope.region}/${scope.service}/aws4_request`
  const text = [ALGORITHM, stamp, within, sha256Hex([Buffer.from(canonical)])].join('\n')
  const signature = hmac(signingKey(credentials, day, scope), text).toString('hex')
  const value = `${ALGORITHM} Credential=${accessKeyId}/${within}, SignedHeaders=${signed}, Signature=${signature}`
  return [...added, ['authorization', value]]
}

function signingKey({ secretAccessKey }: AwsCredentials, day: string, scope: AwsScope): Buffer {
  const ofDay = hmac(`AWS4${secretAccessKey}`, day)
  return hmac(hmac(hmac(ofDay, scope.region), scope.service), 'aws4_request')
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/** By name, values of one name in the order in which they go out, white space folded. */
function canonicalHeaders(
  headers: ReadonlyArray<readonly [string, string]>,
): ReadonlyMap<string, string> {
  const values = new Map<string, string[]>()
  for (const [name, value] of headers) {
    const key = name.toLowerCase()
    values.set(key, [...(values.get(key) ?? []), value.trim().replaceAll(/ +/g, ' ')])
  }
  const sorted = [...values].sort(([a], [b]) => compare(a, b))
  return new Map(sorted.map(([name, all]) => [name, all.join(',')]))
}

/**
 * S3 signs the name of the object as it is, every other service the path as it goes out, without
 * doubled slashes, and encoded once more.
 */
function canonicalPath({ pathname }: URL, service: string): string {
  if (service === 's3') return pathname.split('/').map(decoded).map(encoded).join('/')
  return pathname
    .replaceAll(/\/{2,}/g, '/')
    .split('/')
    .map(encoded)
    .join('/')
}

function canonicalQuery({ search }: URL): string {
  if (search.length < 2) return ''
  const pairs = search
    .slice(1)
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const at = pair.indexOf('=')
      const name = at === -1 ? pair : pair.slice(0, at)
      const value = at === -1 ? '' : pair.slice(at + 1)
      return [encoded(decoded(name)), encoded(decoded(value))] as const
    })
  return pairs
    .sort((a, b) => compare(a[0], b[0]) || compare(a[1], b[1]))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

/** All but the unreserved characters of RFC 3986. */
function encoded(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/** What is no encoding stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** By code units, as AWS sorts; never by a locale. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
