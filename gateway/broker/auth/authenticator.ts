/**
 * Who a client is, and what it may: `authenticate` for CONNECT, the {@link Principal} for every
 * PUBLISH and SUBSCRIBE.
 *
 * - No `auth` on the listener: everything allowed. Which listeners may be so is decided in
 *   `listener-policy.ts`.
 * - `auth` without a password file: the access file says what is allowed, to the name in the
 *   client's verified certificate, or to those without a name. A user name that a client claims
 *   counts for nothing there.
 * - With a password file: name and password against it; `allowAnonymous` opens no listener that has
 *   one.
 *
 * An unknown user costs and answers the same as a wrong password. Credentials that were right are
 * cached until the file changes, and remembered over a restart (`remembered-logins.ts`); everything
 * else waits for one slow hash at a time (`password-checks.ts`). Return codes: MQTT 3.1.1, table
 * 3.1. "Server unavailable" is never among them: libraries take any return code for final, and
 * their devices would not come back.
 */

import { FILE_POLL_INTERVAL_MS } from '../../shared/file-watch.ts'
import {
  type PasswordCheckOptions,
  PasswordChecks,
  type PasswordVerdict,
} from '../../shared/passwords/password-checks.ts'
import type { AuthConfig, ListenerConfig, MqttConfig } from '../config.ts'
import type { EmitBrokerEvent } from '../events.ts'
import { authOf } from '../listeners/listener-policy.ts'
import type { AuthenticationStats } from '../stats.ts'
import { Client, type Principal, Seat } from './principal.ts'
import { Realm } from './realm.ts'
import { RememberedLogins } from './remembered-logins.ts'

interface AuthenticationRequest {
  readonly listener: ListenerConfig
  readonly clientId: string
  readonly username: string | null
  readonly password: Uint8Array | null
  readonly remoteAddress: string
  readonly certificateSubject: string | null
  /** False: the connection is gone, and its password need not be computed any more. */
  readonly isWanted?: () => boolean
}

/**
 * 4: bad user name or password; 5: not authorized (no credentials at all); null: closed without an
 * answer, to come again.
 */
type ConnectReturnCode = 4 | 5 | null

export type RefusedLogin = 'bad-credentials' | 'no-credentials' | 'login-busy' | 'login-damped'

export type Authentication =
  | { readonly ok: true; readonly principal: Principal }
  | { readonly ok: false; readonly returnCode: ConnectReturnCode; readonly reason: RefusedLogin }

export type Authenticate = (request: AuthenticationRequest) => Promise<Authentication>

export interface AuthenticatorOptions {
  /** How often the files are looked at, ms. @default FILE_POLL_INTERVAL_MS */
  readonly filePollMs?: number
  /** Where right credentials are kept over a restart; null: nowhere. @default null */
  readonly loginsFile?: string | null
  /** For tests: another hash, another clock. */
  readonly checks?: Omit<PasswordCheckOptions, 'maxWaitMs'>
}

/** What each verdict but `right` answers to the client. */
const ANSWERS = {
  wrong: { returnCode: 4, reason: 'bad-credentials' },
  busy: { returnCode: null, reason: 'login-busy' },
  damped: { returnCode: null, reason: 'login-damped' },
} as const satisfies Record<
  Exclude<PasswordVerdict, 'right'>,
  { returnCode: ConnectReturnCode; reason: RefusedLogin }
>

const NO_PASSWORD = new Uint8Array(0)

export class Authenticator {
  readonly #config: MqttConfig
  /** By their files. */
  readonly #realms: Map<string, Realm>
  /** By the listener's configuration, which is one object as long as there is the listener. */
  readonly #seats = new Map<ListenerConfig, Seat>()
  readonly #openRealm: (auth: AuthConfig) => Promise<Realm>
  readonly #checks: PasswordChecks
  /** Checks in progress, so that a fleet with one name and password computes one hash. */
  readonly #inProgress = new Map<string, SharedCheck>()
  readonly #remembered: RememberedLogins
  #accepted = 0
  #fromCache = 0
  #refusedCredentials = 0

