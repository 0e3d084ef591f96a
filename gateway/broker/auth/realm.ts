/**
 * One pair of password file and access file, either of which may be none, as it is in force: read
 * at the start, read again when the files change. A changed file that cannot be used changes
 * nothing; an event says so. Listeners with the same pair share one realm.
 */
import { readFile } from 'node:fs/promises'
import { errorCode, errorMessage } from '../../shared/errors.ts'
import { FileWatch } from '../../shared/file-watch.ts'
import {
  AuthFileError,
  type PasswordFile,
  type PasswordHash,
  parsePasswordFile,
  unmatchableHash,
} from '../../shared/passwords/password-file.ts'
import type { AuthConfig } from '../config.ts'
import type { EmitBrokerEvent } from '../events.ts'
import {
  type Access,
  type AccessRules,
  type AppliedRule,
  FULL_ACCESS,
  NO_ACCESS,
  parseAccessRules,
} from './access-rules.ts'
import { CredentialCache } from './credential-cache.ts'

/** The password file's content with what was learned under it. */
export interface Credentials {
  readonly users: PasswordFile
  readonly cache: CredentialCache
  /** What unknown users are compared with, so that they take as long as known ones. */
  readonly standIn: PasswordHash
}

export class Realm {
  readonly #config: AuthConfig
  readonly #emit: EmitBrokerEvent
  readonly #onUsers: () => void
  readonly #watches: FileWatch[] = []
  #credentials: Credentials
  #rules: AccessRules | null
  #version = 1

  private constructor(
    config: AuthConfig,
    emit: EmitBrokerEvent,
    credentials: Credentials,
    rules: AccessRules | null,
    onUsers: () => void,
  ) {
    this.#onUsers = onUsers
    this.#config = config
    this.#emit = emit
    this.#credentials = credentials
    this.#rules = rules
  }

  /**
   * Throws an AuthFileError if a file cannot be read or is broken. `onUsers`: the password file was
   * read again.
   */
  static async open(
    config: AuthConfig,
    emit: EmitBrokerEvent,
    pollMs: number,
    onUsers: () => void,
  ): Promise<Realm> {
    const { passwordFile, aclFile } = config
    let realm: Realm | null = null
    const watches = [
      ...(passwordFile === null
        ? []
        : [new FileWatch([passwordFile], async () => realm?.reloadPasswords(), pollMs)]),
      ...(aclFile === null
        ? []
        : [new FileWatch([aclFile], async () => realm?.reloadRules(), pollMs)]),
    ]
    try {
      const rules = aclFile === null ? null : await readRules(aclFile)
      realm = new Realm(config, emit, await readCredentials(passwordFile), rules, onUsers)
    } catch (error) {
      for (const watch of watches) watch.close()
      throw error
    }
    realm.#watches.push(...watches)
    realm.#report()
    return realm
  }

  /** Clients log in with name and password; else their certificate says who they are. */
  get wantsPasswords(): boolean {
    return this.#config.passwordFile !== null
  }

  get credentials(): Credentials {
    return this.#credentials
  }

  /** Rises when what a user may can have changed: new rules, or a new list of users. */
  get version(): number {
    return this.#version
  }

  /**
   * A user who was removed from the password file may nothing, also in a session that is open.
   * Without such a file `user` is the name in a certificate, or null.
   */
  accessOf(user: string | null, clientId: string): Access {
    const { passwordFile } = this.#config
    if (passwordFile !== null && (user === null || !this.#credentials.users.has(user)))
      return NO_ACCESS
    return this.#rules === null ? FULL_ACCESS : this.#rules.for(user, clientId)
  }

  /** The rules behind {@link accessOf}; null: there is no access file. */
  rulesOf(user: string | null, clientId: string): readonly AppliedRule[] | null {
    return this.#rules?.appliedTo(user, clientId) ?? null
  }

  close(): void {
    for (const watch of this.#watches) watch.close()
  }

  async reloadPasswords(): Promise<void> {
    const { passwordFile } = this.#config
    if (passwordFile === null) return
    await this.#reload(passwordFile, async () => {
      this.#credentials = await readCredentials(passwordFile)
      this.#onUsers()
    })
  }

  async reloadRules(): Promise<void> {
    const { aclFile } = this.#config
    if (aclFile === null) return
    await this.#reload(aclFile, async () => {
      this.#rules = await readRules(aclFile)
    })
  }

  async #reload(file: string, read: () => Promise<void>): Promise<void> {
    try {
      await read()
    } catch (error) {
      const message = errorMessage(error)
      this.#emit({ type: 'broker.auth-file-refused', file, message })
      return
    }
    this.#version += 1
    if (file === this.#config.passwordFile) this.#reportUsers()
    else this.#reportRules()
  }

  #report(): void {
    this.#reportUsers()
    this.#reportRules()
  }

  #reportUsers(): void {
    const { passwordFile: file } = this.#config
    if (file === null) return
    this.#emit({ type: 'broker.credentials-loaded', file, users: this.#credentials.users.size })
  }

  #reportRules(): void {
    const { aclFile: file } = this.#config
    if (file === null || this.#rules === null) return
    this.#emit({ type: 'broker.access-rules-loaded', file, rules: this.#rules.count })
  }
}

/**
 * Reads and checks the files that are given, and forgets them. @throws AuthFileError that names
 * file and line
 */
export async function readAuthFiles(
  passwordFile: string | null,
  aclFile: string | null,
): Promise<void> {
  if (passwordFile !== null) await readCredentials(passwordFile)
  if (aclFile !== null) await readRules(aclFile)
}

async function readCredentials(path: string | null): Promise<Credentials> {
  const users: PasswordFile = path === null ? new Map() : parsePasswordFile(await read(path), path)
  const [first] = users.values()
  return { users, cache: new CredentialCache(), standIn: unmatchableHash(first) }
}

async function readRules(path: string): Promise<AccessRules> {
  return parseAccessRules(await read(path), path)
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const reason = `cannot be read (${errorCode(error) ?? errorMessage(error)}); check the path and that the gateway may read it`
    throw new AuthFileError('AUTH_FILE_UNREADABLE', path, null, reason, error)
  }
}
