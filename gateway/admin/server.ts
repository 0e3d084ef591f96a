/**
 * The admin server: node:http around guard.ts and routes.ts. Owns the bounds of what a request may
 * be (I6) and the form of errors. Whatever a caller sends or does, it gets an answer or loses its
 * connection; nothing reaches the process.
 */
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, isIPv6 } from 'node:net'
import { pipeline, Readable } from 'node:stream'
import { AdminError } from './actions.ts'
import type { AdminConfig } from './config.ts'
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
  #local: Server | null = null
  readonly #options: AdminServerOptions
  #url = ''

  private constructor(server: Server, options: AdminServerOptions) {
    this.#server = server
    this.#options = options
  }

  /** @throws AdminError ADMIN_LISTEN: the address is taken or not ours. */
  static async listen(options: AdminServerOptions): Promise<AdminServer> {
    const server = boundedServer()
    const admin = new AdminServer(server, options)
    server.on('request', (request, response) => void admin.#serve(request, response, false))
    const { host, port } = options.config
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) =>
        reject(listenError(options.config, error)),
      )
      server.listen(port, host, resolve)
    })
    server.removeAllListeners('error')
    server.on('error', () => {})
    const bound = server.address() as AddressInfo
    admin.#url = `http://${isIPv6(bound.address) ? `[${bound.address}]` : bound.address}:${bound.port}`
    return admin
  }

  /**
   * Serves on the socket, too; what is there already is of an earlier process, since the data
   * folder has one owner.
   * @throws the error of the operating system: a file system without sockets, a path that is too long (108 bytes)
   */
  async listenLocally(path: string): Promise<void> {
    const server = boundedServer()
    server.on('request', (request, response) => void this.#serve(request, response, true))
    await rm(path, { force: true })
    // Node makes the socket in the call: nobody else may open it at any moment.
    const mask = process.umask(0o177)
    try {
      server.listen({ path })
    } finally {
      process.umask(mask)
    }
    await once(server, 'listening')
    server.on('error', () => {})
    this.#local = server
  }

  /** `http://127.0.0.1:9464`, with the port that was really bound. */
  get url(): string {
    return this.#url
  }

  /** Lets requests in progress end, for a moment. */
  async stop(): Promise<void> {
    await Promise.all([
      stopServer(this.#server),
      this.#local === null ? null : stopServer(this.#local),
    ])
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    isLocal: boolean,
  ): Promise<void> {
    request.on('error', () => {})
    response.on('error', () => {})
    const method = request.method ?? ''
    const [path = '', search = ''] = splitUrl(request.url ?? '')
    const remote = isLocal ? 'the data folder' : (request.socket.remoteAddress ?? '')
    try {
      guard({ method, path, headers: request.headers }, isLocal ? LOCAL : await this.#policy(path))
      const body = method === 'POST' ? await readJson(request) : null
      const answer = await this.#options.answer({
        method,
        path,
        query: new URLSearchParams(search),
        body,
      })
      this.#options.onRequest({ method, path, remote, outcome: 'ok', error: null })
      send(response, answer, method)
    } catch (caught) {
      const error = caught instanceof Error ? caught : new Error(String(caught))
      const known = error instanceof AdminError && error.status < 500
      this.#options.onRequest({
        method,
        path,
        remote,
        outcome: known ? 'refused' : 'failed',
        error,
      })
      sendError(response, error, method)
    }
  }

  /**
   * The token is not read for paths that need none: a broken secret file must not take the probes
   * down.
   */
  async #policy(path: string): Promise<{ host: string; token: string | null }> {
    const { host, token } = this.#options.config
    return { host, token: path.startsWith('/api/') ? await readToken(token) : null }
  }
}

/** The rights of the socket's file are the guard; a browser cannot reach it. */
const LOCAL = { host: 'localhost', token: null } as const

function boundedServer(): Server {
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: HEADERS_TIMEOUT_MS,
    connectionsCheckingInterval: 1_000,
  })
  server.maxConnections = MAX_CONNECTIONS
  server.setTimeout(IDLE_TIMEOUT_MS)
  return server
}

async function stopServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  const hard = setTimeout(() => server.closeAllConnections(), STOP_GRACE_MS)
  await closed
  clearTimeout(hard)
}

const LISTEN_FIXES: Readonly<Record<string, string>> = {
  EADDRINUSE:
    'another program listens there: stop it (a second gateway?) or choose another admin.port; 0 takes a free one',
  EADDRNOTAVAIL:
    'this machine does not have that address: set admin.host to one that it has, 127.0.0.1 for instance',
  EACCES: 'the operating system does not permit it: choose an admin.port from 1024 on',
  ENOTFOUND: 'that host has no address: set admin.host to an IP address',
}

function listenError({ host, port }: AdminConfig, error: NodeJS.ErrnoException): AdminError {
  const fix = LISTEN_FIXES[error.code ?? ''] ?? 'see the error of the operating system'
  return new AdminError(
    'ADMIN_LISTEN',
    `the admin server cannot listen on ${host}:${port} (${error.code ?? error.message}): ${fix}`,
  )
}

/** Listens and stops at once: what a start would meet, or null. */
export async function adminAddressFault(config: AdminConfig): Promise<AdminError | null> {
  if (config.port === 0) return null
  const server = createServer()
  try {
    return await new Promise<AdminError | null>((resolve) => {
      server.once('error', (error) => resolve(listenError(config, error)))
      server.listen(config.port, config.host, () => resolve(null))
    })
  } finally {
    server.close()
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
    ...(typeof body === 'string' ? { 'Content-Length': Buffer.byteLength(body) } : {}),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': policy,
  })
  if (method === 'HEAD' || typeof body === 'string')
    response.end(method === 'HEAD' ? undefined : body)
  // One that fails half way loses its connection: whoever reads it knows that it is not whole.
  else pipeline(Readable.from(body), response, () => undefined)
}

function sendError(response: ServerResponse, error: Error, method: string): void {
  // Unread rest of a body that was too large, or one that never ends: not worth keeping the
  // connection.
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