  private constructor(
    config: MqttConfig,
    realms: Map<string, Realm>,
    checks: PasswordChecks,
    remembered: RememberedLogins,
    openRealm: (auth: AuthConfig) => Promise<Realm>,
  ) {
    this.#config = config
    this.#realms = realms
    this.#checks = checks
    this.#remembered = remembered
    this.#openRealm = openRealm
  }

  /**
   * Reads all files of `mqtt.auth` and of the listeners. Throws an AuthFileError that names file
   * and line. What changes in `config` later is taken up by `adopt`.
   */
  static async open(
    config: MqttConfig,
    emit: EmitBrokerEvent = () => {},
    options: AuthenticatorOptions = {},
  ): Promise<Authenticator> {
    const realms = new Map<string, Realm>()
    const remembered = await RememberedLogins.open(options.loginsFile ?? null)
    const onUsers = (): void =>
      remembered.keepOnly([...realms.values()].flatMap(({ credentials }) => [...credentials.users]))
    const pollMs = options.filePollMs ?? FILE_POLL_INTERVAL_MS
    const openRealm = (auth: AuthConfig): Promise<Realm> => Realm.open(auth, emit, pollMs, onUsers)
    const opened = await openRealms(config, realms, openRealm)
    for (const [key, realm] of opened) realms.set(key, realm)
    const maxWaitMs = (): number => config.authTimeout
    const checks = new PasswordChecks({ ...options.checks, maxWaitMs })
    onUsers()
    return new Authenticator(config, realms, checks, remembered, openRealm)
  }

