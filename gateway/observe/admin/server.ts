/**
 * The admin server: node:http around guard.ts and routes.ts. Owns the bounds of what a request may be (I6) and the form
 * of errors. Whatever a caller sends or does, it gets an answer or loses its connection; nothing reaches the process.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, isIPv6 } from 'node:net'
import type { AdminConfig } from '../../config/config.ts'
import { AdminError } from './actions.ts'
import { guard } from './guard.ts'
import type { AdminAnswer, AdminRequest } from './routes.ts'
import { readToken } from './token.ts'

/** A thousand ids of dead letters and then some. */
export const MAX_BODY_BYTES = 1024 * 1024
export const MAX_HEADER_BYTES = 8 * 1024
/** A scraper, some probes, an operator or two. More are closed as they come. */
export const MAX_CONNECTIONS = 64

const HEADERS_TIMEOUT_MS = 5_000
const REQUEST_TIMEOUT_MS = 15_000
const IDLE_TIMEOUT_MS = 30_000
/** How long requests in progress may take to end at a stop. */
const STOP_GRACE_MS = 1_000

const NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"

export type AdminOutcome = 'ok' | 'refused' | 'failed'

export interface AdminServerOptions {
  readonly config: AdminConfig
  readonly answer: (request: AdminRequest) => Promise<AdminAnswer>
  /** Called once a request, when its answer is decided. */
  readonly onRequest: (facts: AdminRequestFacts) => void
}

export interface AdminRequestFacts {
  readonly method: string
  readonly path: string
  readonly remote: string
  readonly outcome: AdminOutcome
  /** What went wrong; null for `ok`. */
  readonly error: AdminError | Error | null
}

export class AdminServer {
  readonly #server: Server
  readonly #options: AdminServerOptions
  #url = ''

  private constructor(server: Server, options: AdminServerOptions) {
    this.#server = server
    this.#options = options
  }

  /** @throws AdminError ADMIN_LISTEN: the address is taken or not ours. */
  static async listen(options: AdminServerOptions): Promise<AdminServer> {
    const server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: 1_000,
    })
    server.maxConnections = MAX_CONNECTIONS
    server.setTimeout(IDLE_TIMEOUT_MS)
    const admin = new AdminServer(server, options)
    server.on('request', (request, response) => void admin.#serve(request, response))
    const { host, port } = options.config
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          new AdminError(
            'ADMIN_LISTEN',
            `cannot listen on admin ${host}:${port}: ${error.code ?? error.message}`,
          ),
        ),
      )
      server.listen(port, host, resolve)
    })
    server.removeAllListeners('error')
    server.on('error', () => {})
    const bound = server.address() as AddressInfo
    admin.#url = `http://${isIPv6(bound.address) ? `[${bound.address}]` : bound.address}:${bound.port}`
    return admin
  }

  /** `http://127.0.0.1:9464`, with the port that was really bound. */
  get url(): string {
    return this.#url
  }

  /** Lets requests in progress end, for a moment. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeIdleConnections()
    const hard = setTimeout(() => this.#server.closeAllConnections(), STOP_GRACE_MS)
    await closed
    clearTimeout(hard)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', () => {})
    response.on('error', () => {})
    const method = request.method ?? ''
    const [path = '', search = ''] = splitUrl(request.url ?? '')
    const remote = request.socket.remoteAddress ?? ''
    try {
      guard({ method, path, headers: request.headers }, await this.#policy(path))
      const body = method === 'POST' ? await readJson(request) : null
      const answer = await this.#options.answer({ method, path, query: new URLSearchParams(search), body })
      this.#options.onRequest({ method, path, remote, outcome: 'ok', error: null })
      send(response, answer, method)
    } catch (caught) {
      const error = caught instanceof Error ? caught : new Error(String(caught))
      const known = error instanceof AdminError && error.status < 500
      this.#options.onRequest({ method, path, remote, outcome: known ? 'refused' : 'failed', error })
      sendError(response, error, method)
    }
  }

  /** The token is not read for paths that need none: a broken secret file must not take the probes down. */
  async #policy(path: string): Promise<{ host: string; token: string | null }> {
    const { host, token } = this.#options.config
    return { host, token: path.startsWith('/api/') ? await readToken(token) : null }
  }
}

function splitUrl(url: string): string[] {
  const mark = url.indexOf('?')
  return mark < 0 ? [url] : [url.slice(0, mark), url.slice(mark + 1)]
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES)
      throw new AdminError('ADMIN_BODY_TOO_LARGE', `a body has at most ${MAX_BODY_BYTES} bytes`)
    chunks.push(chunk)
  }
  if (bytes === 0) return null
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    throw new AdminError('ADMIN_BAD_REQUEST', 'the body is not JSON')
  }
}

function send(
  response: ServerResponse,
  { status, contentType, body, policy = NO_CONTENT }: AdminAnswer,
  method: string,
): void {
  if (response.destroyed || response.headersSent) return
  response.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': policy,
  })
  response.end(method === 'HEAD' ? undefined : body)
}

function sendError(response: ServerResponse, error: Error, method: string): void {
  // Unread rest of a body that was too large, or one that never ends: not worth keeping the connection.
  response.shouldKeepAlive = false
  if (error instanceof AdminError && error.code === 'ADMIN_UNAUTHORIZED')
    response.setHeader('WWW-Authenticate', 'Bearer realm="sluice"')
  const shown =
    error instanceof AdminError
      ? { code: error.code, message: error.message }
      : { code: 'ADMIN_INTERNAL', message: 'that failed; the log says why' }
  send(
    response,
    {
      status: error instanceof AdminError ? error.status : 500,
      contentType: 'application/json; charset=utf-8',
      body: `${JSON.stringify({ error: shown })}\n`,
    },
    method,
  )
}
