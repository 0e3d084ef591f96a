/**
 * Credentials that were right, kept over a restart: after a power cut a plant's devices come back
 * within seconds, and at 0.15 s for each slow hash three hundred users take a minute. A login that
 * is remembered takes 10 ms.
 *
 * What the file gives away to a reader (mode 0600, in the data folder): no user name, no
 * password, nothing that is the same in two entries. An entry is a salted scrypt hash like the
 * password file's own, of a sixteenth of its cost, of the password under the salt and the hash of
 * the user's line. So it is good only together with that line, and guessing against it costs a
 * sixteenth of guessing against the line itself, memory-hard all the same; a plain keyed digest
 * beside its key would have made guessing some million times cheaper. Who can write the file could
 * let himself in, and could as well replace the password file.
 *
 * An entry lives as long as its line is unchanged: it is found by a digest of the line, and goes
 * when no file has the line any more. So there are never more entries than lines. Losing the file
 * costs time, nothing else: what cannot be read is forgotten, what cannot be written is tried again
 * with the next login.
 */
import { createHash, createHmac } from 'node:crypto'
import { chmod, readFile, rename, rm, writeFile } from 'node:fs/promises'
import type { RememberedLogin } from '../../shared/passwords/password-checks.ts'
import {
  type PasswordHash,
  QUICK_SCRYPT_PARAMETERS,
  quickPasswordHash,
  readPasswordHash,
  unmatchableHash,
} from '../../shared/passwords/password-file.ts'

/** Logins of a fleet come together: one write for all of them. */
const WRITE_DELAY_MS = 2_000

export class RememberedLogins {
  readonly #path: string | null
  /** By the digest of the line. */
  #entries = new Map<string, string>()
  #isChanged = false
  #timer: NodeJS.Timeout | null = null
  #writing: Promise<void> = Promise.resolve()
  readonly #hashing = new Set<Promise<string>>()

  private constructor(path: string | null) {
    this.#path = path
  }

  /** `path` null: nothing is kept. Never rejects. */
  static async open(path: string | null): Promise<RememberedLogins> {
    const logins = new RememberedLogins(path)
    if (path === null) return logins
    const text = await readFile(path, 'utf8').catch(() => '')
    for (const line of text.split('\n')) {
      const [digest = '', hash = ''] = line.split(' ')
      if (digest !== '' && readPasswordHash(hash) !== null) logins.#entries.set(digest, hash)
    }
    return logins
  }

  get count(): number {
    return this.#entries.size
  }

  /**
   * What to compare first; null: nothing is remembered of anybody. A user of whom nothing is gets
   * an entry that no password matches: he takes as long as the others.
   */
  find(user: string, line: PasswordHash, password: Uint8Array): RememberedLogin | null {
    if (this.#entries.size === 0) return null
    const stored = readPasswordHash(this.#entries.get(digestOf(user, line)) ?? '')
    return { password: boundTo(line, password), stored: stored ?? NOBODY }
  }

  has(user: string, line: PasswordHash): boolean {
    return this.#entries.has(digestOf(user, line))
  }

  /** The password was right for this line. */
  async remember(user: string, line: PasswordHash, password: Uint8Array): Promise<void> {
    if (this.#path === null || this.has(user, line)) return
    const hashing = quickPasswordHash(boundTo(line, password))
    this.#hashing.add(hashing)
    try {
      this.#entries.set(digestOf(user, line), await hashing)
      this.#changed()
    } finally {
      this.#hashing.delete(hashing)
    }
  }

  /** Forgets every entry whose line is none of these. */
  keepOnly(lines: Iterable<readonly [user: string, line: PasswordHash]>): void {
    const kept = new Map<string, string>()
    for (const [user, line] of lines) {
      const digest = digestOf(user, line)
      const hash = this.#entries.get(digest)
      if (hash !== undefined) kept.set(digest, hash)
    }
    if (kept.size === this.#entries.size) return
    this.#entries = kept
    this.#changed()
  }

  /** Writes what is new. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#hashing)
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#write()
    await this.#writing
  }

  #changed(): void {
    this.#isChanged = true
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      this.#write()
    }, WRITE_DELAY_MS).unref()
  }

  #write(): void {
    const path = this.#path
    if (path === null || !this.#isChanged) return
    this.#isChanged = false
    const text = [...this.#entries].map(([digest, hash]) => `${digest} ${hash}\n`).join('')
    // One after the other, so that the newest stays. Without an fsync: after a power cut it may be
    // the former one.
    this.#writing = this.#writing
      .then(() => replace(path, text))
      .catch(() => {
        this.#isChanged = true
      })
  }
}

async function replace(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`
  try {
    await writeFile(temporary, text, { mode: 0o600 })
    await chmod(temporary, 0o600)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw error
  }
}

function digestOf(user: string, { salt, hash }: PasswordHash): string {
  return createHash('sha256').update(salt).update(hash).update(user).digest('base64').slice(0, 24)
}

/**
 * The line's salt is new with each change of the password, so an entry is no good for any other
 * line.
 */
function boundTo({ salt, hash }: PasswordHash, password: Uint8Array): Uint8Array {
  return createHmac('sha256', Buffer.concat([salt, hash]))
    .update(password)
    .digest()
}

const NOBODY = unmatchableHash(QUICK_SCRYPT_PARAMETERS)
