/**
 * An HTTP/1.1 client for one origin: a few keep-alive connections, each with one request at a time.
 * A connection is kept only behind an answer that was what was wanted: whatever else came, the next
 * try looks its address up again, and prefers another one, so neither a name that moved nor one bad
 * server behind it holds delivery up. Not here: what is sent and what its answer means, repeating
 * (the drain's).
 */
import type { SecureContext } from 'node:tls'
import type { Transfer } from '../../../ports/sink.ts'
import { Addresses, type Lookup } from './addresses.ts'
import { type ClientAnswer, type ClientRequest, HttpConnection } from './connection.ts'
import { type Dialed, dial } from './dial.ts'
import type { ProxyHop } from './tunnel.ts'

/**
 * How long an idle connection is kept without a hint of the sink, ms. Longer saves handshakes of a
 * quiet stream; shorter meets fewer connections that a NAT or the sink has silently forgotten.
 */
const IDLE_MS = 30_000

/**
 * A connection that is older is not used for another request, ms: a sink whose name moved is
 * followed by then.
 */
const MAX_AGE_MS = 600_000

const NOTHING_SENT: Transfer = { bytes: 0, ms: 0, timedOut: false }

interface ClientOptions {
  readonly hostname: string
  readonly port: number
  /** null: no TLS. */
  readonly context: SecureContext | null
  readonly maxConnections: number
  /** For lookup, connection and TLS together, ms. */
  readonly connectTimeoutMs: number
  readonly lookup?: Lookup | undefined
  /** Between here and the origin. @default none */
  readonly proxy?: ProxyHop | null
}

export class HttpClient {
  readonly #options: ClientOptions
  readonly #addresses: Addresses
  readonly #idle: HttpConnection[] = []
  readonly #all = new Set<HttpConnection>()
  /** Connections in the making. */
  readonly #dialing = new Set<AbortController>()
  /** Requests that wait for one of `maxConnections`. */
  readonly #waiting: Array<() => void> = []
  #inUse = 0
  #session: Buffer | null = null
  #isRetired = false

  constructor(options: ClientOptions) {
    this.#options = options
    this.#addresses = new Addresses(options.proxy?.hostname ?? options.hostname, options.lookup)
  }

  /**
   * One request, one answer. Never rejects. @param isWelcome may the connection be used again after
   * this answer?
   */
  async send(
    request: ClientRequest,
    isWelcome: (answer: ClientAnswer) => boolean,
  ): Promise<ClientAnswer> {
    await this.#enter()
    try {
      const connection = await this.#connect(request.signal)
      const answer = await connection.send(request, IDLE_MS)
      if (isWelcome(answer)) {
        this.#addresses.trust(connection.address)
        if (connection.isUsable && !this.#isRetired) {
          this.#idle.push(connection)
          return answer
        }
      } else if (!request.signal.aborted) {
        this.#addresses.suspect(connection.address)
      }
      this.#drop(connection)
      return answer
    } catch (error) {
      return {
        head: null,
        body: Buffer.alloc(0),
        tooLong: false,
        error: error as Error,
        earlyAt: null,
        transfer: NOTHING_SENT,
      }
    } finally {
      this.#leave()
    }
  }

  /** No new requests come; connections end with those in progress. */
  retire(): void {
    this.#isRetired = true
    for (const connection of this.#idle.splice(0)) this.#drop(connection)
  }

  /** Ends everything at once; requests in progress resolve with an error. */
  destroy(): void {
    this.#isRetired = true
    for (const one of this.#dialing) one.abort()
    for (const connection of this.#all) connection.destroy()
  }

  async #enter(): Promise<void> {
    if (this.#inUse < this.#options.maxConnections) {
      this.#inUse += 1
      return
    }
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  /** The place goes to the next that waits. */
  #leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#inUse -= 1
    else next()
  }

  /** @throws DialError, LinkError */
  async #connect(signal: AbortSignal): Promise<HttpConnection> {
    for (let kept = this.#idle.pop(); kept !== undefined; kept = this.#idle.pop()) {
      const isYoung = performance.now() - kept.openedAt < MAX_AGE_MS
      if (isYoung && kept.isUsable && (await kept.isQuiet())) return kept
      this.#drop(kept)
    }
    const dialed = await this.#dial(signal)
    const connection = new HttpConnection(dialed.socket, dialed.address, dialed.connectMs)
    this.#all.add(connection)
    return connection
  }

  async #dial(signal: AbortSignal): Promise<Dialed> {
    const { hostname, port, context, connectTimeoutMs, proxy = null } = this.#options
    const ending = new AbortController()
    const onAbort = (): void => ending.abort()
    signal.addEventListener('abort', onAbort, { once: true })
    this.#dialing.add(ending)
    if (signal.aborted) ending.abort()
    const onSession = (session: Buffer): void => {
      this.#session = session
    }
    try {
      return await dial({
        addresses: this.#addresses,
        hostname,
        port,
        proxy,
        timeoutMs: connectTimeoutMs,
        signal: ending.signal,
        tls: context === null ? null : { context, session: this.#session, onSession, verify: true },
      })
    } finally {
      this.#dialing.delete(ending)
      signal.removeEventListener('abort', onAbort)
    }
  }

  #drop(connection: HttpConnection): void {
    this.#all.delete(connection)
    connection.destroy()
  }
}
