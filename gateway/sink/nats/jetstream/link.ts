/**
 * The connection of a sink to its servers: one, opened when it is needed, dropped when it is silent.
 * Nothing here connects again by itself, and nothing is kept for a later connection: a message that
 * a client library sends again on its own would come behind newer ones.
 *
 * Secrets and certificates are read anew for each connection. Not here: what is sent, what answers
 * mean (reply.ts).
 */
import { readFile } from 'node:fs/promises'
import type * as Nats from '@nats-io/transport-node'
import type {
  Authenticator,
  ConnectionOptions,
  MsgHdrs,
  NatsConnection,
} from '@nats-io/transport-node'
import { errorCode, errorMessage } from '../../../shared/errors.ts'
import { readSecret, type Secret } from '../../../shared/secret-file.ts'
import { hideSecrets } from '../../../shared/text/hide-secrets.ts'
import { OptionalPackage } from '../../optional-package.ts'
import { type NatsSinkConfig, natsFiles, wantsTls } from '../config.ts'
import type { NatsMessage } from '../encode.ts'
import { closingOnFailure } from './attempt-sockets.ts'
import { type Failure, held, unanswered } from './reply.ts'

type Library = typeof Nats

export const natsClient = new OptionalPackage<Library>({
  name: '@nats-io/transport-node',
  version: '3.3.1',
})

const UNSENT = { unsent: true } as const

/** Why nothing can be sent now. */
export class LinkFault extends Error {
  override readonly name = 'LinkFault'
  readonly failure: Failure

  constructor(failure: Failure) {
    super(failure.detail)
    this.failure = failure
  }
}

/** A connection that is open, or was. */
export interface OpenLink {
  readonly connection: NatsConnection
  readonly library: Library
  /** Resolves, with the reason, when it is not open any more. */
  readonly ended: Promise<string>
  readonly isOpen: boolean
  /** Of headers and body of one message, bytes. */
  readonly maxPayload: number
  /** `2.9.10` */
  readonly version: string
  headersOf(message: NatsMessage, more?: NatsMessage['headers']): MsgHdrs
  /** Tells of messages that the server did not take for lack of a permission. */
  onDenied(listener: (detail: string) => void): () => void
}

export class NatsLink {
  readonly #config: NatsSinkConfig
  readonly #name: string
  #opening: Promise<OpenLink> | null = null
  #open: OpenLink | null = null
  #detail: string | null = null
  #closed = false
  /** What the servers were shown at the last login, and no message may show. */
  #told: readonly string[] = []

  constructor(name: string, config: NatsSinkConfig) {
    this.#name = name
    this.#config = config
  }

  get isConnected(): boolean {
    return this.#open !== null
  }

  /** Why there is no connection; null: there is, or none was tried yet. */
  get detail(): string | null {
    return this.#open === null ? this.#detail : null
  }

  /** Servers may quote the login, at any time. */
  get secrets(): readonly string[] {
    return this.#told
  }

  /** @throws LinkFault */
  async open(): Promise<OpenLink> {
    if (this.#closed) throw new LinkFault(unanswered('the sink is closed', UNSENT))
    if (this.#open !== null) return this.#open
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = null
    })
    return await this.#opening
  }

  /** Gives a connection up; the next batch opens another one. */
  drop(link: OpenLink, why: string): void {
    if (this.#open === link) {
      this.#open = null
      this.#detail = this.#hidden(why)
    }
    void link.connection.close().catch(() => undefined)
  }

