/**
 * Who is asking: by the session of a login, by the token, or by having reached this machine itself
 * where neither is configured.
 *
 * - Another address than loopback without a token and users serves what is for anyone and nothing
 *   else; loopback is then open to an operator, like the socket in the data folder always.
 * - The token makes an operator, in each request of a machine, or once to log a browser in.
 * - The cookie of a login is of this origin alone: no script reads it (HttpOnly), no other site's
 *   request carries it (SameSite=Strict). Behind TLS, which a proxy tells, it is Secure and bound
 *   to the host; that header is believed from anybody, since it changes nobody's cookie but theirs.
 *   Below a prefix of a proxy, which the page tells, it is of that path alone: several gateways may
 *   share a host name, and each browser sends each of them its own.
 *   Where there is no TLS the cookie goes to other ports of the same host, too: browsers have it so.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { FailedLogins } from '../../shared/passwords/failed-logins.ts'
import type { AdminConfig } from '../config.ts'
import { AdminError } from '../errors.ts'
import type { EmitAdminEvent } from '../events.ts'
import { type Caller, trustsLoopback } from './caller.ts'
import { ABSOLUTE_END_MS, Sessions } from './sessions.ts'
import { readToken } from './token.ts'
import { Users } from './users.ts'

/** RFC 6265bis, section 4.1.3.2: a browser takes the first only with Secure and of this host. */
const SECURE_COOKIE = '__Host-sluice'
/** With Secure, below a prefix: the other wants the path /. */
const PREFIXED_COOKIE = '__Secure-sluice'
const PLAIN_COOKIE = 'sluice'
const COOKIES: readonly string[] = [SECURE_COOKIE, PREFIXED_COOKIE, PLAIN_COOKIE]
/** A browser sends one for each prefix above the page; more are somebody's play. */
const MAX_COOKIES = 8

type Credentials = { readonly user: string; readonly password: string } | { readonly token: string }

type Keys = Pick<AdminConfig, 'host' | 'token' | 'usersFile'>

interface Asker {
  readonly headers: IncomingHttpHeaders
  readonly remote: string
}

interface Login {
  readonly caller: Caller
  /** For `Set-Cookie`. */
  readonly cookie: string
}

const SOCKET: Caller = { user: null, role: 'operator', via: 'socket' }
const LOOPBACK: Caller = { user: null, role: 'operator', via: 'loopback' }
const TOKEN: Caller = { user: null, role: 'operator', via: 'token' }

export class SignIn {
  #config: Keys
  readonly #emit: EmitAdminEvent
  readonly #now: () => number
  readonly #sessions: Sessions
  readonly #wrongTokens: FailedLogins
  #users: Users | null = null

  private constructor(config: Keys, emit: EmitAdminEvent, now: () => number) {
    this.#config = config
    this.#emit = emit
    this.#now = now
    this.#sessions = new Sessions(now)
    this.#wrongTokens = new FailedLogins(now)
  }

  /** `now`: monotonic, ms. */
  static async open(
    config: Keys,
    emit: EmitAdminEvent,
    now: () => number = () => performance.now(),
  ): Promise<SignIn> {
    const signIn = new SignIn(config, emit, now)
    if (config.usersFile !== null) signIn.#users = await Users.open(config.usersFile, emit, now)
    return signIn
  }

