/**
 * The admin stage: node:http around guard, sign-in and routes. Serves what observe shows and what the
 * {@link RunningOperator} can do. Owns the bounds of what a request may be (I6) and the form of
 * errors. Whatever a caller sends or does, it gets an answer or loses its connection; nothing
 * reaches the process.
 */
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, isIPv6 } from 'node:net'
import type { RunningOperator } from '../ports/operator.ts'
import type { Views } from '../ports/status.ts'
import type { Trials } from '../ports/trials.ts'
import { errorMessage } from '../shared/errors.ts'
import type { AdminConfig } from './config.ts'
import { AdminError, refusalOf } from './errors.ts'
import type { EmitAdminEvent } from './events.ts'
import { guard } from './guard.ts'
import { EventStreams } from './live/event-streams.ts'
import { send, sendRefusal } from './reply.ts'
import { RouteTable } from './route-table.ts'
import { allRoutes } from './routes/all.ts'
import type { Route } from './routes/route.ts'
import { type Caller, mayDo } from './sign-in/caller.ts'
import { SignIn } from './sign-in/sign-in.ts'
import { type AdminStats, createAdminStats } from './stats.ts'

/** A thousand ids of dead letters and then some. */
export const MAX_BODY_BYTES = 1024 * 1024
const MAX_HEADER_BYTES = 8 * 1024
/** A scraper, some probes, consoles with an event stream each. More are closed at accept. */
export const MAX_CONNECTIONS = 64

const HEADERS_TIMEOUT_MS = 5_000
const REQUEST_TIMEOUT_MS = 15_000
const IDLE_TIMEOUT_MS = 30_000
/** How long requests in progress may take to end at a stop. */
const STOP_GRACE_MS = 1_000

interface AdminServerOptions {
  readonly config: AdminConfig
  /** Where it also listens for the commands of this machine's own user; null: nowhere. */
  readonly socketPath: string | null
  readonly views: Views
  readonly operator: RunningOperator
  readonly trials: Trials
  readonly emit: EmitAdminEvent
}

export class AdminServer {
  readonly stats: AdminStats = createAdminStats()
  readonly #server: Server
  #local: Server | null = null
  #config: AdminConfig
  readonly #signIn: SignIn
  readonly #streams: EventStreams
  readonly #routes: RouteTable
  readonly #emit: EmitAdminEvent
  #url = ''

  private constructor(server: Server, signIn: SignIn, options: AdminServerOptions) {
    const { config, views, operator, trials, emit } = options
    this.#server = server
    this.#config = config
    this.#signIn = signIn
    this.#emit = emit
    this.#streams = new EventStreams({
      snapshot: async () => {
        const status = await operator.status()
        const { count, silent } = status.devices
        return { atMs: Date.now(), status, devices: { count, silent } }
      },
      follow: (listener) => views.followWarnings(listener),
      onError: (error) => {
        const { code } = refusalOf(error)
        const { message } = error
        const path = '/api/events'
        emit({ type: 'admin.failed', code, message, method: 'GET', path, remote: 'any' })
      },
    })
    this.#routes = new RouteTable(
      allRoutes({ views, operator, trials, signIn, streams: this.#streams }),
    )
  }

  /** @throws AdminError ADMIN_LISTEN: the address is taken or not ours. */
  static async start(options: AdminServerOptions): Promise<AdminServer> {
    const server = boundedServer()
    const signIn = await SignIn.open(options.config, options.emit)
    const admin = new AdminServer(server, signIn, options)
    server.on('request', (request, response) => void admin.#serve(request, response, false))
    const { host, port } = options.config
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        signIn.close()
        reject(listenError(options.config, error))
      })
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

  /** Token and users are these from now on; the address stays. A login lasts while its user is there. */
  async reconfigure(config: AdminConfig): Promise<void> {
    this.#config = config
    await this.#signIn.reconfigure(config)
  }

  /** Looks at the users file now. */
  reread(): Promise<void> {
    return this.#signIn.reread()
  }

  /** Lets requests in progress end, for a moment. */
  async stop(leftMs = STOP_GRACE_MS): Promise<void> {
    this.#streams.close()
    this.#signIn.close()
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
      const found = this.#routes.find(method, path)
      const isKnown = !(found instanceof AdminError)
      const isPublic = isKnown && found.route.access === 'anyone'
      const head = { headers: request.headers, isPublic, takesBody: isKnown && method === 'POST' }
      guard(head, this.#config)
      const identify = (): Promise<Caller> => this.#signIn.identify(request.headers, isLocal)
      const caller = isPublic ? null : await identify()
      if (found instanceof AdminError) throw found
      checkRole(caller, found.route)
      if (found.route.isSlow) request.socket.setTimeout(0)
      const answer = await found.route.handle({
        params: found.params,
        query: new URLSearchParams(search),
        body: method === 'POST' ? await readJson(request) : null,
        headers: request.headers,
        remote,
        caller,
        mayStay: () => identify().then(isTrue, isFalse),
      })
      this.stats.ok++
      this.#tell(found.route, path, remote, caller)
      request.socket.setTimeout(IDLE_TIMEOUT_MS)
      send(response, answer, method)
    } catch (caught) {
      const error = caught instanceof Error ? caught : new Error(String(caught))
      const refusal = refusalOf(error)
      const outcome = refusal.status < 500 ? 'refused' : 'failed'
      this.stats[outcome]++
      const { code } = refusal
      const { message } = error
      // A console asks who it is before anybody logged in.
      if (code !== 'ADMIN_LOGIN_REQUIRED' || path !== '/api/session')
        this.#emit({ type: `admin.${outcome}`, code, message, method, path, remote })
      sendRefusal(response, refusal, method)
    }
  }

  #tell({ method, access }: Route, path: string, remote: string, caller: Caller | null): void {
    if (method !== 'GET' && access === 'operator')
      this.#emit({ type: 'admin.changed', path, remote, user: caller?.user ?? null })
  }
}

const isTrue = (): boolean => true
const isFalse = (): boolean => false

function checkRole(caller: Caller | null, { access, method, path }: Route): void {
  if (caller === null || access === 'anyone' || mayDo(caller.role, access)) return
  throw new AdminError(
    'ADMIN_ROLE',
    `${method} ${path} is for an operator, and ${caller.user ?? 'the caller'} is a ${caller.role}; "sluice passwd --role operator" changes that`,
  )
}

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
