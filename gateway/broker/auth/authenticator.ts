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
import { type Access, FULL_ACCESS } from './access-rules.ts'
import { Realm } from './realm.ts'
import { RememberedLogins } from './remembered-logins.ts'

/** What the user of a connection may do, by the rules of this moment. */
export interface Principal extends Access {
  /** null: anonymous. */
  readonly user: string | null
  /** Rises when access rules or users were read again: earlier answers may have changed. */
  readonly version: number
}

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
  readonly #realms: ReadonlyMap<string, Realm>
  readonly #checks: PasswordChecks
  /** Checks in progress, so that a fleet with one name and password computes one hash. */
  readonly #inProgress = new Map<string, SharedCheck>()
  readonly #remembered: RememberedLogins
  #accepted = 0
  #fromCache = 0
  #refusedCredentials = 0

  private constructor(
    config: MqttConfig,
    realms: ReadonlyMap<string, Realm>,
    checks: PasswordChecks,
    remembered: RememberedLogins,
  ) {
    this.#config = config
    this.#realms = realms
    this.#checks = checks
    this.#remembered = remembered
  }

  /**
   * Reads all files of `mqtt.auth` and of the listeners. Throws an AuthFileError that names file
   * and line.
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
    try {
      for (const listener of config.listeners) {
        const auth = authOf(config, listener)
        if (auth === null || realms.has(keyOf(auth))) continue
        const realm = await Realm.open(
          auth,
          emit,
          options.filePollMs ?? FILE_POLL_INTERVAL_MS,
          onUsers,
        )
        realms.set(keyOf(auth), realm)
      }
    } catch (error) {
      for (const realm of realms.values()) realm.close()
      throw error
    }
    const checks = new PasswordChecks({ ...options.checks, maxWaitMs: config.authTimeout })
    onUsers()
    return new Authenticator(config, realms, checks, remembered)
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
    const auth = authOf(this.#config, request.listener)
    if (auth === null) return this.#accept(anonymous(request.certificateSubject))
    const realm = this.#realms.get(keyOf(auth))
    const { certificateSubject, clientId, username } = request
    if (realm !== undefined && auth.passwordFile === null) {
      return this.#accept(new User(certificateSubject, clientId, realm))
    }
    if (realm === undefined || username === null) {
      this.#refusedCredentials += 1
      return { ok: false, returnCode: 5, reason: 'no-credentials' }
    }
    const verdict = await this.#judge(realm, username, request)
    if (verdict === 'right') return this.#accept(new User(username, request.clientId, realm))
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

/** Some 100 bytes each, only for subscribers that may receive a part of what they asked for. */
const MAX_RECEIVED_TOPICS = 1_000

/** One check for all who wait for the same answer. */
interface SharedCheck {
  readonly askers: (() => boolean)[]
  readonly verdict: Promise<PasswordVerdict>
}

function anonymous(certificateSubject: string | null): Principal {
  return { ...FULL_ACCESS, user: certificateSubject, version: 0 }
}

/** Follows the realm: rules that were read again hold for sessions that are open. */
class User implements Principal {
  readonly user: string | null
  readonly #clientId: string
  readonly #realm: Realm
  #access: Access
  #accessVersion: number
  /** What was answered about topics; a subscriber gets few of them again and again. */
  readonly #received = new Map<string, boolean>()

  constructor(user: string | null, clientId: string, realm: Realm) {
    this.user = user
    this.#clientId = clientId
    this.#realm = realm
    this.#access = realm.accessOf(user, clientId)
    this.#accessVersion = realm.version
  }

  get version(): number {
    return this.#realm.version
  }

  mayPublish(topic: string): boolean {
    return this.#current().mayPublish(topic)
  }

  maySubscribe(filter: string): boolean {
    return this.#current().maySubscribe(filter)
  }

  mayReceiveAll(filter: string): boolean {
    return this.#current().mayReceiveAll(filter)
  }

  mayReceive(topic: string): boolean {
    const access = this.#current()
    const known = this.#received.get(topic)
    if (known !== undefined) return known
    if (this.#received.size >= MAX_RECEIVED_TOPICS) this.#received.clear()
    const answer = access.mayReceive(topic)
    this.#received.set(topic, answer)
    return answer
  }

  #current(): Access {
    if (this.#accessVersion !== this.#realm.version) {
      this.#access = this.#realm.accessOf(this.user, this.#clientId)
      this.#accessVersion = this.#realm.version
      this.#received.clear()
    }
    return this.#access
  }
}

function keyOf(auth: AuthConfig): string {
  return JSON.stringify([auth.passwordFile, auth.aclFile])
}
