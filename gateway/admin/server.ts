/**
 * The admin stage: node:http around guard.ts and router.ts. Serves what observe shows and what the
 * {@link RunningOperator} can do. Owns the bounds of what a request may be (I6) and the form of
 * errors. Whatever a caller sends or does, it gets an answer or loses its connection; nothing
 * reaches the process.
 */
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, isIPv6 } from 'node:net'
import { pipeline, Readable } from 'node:stream'
import type { RunningOperator } from '../ports/operator.ts'
import type { Views } from '../ports/status.ts'
import { errorMessage } from '../shared/errors.ts'
import type { AdminConfig } from './config.ts'
import { AdminError, type AdminRefusal, refusalOf } from './errors.ts'
import type { EmitAdminEvent } from './events.ts'
import { guard } from './guard.ts'
import { createRouter } from './router.ts'
import type { AdminAnswer, AdminRequest } from './routes/route.ts'
import { type AdminStats, createAdminStats } from './stats.ts'
import { readToken } from './token.ts'

/** A thousand ids of dead letters and then some. */
export const MAX_BODY_BYTES = 1024 * 1024
const MAX_HEADER_BYTES = 8 * 1024
/** A scraper, some probes, an operator or two. More are closed at accept. */
export const MAX_CONNECTIONS = 64

const HEADERS_TIMEOUT_MS = 5_000
const REQUEST_TIMEOUT_MS = 15_000
const IDLE_TIMEOUT_MS = 30_000
/** How long requests in progress may take to end at a stop. */
const STOP_GRACE_MS = 1_000

const NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"

interface AdminServerOptions {
  readonly config: AdminConfig
  /** Where it also listens for the commands of this machine's own user; null: nowhere. */
  readonly socketPath: string | null
  readonly views: Views
  readonly operator: RunningOperator
  readonly emit: EmitAdminEvent
}

export class AdminServer {
  readonly stats: AdminStats = createAdminStats()
  readonly #server: Server
  #local: Server | null = null
  readonly #config: AdminConfig
  readonly #answer: (request: AdminRequest) => Promise<AdminAnswer>
  readonly #emit: EmitAdminEvent
  #url = ''

  private constructor(server: Server, options: AdminServerOptions) {
    this.#server = server
    this.#config = options.config
    this.#answer = createRouter(options.views, options.operator)
    this.#emit = options.emit
  }

  /** @throws AdminError ADMIN_LISTEN: the address is taken or not ours. */
  static async start(options: AdminServerOptions): Promise<AdminServer> {
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
    const { socketPath } = options
    if (socketPath !== null)
      await admin.#listenLocally(socketPath).catch((error: unknown) => {
        options.emit({ type: 'admin.no-socket', message: errorMessage(error), url: admin.url })
      })
    return admin
  }

  /**
   * Serves on the socket, too. A socket that exists already was left by an earlier process: the
   * data folder has one owner.
   * @throws the error of the operating system: a file system without sockets, a path of more than
   * 108 bytes
   */
  async #listenLocally(path: string): Promise<void> {
    const server = boundedServer()
    server.on('request', (request, response) => void this.#serve(request, response, true))
    await rm(path, { force: true })
    // Node creates the socket within the call, so that no other user can open it at any moment.
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
  async stop(leftMs = STOP_GRACE_MS): Promise<void> {
    const graceMs = Math.min(STOP_GRACE_MS, leftMs)
    await Promise.all([
      stopServer(this.#server, graceMs),
      this.#local === null ? null : stopServer(this.#local, graceMs),
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
      const query = new URLSearchParams(search)
      const answer = await this.#answer({ method, path, query, body })
      this.stats.ok++
      if (method === 'POST') this.#emit({ type: 'admin.changed', path, remote })
      send(response, answer, method)
    } catch (caught) {
      const error = caught instanceof Error ? caught : new Error(String(caught))
      const refusal = refusalOf(error)
      const outcome = refusal.status < 500 ? 'refused' : 'failed'
      this.stats[outcome]++
      const { code } = refusal
      const { message } = error
      this.#emit({ type: `admin.${outcome}`, code, message, method, path, remote })
      sendRefusal(response, refusal, method)
    }
  }

  /**
   * The token is not read for paths that need none: a broken secret file must not take the probes
   * down.
   */
  async #policy(path: string): Promise<{ host: string; token: string | null }> {
    const { host, token } = this.#config
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

async function stopServer(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  const hard = setTimeout(() => server.closeAllConnections(), graceMs)
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
  // One that fails half way loses its connection: the reader knows that it is not whole.
  else pipeline(Readable.from(body), response, () => undefined)
}

function sendRefusal(
  response: ServerResponse,
  { status, code, message }: AdminRefusal,
  method: string,
): void {
  // The connection may still carry the rest of a body that was too large or never ends.
  response.shouldKeepAlive = false
  if (code === 'ADMIN_UNAUTHORIZED') response.setHeader('WWW-Authenticate', 'Bearer realm="sluice"')
  const body = `${JSON.stringify({ error: { code, message } })}\n`
  send(response, { status, contentType: 'application/json; charset=utf-8', body }, method)
}
