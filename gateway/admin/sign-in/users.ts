/**
 * Who may log in to the console: the users file as it is in force, and the check of a password
 * against it. Read at the start and again when it changes. A change that cannot be used changes
 * nothing; a file that could not be used at the start lets nobody in until it can. An unknown user
 * costs and answers the same as a wrong password, and guessing is damped like that of devices
 * (shared/passwords/).
 */
import { readFile } from 'node:fs/promises'
import { errorMessage } from '../../shared/errors.ts'
import { FileWatch } from '../../shared/file-watch.ts'
import { PasswordChecks, type PasswordVerdict } from '../../shared/passwords/password-checks.ts'
import {
  type PasswordFile,
  parsePasswordFile,
  unmatchableHash,
} from '../../shared/passwords/password-file.ts'
import { AdminError } from '../errors.ts'
import type { EmitAdminEvent } from '../events.ts'
import { ROLES, type Role } from './caller.ts'

/** A person waits for the answer. */
const MAX_WAIT_MS = 10_000

interface Credentials {
  readonly address: string
  readonly user: string
  readonly password: string
}

type Checked =
  | { readonly verdict: 'right'; readonly role: Role }
  | { readonly verdict: Exclude<PasswordVerdict, 'right'> }

export class Users {
  readonly #path: string
  readonly #emit: EmitAdminEvent
  readonly #checks: PasswordChecks
  readonly #watch: FileWatch
  #users: PasswordFile | null = null

  private constructor(path: string, emit: EmitAdminEvent, now: () => number) {
    this.#path = path
    this.#emit = emit
    this.#checks = new PasswordChecks({ maxWaitMs: () => MAX_WAIT_MS, now })
    this.#watch = new FileWatch([path], () => this.reread())
  }

  /** Never rejects. `now`: monotonic, ms. */
  static async open(path: string, emit: EmitAdminEvent, now: () => number): Promise<Users> {
    const users = new Users(path, emit, now)
    await users.reread()
    return users
  }

  /** Changes with the role and the password of a user; null: there is no such user. */
  lineOf(user: string): string | null {
    const known = this.#users?.get(user)
    return known === undefined ? null : `${known.role}:${known.hash.toString('base64')}`
  }

  /** @throws AdminError ADMIN_USERS_UNREADABLE */
  async check({ address, user, password }: Credentials): Promise<Checked> {
    const users = this.#users
    if (users === null)
      throw new AdminError(
        'ADMIN_USERS_UNREADABLE',
        'admin.usersFile cannot be used: nobody is let in; the log says what is wrong with it',
      )
    const known = users.get(user)
    const line = this.lineOf(user)
    const verdict = await this.#checks.check({
      address,
      user,
      password: Buffer.from(password),
      stored: known ?? unmatchableHash(),
      unknownUser: known === undefined,
    })
    if (verdict !== 'right') return { verdict }
    // The user's line may have changed while the hash was computed.
    const role = this.lineOf(user) === line ? roleOf(known) : null
    return role === null ? { verdict: 'wrong' } : { verdict, role }
  }

  async reread(): Promise<void> {
    try {
      this.#users = await readUsers(this.#path)
    } catch (error) {
      this.#emit({ type: 'admin.users-refused', file: this.#path, message: errorMessage(error) })
      return
    }
    this.#emit({ type: 'admin.users-loaded', file: this.#path, users: this.#users.size })
  }

  close(): void {
    this.#watch.close()
    this.#checks.close()
  }
}

function roleOf(user: { readonly role: string | null } | undefined): Role | null {
  return ROLES.find((role) => role === user?.role) ?? null
}

/** @throws if it cannot be read, or a line of it is wrong */
export async function readUsers(path: string): Promise<PasswordFile> {
  return parsePasswordFile(await readFile(path, 'utf8'), path, (role) =>
    ROLES.some((known) => known === role)
      ? null
      : `${role === null ? 'no role' : `the role ${JSON.stringify(role)}`}; set it with "sluice passwd --role ${ROLES.join('|')}"`,
  )
}