  /**
   * Reads the files that `next` names and that are not in force yet, for `adopt`; who does not call
   * that closes them. @throws AuthFileError that names file and line
   */
  prepare(next: MqttConfig): Promise<ReadonlyMap<string, Realm>> {
    return openRealms(next, this.#realms, this.#openRealm)
  }

  /**
   * The configuration has changed, and these realms with it. Logins of connections that are open
   * stay; what they may is judged by the rules that their listener has now.
   */
  adopt(realms: ReadonlyMap<string, Realm>): void {
    for (const [key, realm] of realms) this.#realms.set(key, realm)
    for (const [listener, seat] of this.#seats) {
      const realm = this.#realmOf(listener)
      // A listener that is gone may have had files of its own: its connections keep their rules.
      if (realm !== undefined) seat.take(realm)
    }
    const wanted = new Set(authsOf(this.#config).map(keyOf))
    for (const [key, realm] of this.#realms) {
      if (wanted.has(key)) continue
      realm.close()
      this.#realms.delete(key)
    }
    this.#remembered.keepOnly(
      [...this.#realms.values()].flatMap(({ credentials }) => [...credentials.users]),
    )
  }

  /** null: everything is allowed; undefined: its files are not read any more. */
  #realmOf(listener: ListenerConfig): Realm | null | undefined {
    const auth = authOf(this.#config, listener)
    return auth === null ? null : this.#realms.get(keyOf(auth))
  }

  /** null: nobody is let in. */
  #seatOf(listener: ListenerConfig): Seat | null {
    const known = this.#seats.get(listener)
    if (known !== undefined) return known
    const realm = this.#realmOf(listener)
    if (realm === undefined) return null
    const seat = new Seat(realm)
    this.#seats.set(listener, seat)
    return seat
  }

  get stats(): Readonly<AuthenticationStats> {
    const { computed, refusedBusy, refusedDamped } = this.#checks.stats
    return {
      accepted: this.#accepted,
      acceptedFromCache: this.#fromCache,
      refusedCredentials: this.#refusedCredentials,
      refusedBusy,
      refusedDamped,
      hashesComputed: computed,
    }
  }

  /** Never rejects. Answers within `authTimeout` and the time of one hash. */
  async authenticate(request: AuthenticationRequest): Promise<Authentication> {
    const seat = this.#seatOf(request.listener)
    const { certificateSubject, clientId, username } = request
    const realm = seat?.realm ?? null
    if (seat !== null && (realm === null || !realm.wantsPasswords)) {
      return this.#accept(new Client(certificateSubject, clientId, seat))
    }
    if (seat === null || realm === null || username === null) {
      this.#refusedCredentials += 1
      return { ok: false, returnCode: 5, reason: 'no-credentials' }
    }
    const verdict = await this.#judge(realm, username, request)
    if (verdict === 'right') return this.#accept(new Client(username, clientId, seat))
    if (verdict === 'wrong') this.#refusedCredentials += 1
    return { ok: false, ...ANSWERS[verdict] }
  }

  async reread(): Promise<void> {
    for (const realm of this.#realms.values()) {
      await realm.reloadPasswords()
      await realm.reloadRules()
    }
  }

  /**
   * Stops watching files; logins in the queue get no verdict. Resolves when those that are new are
   * kept.
   */
  async close(): Promise<void> {
    this.#checks.close()
    for (const realm of this.#realms.values()) realm.close()
    await this.#remembered.close()
  }

  async #judge(
    realm: Realm,
    user: string,
    request: AuthenticationRequest,
  ): Promise<PasswordVerdict> {
    const { remoteAddress: address, isWanted = () => true } = request
    const password = request.password ?? NO_PASSWORD
    for (;;) {
      const { credentials } = realm
      const key = credentials.cache.keyOf(user, password)
      const known = credentials.cache.lookUp(key)
      if (known === true) this.#fromCache += 1
      if (known !== null) return known ? 'right' : 'wrong'
      const line = credentials.users.get(user)
      let check = this.#inProgress.get(key)
      if (check === undefined) {
        const stored = line ?? credentials.standIn
        const askers = [isWanted]
        const verdict = this.#checks.check({
          address,
          user,
          password,
          stored,
          unknownUser: line === undefined,
          remembered: this.#remembered.find(user, stored, password),
          isRemembered: this.#remembered.has(user, stored),
          isWanted: () => askers.some((asks) => asks()),
        })
        check = { askers, verdict }
        this.#inProgress.set(key, check)
      } else check.askers.push(isWanted)
      const verdict = await check.verdict
      if (this.#inProgress.get(key) === check) this.#inProgress.delete(key)
      if (verdict === 'busy' || verdict === 'damped') return verdict
      credentials.cache.remember(key, verdict === 'right')
      if (verdict === 'right' && line !== undefined) {
        // Out of memory for it: the next start computes the slow hash.
        this.#remembered.remember(user, line, password).catch(() => {})
      }
      // The file changed meanwhile: the answer is of a content that is not in force any more.
      if (realm.credentials === credentials) return verdict
    }
  }

  #accept(principal: Principal): Authentication {
    this.#accepted += 1
    return { ok: true, principal }
  }
}

/** One check for all who wait for the same answer. */
interface SharedCheck {
  readonly askers: (() => boolean)[]
  readonly verdict: Promise<PasswordVerdict>
}

/** Of its listeners, each as often as it is used. */
function authsOf(config: MqttConfig): AuthConfig[] {
  return config.listeners.flatMap((listener) => authOf(config, listener) ?? [])
}

/** Those that are not among the known ones; none if one cannot be opened. */
async function openRealms(
  config: MqttConfig,
  known: ReadonlyMap<string, Realm>,
  openRealm: (auth: AuthConfig) => Promise<Realm>,
): Promise<Map<string, Realm>> {
  const opened = new Map<string, Realm>()
  try {
    for (const auth of authsOf(config)) {
      const key = keyOf(auth)
      if (!known.has(key) && !opened.has(key)) opened.set(key, await openRealm(auth))
    }
  } catch (error) {
    for (const realm of opened.values()) realm.close()
    throw error
  }
  return opened
}

function keyOf(auth: AuthConfig): string {
  return JSON.stringify([auth.passwordFile, auth.aclFile])
}
