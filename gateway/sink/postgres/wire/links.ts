/**
 * The connections of a sink: one for each stream with a batch in flight, kept between batches, each
 * looked over once when it opens (facts.ts). Of several hosts the first that takes writes is used.
 */
import { Socket } from 'node:net'
import { readSecret } from '../../../shared/secret-file.ts'
import { hideSecrets } from '../../../shared/text/hide-secrets.ts'
import type { SinkTls } from '../../http/tls.ts'
import type { PostgresSinkConfig } from '../config.ts'
import { addressOf, type DatabaseHost, type SslMode } from './address.ts'
import { CLIENT } from './client.ts'
import { type DatabaseFacts, readFacts } from './facts.ts'
import { faultOf, GivenUpError, ReadOnlyError, UnfitError } from './faults.ts'
import { Link, type StatementPatience } from './link.ts'

/** Of a connection without traffic, until the system asks whether the other side is there. */
const KEEP_ALIVE_MS = 10_000

export interface DatabaseLink {
  readonly link: Link
  readonly facts: DatabaseFacts
}

export class Links {
  readonly #config: PostgresSinkConfig
  readonly #tls: SinkTls
  readonly #idle: DatabaseLink[] = []
  readonly #open = new Set<Link>()
  /** Why the last connection did not come about; null: it did. */
  failure: string | null = null

  /** The password of the last login, which no message may show. */
  #told = ''

  constructor(config: PostgresSinkConfig, tls: SinkTls) {
    this.#config = config
    this.#tls = tls
  }

  /** A server, or what stands in front of it, may quote them, at any time. */
  get secrets(): readonly string[] {
    return [this.#told]
  }

  get areThere(): boolean {
    return [...this.#open].some(({ isOpen }) => isOpen)
  }

  /** One that nobody else uses. @throws why there is none */
  async take(signal: AbortSignal): Promise<DatabaseLink> {
    for (;;) {
      const idle = this.#idle.pop()
      if (idle === undefined) break
      if (idle.link.isOpen) return idle
      this.#open.delete(idle.link)
    }
    try {
      const open = await this.#connect(signal)
      this.#open.add(open.link)
      this.failure = null
      return open
    } catch (error) {
      this.failure = faultOf(error).detail
      throw error
    }
  }

  /** It is as it was when it was taken. */
  give(open: DatabaseLink): void {
    if (open.link.isOpen) this.#idle.push(open)
    else this.#open.delete(open.link)
  }

  /** Nobody knows what is going on there. */
  drop({ link }: DatabaseLink): void {
    link.destroy()
    this.#open.delete(link)
  }

  /** New batches get new connections. */
  retire(): void {
    for (const open of this.#idle.splice(0)) this.drop(open)
  }

  close(): void {
    for (const link of this.#open) link.destroy()
    this.#open.clear()
    this.#idle.length = 0
  }

  async #connect(signal: AbortSignal): Promise<DatabaseLink> {
    const { hosts } = addressOf(this.#config)
    let failure: unknown = new Error('there is no host')
    for (const host of hosts) {
      try {
        return await this.#connectTo(host, signal)
      } catch (error) {
        failure = error
        // What the next host may do better.
        if (error instanceof GivenUpError || faultOf(error).kind !== 'retry') break
      }
    }
    throw failure
  }

  async #connectTo(host: DatabaseHost, signal: AbortSignal): Promise<DatabaseLink> {
    if (signal.aborted) throw new GivenUpError('given up before there was a connection', false)
    const { fault } = CLIENT
    if (fault !== null) throw new UnfitError(fault)
    const { connectTimeout: timeoutMs } = this.#config
    const { Client } = await CLIENT.load()
    const socket = new Socket()
    const client = new Client({ ...this.#settings(host), stream: () => socket })
    // What comes once nobody waits.
    client.on('error', () => undefined)
    const onAbort = (): void => {
      socket.destroy(new GivenUpError('given up before there was a connection', false))
    }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await client.connect()
      const link = new Link(client, socket, host)
      const facts = await this.#look(link, { timeoutMs, signal })
      return { link, facts }
    } catch (error) {
      socket.destroy()
      // A pooler or a proxy in front of the database may quote the login.
      if (error instanceof Error) error.message = hideSecrets(error.message, this.secrets)
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async #look(link: Link, patience: StatementPatience): Promise<DatabaseFacts> {
    const facts = await readFacts(link, this.#config, patience)
    if (facts.isReadOnly)
      throw new ReadOnlyError('the database is read-only: a standby, or one that becomes one')
    return facts
  }

  #settings({ host, port }: DatabaseHost) {
    const config = this.#config
    const { user, database, sslMode } = addressOf(config)
    return {
      host,
      port,
      user,
      database,
      ssl: this.#ssl(sslMode),
      password: async () => {
        this.#told = await this.#password()
        return this.#told
      },
      application_name: config.applicationName,
      ...(config.statementTimeout === null ? {} : { statement_timeout: config.statementTimeout }),
      connectionTimeoutMillis: config.connectTimeout,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
      // Numbers beyond what a double holds: all as text.
      types: { getTypeParser: () => (text: string) => text },
    }
  }

  #ssl(mode: SslMode) {
    if (mode === 'disable') return false
    const tls = this.#tls.resolve()
    if ('why' in tls) throw new UnfitError(`not sent: ${tls.why}`)
    return {
      secureContext: tls.context,
      rejectUnauthorized: mode !== 'require',
      ...(mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
    }
  }

  /** Asked for only if the database wants one. */
  async #password(): Promise<string> {
    const { password } = this.#config
    if (password === null)
      throw new UnfitError('the database wants a password, and there is none; set password')
    try {
      return await readSecret(password)
    } catch (error) {
      throw new UnfitError(`the file of password: ${faultOf(error).detail}`)
    }
  }
}
