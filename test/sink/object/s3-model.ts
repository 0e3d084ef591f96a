/**
 * A store as S3's documentation has it, in memory, over real HTTP: path-style buckets, conditional
 * writes, Content-MD5, and Signature Version 4, checked by code of its own. What it stored, in its
 * order, can be read back; a test says what goes wrong.
 */
import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

export const KEYS = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG',
} as const
export const REGION = 'eu-test-1'

interface ModelAnswer {
  readonly status: number
  /** Of S3's error document. */
  readonly code?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
}

/** What happens to a request instead of, or after, what the store would do. */
export type Mishap =
  | ModelAnswer
  | { readonly page: string }
  /** The connection ends without an answer, before the request is dealt with or after. */
  | { readonly cut: 'before' | 'after' }

export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

export class S3Model {
  readonly objects = new Map<string, Buffer>()
  readonly requests: SeenRequest[] = []
  /** Names that were written over with other bytes. */
  readonly overwritten: string[] = []
  readonly buckets = new Set(['archive'])
  /** What it makes of If-None-Match. */
  conditions: 'obeyed' | 'ignored' | 'not-implemented' = 'obeyed'
  /** Null: nobody is asked who he is. */
  secret: string | null = KEYS.secretAccessKey
  /** The bucket of its host, which then stands in no path. */
  bucketInHost: string | null = null
  /** Of a PUT that is kept: WebDAV has 201. */
  putStatus = 200
  mayList = true
  /** Most of one list. */
  pageKeys = 1000
  mishap: ((request: SeenRequest) => Mishap | null) | null = null
  nowMs = (): number => Date.now()
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch((error: unknown) => {
        response.destroy(error as Error)
      })
    })
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  static async start(): Promise<S3Model> {
    const model = new S3Model()
    model.#server.listen(0, '127.0.0.1')
    await once(model.#server, 'listening')
    return model
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Of a bucket, below a prefix. */
  get url(): string {
    return `${this.origin}/archive/plant`
  }

  /** By name, as `ls` has them. */
  texts(end: RegExp): string[] {
    const names = [...this.objects.keys()].filter((name) => end.test(name)).toSorted()
    return names.map((name) => (this.objects.get(name) ?? Buffer.alloc(0)).toString('latin1'))
  }

  async close(): Promise<void> {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await once(this.#server, 'close')
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const { method = '', url = '', headers } = request
    const seen: SeenRequest = { method, path: url, headers, body: Buffer.concat(chunks) }
    this.requests.push(seen)
    const mishap = this.mishap?.(seen) ?? null
    if (mishap !== null && !('cut' in mishap)) {
      if ('page' in mishap) {
        response.writeHead(200, { 'content-type': 'text/html' }).end(mishap.page)
        return
      }
      answer(response, mishap)
      return
    }
    if (mishap?.cut === 'before') {
      request.socket.destroy()
      return
    }
    response.setHeader('date', new Date(this.nowMs()).toUTCString())
    const said = this.#answerTo(seen)
    if (mishap?.cut === 'after') request.socket.destroy()
    else answer(response, said)
  }

  #answerTo(seen: SeenRequest): ModelAnswer {
    const { method, headers, body } = seen
    const refused = this.#judge(seen)
    if (refused !== null) return refused
    const path = this.bucketInHost === null ? seen.path : `/${this.bucketInHost}${seen.path}`
    const listed = /^\/([^/?]+)\/?\?(.*)$/.exec(path)
    if (listed !== null && method === 'GET') return this.#list(listed[1] ?? '', listed[2] ?? '')
    const [, bucket = '', name = ''] = /^\/([^/]+)\/(.+)$/.exec(path) ?? []
    if (!this.buckets.has(bucket)) return { status: 404, code: 'NoSuchBucket' }
    const there = this.objects.get(name)
    if (method === 'GET') {
      if (there === undefined) return { status: 404, code: 'NoSuchKey' }
      return { status: 200, headers: { etag: `"${md5(there, 'hex')}"` }, body: there }
    }
    if (method !== 'PUT') return { status: 405, code: 'MethodNotAllowed' }
    const condition = headers['if-none-match']
    if (condition !== undefined && this.conditions === 'not-implemented')
      return { status: 501, code: 'NotImplemented' }
    if (condition === '*' && this.conditions === 'obeyed' && there !== undefined)
      return { status: 412, code: 'PreconditionFailed' }
    const sum = headers['content-md5']
    if (sum !== undefined && sum !== md5(body, 'base64')) return { status: 400, code: 'BadDigest' }
    if (there !== undefined && !there.equals(body)) this.overwritten.push(name)
    this.objects.set(name, body)
    return { status: this.putStatus, headers: { etag: `"${md5(body, 'hex')}"` } }
  }

  /** ListObjectsV2, by AWS's documentation of it. */
  #list(bucket: string, query: string): ModelAnswer {
    if (!this.buckets.has(bucket)) return { status: 404, code: 'NoSuchBucket' }
    if (!this.mayList) return { status: 403, code: 'AccessDenied' }
    const asked = new URLSearchParams(query)
    const [prefix, after] = [asked.get('prefix') ?? '', asked.get('start-after') ?? '']
    const found = [...this.objects.keys()]
      .filter((name) => name.startsWith(prefix) && name > after)
      .toSorted((a, b) => (a < b ? -1 : 1))
    const page = found.slice(0, Math.min(this.pageKeys, Number(asked.get('max-keys'))))
    const keys = page.map((name) => `<Contents><Key>${name}</Key></Contents>`).join('')
    const isCut = page.length < found.length
    const body = `<?xml version="1.0"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${bucket}</Name><IsTruncated>${isCut}</IsTruncated>${keys}</ListBucketResult>`
    return { status: 200, headers: { 'content-type': 'application/xml' }, body: Buffer.from(body) }
  }

  /** Signature Version 4, by AWS's documentation of it. */
  #judge({ method, path, headers, body }: SeenRequest): ModelAnswer | null {
    if (this.secret === null) return null
    const form =
      /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/
    const [, id, day = '', region = '', names = '', signature] =
      form.exec(headers.authorization ?? '') ?? []
    if (id === undefined) return { status: 403, code: 'AccessDenied' }
    if (id !== KEYS.accessKeyId) return { status: 403, code: 'InvalidAccessKeyId' }
    if (region !== REGION) return { status: 400, code: 'AuthorizationHeaderMalformed' }
    const stamp = String(headers['x-amz-date'])
    const [, y, m, d, hh, mm, ss] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(stamp) ?? []
    const atMs = Date.parse(`${y}-${m}-${d}T${hh}:${mm}:${ss}Z`)
    if (!(Math.abs(this.nowMs() - atMs) <= 15 * 60_000))
      return { status: 403, code: 'RequestTimeTooSkewed' }
    const payload = String(headers['x-amz-content-sha256'])
    if (payload !== createHash('sha256').update(body).digest('hex'))
      return { status: 400, code: 'XAmzContentSHA256Mismatch' }
    const signed = names.split(';')
    for (const name of Object.keys(headers))
      if ((name.startsWith('x-amz-') || name === 'content-md5') && !signed.includes(name))
        return { status: 403, code: 'AccessDenied' }
    const lines = signed.map((name) => `${name}:${String(headers[name]).trim()}\n`).join('')
    const [bare, query = ''] = path.split('?')
    const pairs = query.split('&').toSorted().join('&')
    const canonical = `${method}\n${bare}\n${pairs}\n${lines}\n${names}\n${payload}`
    const hash = createHash('sha256').update(canonical).digest('hex')
    const text = `AWS4-HMAC-SHA256\n${stamp}\n${day}/${region}/s3/aws4_request\n${hash}`
    let key: string | Buffer = `AWS4${this.secret}`
    for (const part of [day, region, 's3', 'aws4_request'])
      key = createHmac('sha256', key).update(part).digest()
    const expected = createHmac('sha256', key).update(text).digest('hex')
    return expected === signature ? null : { status: 403, code: 'SignatureDoesNotMatch' }
  }
}

function answer(
  response: ServerResponse,
  { status, code, headers = {}, body = Buffer.alloc(0) }: ModelAnswer,
): void {
  const text =
    code === undefined ? body : `<Error><Code>${code}</Code><Message>so it says</Message></Error>`
  response.writeHead(status, headers).end(text)
}

function md5(bytes: Uint8Array, encoding: 'hex' | 'base64'): string {
  return createHash('md5').update(bytes).digest(encoding)
}