  /**
   * Who asks. `isLocal`: through the socket, whose file's rights are the guard.
   * @throws AdminError for those who have to say who they are
   */
  async identify(headers: IncomingHttpHeaders, isLocal: boolean): Promise<Caller> {
    if (isLocal) return SOCKET
    const { host, token } = this.#config
    if (trustsLoopback(this.#config)) {
      checkDirect(headers)
      return LOOPBACK
    }
    if (token === null && this.#users === null) {
      throw new AdminError(
        'ADMIN_TOKEN_REQUIRED',
        `the admin server listens on ${host} without a token and users, and serves only /, /metrics, /livez and /readyz; set admin.usersFile or admin.token, or listen on 127.0.0.1`,
      )
    }
    const { authorization } = headers
    if (authorization !== undefined && token !== null) {
      await this.#checkToken(/^Bearer +(\S+) *$/i.exec(authorization)?.[1] ?? '')
      return TOKEN
    }
    const caller = await this.#bySession(headers)
    if (caller !== null) return caller
    throw new AdminError(
      'ADMIN_LOGIN_REQUIRED',
      this.#users === null
        ? 'send the token: Authorization: Bearer <admin.token>'
        : 'log in: POST /api/login with user and password',
      { login: this.#ways },
    )
  }

  /**
   * `path`: of the page, as a browser sees it.
   * @throws AdminError ADMIN_UNAUTHORIZED, ADMIN_TRY_LATER, or for what is not configured
   */
  async logIn(credentials: Credentials, { headers, remote }: Asker, path = '/'): Promise<Login> {
    const caller =
      'token' in credentials
        ? await this.#byToken(credentials.token, remote)
        : await this.#byPassword(credentials, remote)
    const isSecure = headers['x-forwarded-proto'] === 'https'
    const { user, role } = caller
    this.#emit({ type: 'admin.login', user, role, remote })
    const id = this.#sessions.begin(caller, (await this.#proofOf(caller)) ?? '')
    return { caller, cookie: cookieOf(id, isSecure, path) }
  }

  /** Returns cookies that take back those of this path. */
  logOut(headers: IncomingHttpHeaders, path: string): readonly string[] {
    for (const id of sessionsOf(headers)) this.#sessions.end(id)
    return [cookieOf('', true, path), cookieOf('', false, path)]
  }

  /** Token and users are these from now on. */
  async reconfigure(config: Keys): Promise<void> {
    const { usersFile } = config
    const former = this.#users
    if (usersFile !== this.#config.usersFile) {
      const users = usersFile === null ? null : await Users.open(usersFile, this.#emit, this.#now)
      former?.close()
      this.#users = users
    }
    this.#config = config
  }

  /** Looks at the users file now. */
  async reread(): Promise<void> {
    await this.#users?.reread()
  }

  close(): void {
    this.#users?.close()
  }

  get #ways(): readonly string[] {
    return [
      ...(this.#users === null ? [] : ['password']),
      ...(this.#config.token === null ? [] : ['token']),
    ]
  }

  async #byPassword(
    { user, password }: { readonly user: string; readonly password: string },
    address: string,
  ): Promise<Caller> {
    if (this.#users === null) throw this.#noWay('without users', 'admin.usersFile')
    const checked = await this.#users.check({ address, user, password })
    if (checked.verdict === 'wrong')
      throw new AdminError('ADMIN_UNAUTHORIZED', 'wrong user name or password')
    if (checked.verdict !== 'right') throw tooMany()
    return { user, role: checked.role, via: 'login' }
  }

  async #byToken(given: string, address: string): Promise<Caller> {
    if (this.#config.token === null) throw this.#noWay('without a token', 'admin.token')
    if (!this.#wrongTokens.admits(address, '')) throw tooMany()
    try {
      await this.#checkToken(given)
    } catch (error) {
      this.#wrongTokens.wrong(address, '')
      throw error
    }
    this.#wrongTokens.right(address, '')
    return TOKEN
  }

  #noWay(without: string, key: string): AdminError {
    return new AdminError(
      'ADMIN_BAD_REQUEST',
      `the admin server is ${without}: set ${key}${this.#ways.length === 0 ? '' : `, or log in by ${this.#ways.join(' or ')}`}`,
    )
  }

  async #checkToken(given: string): Promise<void> {
    const token = await readToken(this.#config.token)
    if (token !== null && sameSecret(given, token)) return
    throw new AdminError('ADMIN_UNAUTHORIZED', 'wrong token')
  }

  async #bySession(headers: IncomingHttpHeaders): Promise<Caller | null> {
    for (const id of sessionsOf(headers)) {
      const session = this.#sessions.use(id)
      if (session === null) continue
      if ((await this.#proofOf(session.caller)) === session.proof) return session.caller
      this.#sessions.end(id)
    }
    return null
  }

  /** What lets a caller be who he is; null: nothing any more. */
  async #proofOf({ user }: Caller): Promise<string | null> {
    if (user !== null) return this.#users?.lineOf(user) ?? null
    const token = await readToken(this.#config.token)
    return token === null ? null : digest(token).toString('base64')
  }
}

/** A proxy on this machine lets others reach loopback; most of them say so. */
function checkDirect(headers: IncomingHttpHeaders): void {
  const named = ['forwarded', 'x-forwarded-for', 'x-forwarded-proto', 'x-real-ip', 'via'].find(
    (name) => headers[name] !== undefined,
  )
  if (named === undefined) return
  throw new AdminError(
    'ADMIN_TOKEN_REQUIRED',
    `the request came through a proxy (${named}), behind which everybody would be an operator; set admin.usersFile or admin.token`,
  )
}

/** In time that does not depend on where they differ, nor on their lengths. */
function sameSecret(a: string, b: string): boolean {
  return timingSafeEqual(digest(a), digest(b))
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest()
}

function tooMany(): AdminError {
  return new AdminError(
    'ADMIN_TRY_LATER',
    'too many wrong logins, or too many at once: wait a minute and try again',
  )
}

/** Of this gateway, or of others that share its host name: whose they are is told by looking. */
function sessionsOf({ cookie = '' }: IncomingHttpHeaders): readonly string[] {
  return cookie
    .split(/; */)
    .map((pair) => pair.split('='))
    .filter(([name = '']) => COOKIES.includes(name))
    .map(([, id = '']) => id)
    .slice(0, MAX_COOKIES)
}

/** `id` empty: the cookie goes. `path`: `/`, or the prefix of the page. */
function cookieOf(id: string, isSecure: boolean, path: string): string {
  const secureName = path === '/' ? SECURE_COOKIE : PREFIXED_COOKIE
  const name = isSecure ? secureName : PLAIN_COOKIE
  const seconds = id === '' ? 0 : ABSOLUTE_END_MS / 1_000
  const secure = isSecure ? '; Secure' : ''
  return `${name}=${id}; Path=${path}; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure}`
}