  close(): void {
    this.#closed = true
    if (this.#open !== null) this.drop(this.#open, 'closed')
  }

  #hidden(words: string): string {
    return hideSecrets(words, this.#told)
  }

  async #connect(): Promise<OpenLink> {
    try {
      const { fault } = natsClient
      if (fault !== null) throw new LinkFault(held(null, `not sent: ${fault}`, UNSENT))
      const library = await natsClient.load()
      const options = await this.#options(library)
      const connection = await closingOnFailure(async (signal) => {
        const tls = options.tls === null ? null : { ...options.tls, signal }
        return await library.connect({ ...options, tls })
      })
      const link = openLink(connection, library)
      if (this.#closed) {
        void link.connection.close().catch(() => undefined)
        throw new LinkFault(unanswered('the sink is closed', UNSENT))
      }
      this.#open = link
      void link.ended.then((why) => {
        if (this.#open !== link) return
        this.#open = null
        this.#detail = this.#hidden(why)
      })
      return link
    } catch (error) {
      const fault =
        error instanceof LinkFault ? error : new LinkFault(connectFailure(error, this.#told))
      this.#detail = fault.message
      throw fault
    }
  }

  async #options(library: Library): Promise<ConnectionOptions> {
    const { servers, connectTimeout, tlsFirst } = this.#config
    const authenticator = await this.#authenticator(library)
    return {
      servers: servers.map((server) => server.replace(/^[a-z]+:\/\//, '')),
      name: `sluice ${this.#name}`,
      reconnect: false,
      timeout: connectTimeout,
      pingInterval: 20_000,
      ...(authenticator === null ? {} : { authenticator }),
      tls: wantsTls(this.#config)
        ? { handshakeFirst: tlsFirst, ...(await this.#certificates()) }
        : null,
    }
  }

  async #authenticator(library: Library): Promise<Authenticator | null> {
    const { user, password, token, nkey, credentials } = this.#config
    if (user !== null)
      return library.usernamePasswordAuthenticator(
        user,
        password === null ? '' : await this.#secret(password),
      )
    if (token !== null) return library.tokenAuthenticator(await this.#secret(token))
    if (nkey !== null) {
      const seed = (await this.#secret(nkey)).trim()
      return checkedLogin('nkey', library.nkeyAuthenticator(Buffer.from(seed)))
    }
    if (credentials === null) return null
    const creds = await this.#file('credentials', credentials)
    // Its token is shown; its seed signs, and is not.
    this.#told = tokensIn(Buffer.from(creds).toString())
    return checkedLogin('credentials', library.credsAuthenticator(creds))
  }

  /** What the servers are shown, and may quote. */
  async #secret(secret: Secret): Promise<string> {
    const text = await this.#read(secret)
    this.#told = [text]
    return text
  }

  async #read(secret: Secret): Promise<string> {
    if ('value' in secret) return secret.value
    const key = natsFiles(this.#config).find(([, path]) => path === secret.file)?.[0] ?? 'secret'
    await this.#file(key, secret.file)
    return await readSecret(secret)
  }

  async #certificates(): Promise<Record<string, string>> {
    const texts: Record<string, string> = {}
    for (const [key, path] of natsFiles(this.#config)) {
      const part = /^tls\.(.+)$/.exec(key)?.[1]
      if (part !== undefined) texts[part] = Buffer.from(await this.#file(key, path)).toString()
    }
    return texts
  }

  async #file(key: string, path: string): Promise<Uint8Array> {
    try {
      return await readFile(path)
    } catch (error) {
      const why = errorCode(error) ?? errorMessage(error)
      throw new LinkFault(unusableFile(key, `${path}, cannot be read: ${why}`))
    }
  }
}

function openLink(connection: NatsConnection, library: Library): OpenLink {
  const { info } = connection
  const denied = new Set<(detail: string) => void>()
  let lastError: string | null = null
  let isOpen = true
  const listen = async (): Promise<void> => {
    for await (const status of connection.status()) {
      if (status.type !== 'error') continue
      lastError = errorMessage(status.error)
      if (!(status.error instanceof library.PermissionViolationError)) continue
      for (const listener of denied) listener(lastError)
    }
  }
  void listen().catch(() => undefined)
  const ended = connection.closed().then((error) => {
    isOpen = false
    const why = error instanceof Error ? errorMessage(error) : lastError
    return `the connection to ${connection.getServer()} ended${why === null ? '' : `: ${why}`}`
  })
  return {
    connection,
    library,
    ended,
    get isOpen() {
      return isOpen
    },
    maxPayload: info?.max_payload ?? 0,
    version: info?.version ?? 'unknown',
    headersOf: (message, more = []) => {
      const headers = library.headers()
      for (const [name, value] of message.headers) headers.set(name, value)
      for (const [name, value] of more) headers.set(name, value)
      return headers
    },
    onDenied: (listener) => {
      denied.add(listener)
      return () => denied.delete(listener)
    },
  }
}

/** The lines of a .creds file between its marks. */
function tokensIn(creds: string): string[] {
  return creds.split(/\r?\n/).filter((line) => /^[\w.-]{32,}$/.test(line))
}

/** A seed or a file that is none shows when it signs, in the middle of a handshake. */
function checkedLogin(key: string, authenticator: Authenticator): Authenticator {
  try {
    authenticator('nonce')
  } catch (error) {
    throw new LinkFault(unusableFile(key, `cannot be used: ${errorMessage(error)}`))
  }
  return authenticator
}

function unusableFile(key: string, detail: string): Failure {
  return held(null, `not sent: ${key}: ${detail}`, UNSENT)
}

/** Wrong credentials are held; whatever else passes by itself. */
function connectFailure(error: unknown, secrets: readonly string[]): Failure {
  const name = error instanceof Error ? error.name : ''
  const words = hideSecrets(errorMessage(error), secrets)
  if (/^(Authorization|UserAuthenticationExpired)Error$/.test(name))
    return held(
      null,
      `the server refuses the login: ${words}; check user, password, token, nkey or credentials`,
      UNSENT,
    )
  if (/does not support 'tls'|not available on this server/.test(words))
    return held(null, `the server offers no TLS, nothing was sent: ${words}`, UNSENT)
  return unanswered(`no connection: ${words}; is the server running, is it one of servers?`, UNSENT)
}
