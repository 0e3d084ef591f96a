/**
 * Credentials that were judged, so that a fleet that reconnects does not pay a slow hash per
 * connection. Keys are a keyed hash of name and password under a key that exists in this process
 * only; no password is kept. Right and wrong ones are bounded apart, so that guesses cannot push the
 * right ones out by guessing. One cache belongs to one content of the password file and is thrown
 * away with it.
 */
import { createHmac, randomBytes } from 'node:crypto'

/** Devices of one gateway with credentials of their own. About 100 bytes each. */
const MAX_RIGHT = 10_000

/** Devices that keep trying with a password that was changed. */
const MAX_WRONG = 1_000

export class CredentialCache {
  readonly #key = randomBytes(32)
  readonly #right = new Set<string>()
  readonly #wrong = new Set<string>()

  /** The cache key of these credentials. */
  keyOf(user: string, password: Uint8Array): string {
    const name = Buffer.from(user)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(name.length)
    // The length keeps name and password apart: no two pairs give the same bytes.
    return createHmac('sha256', this.#key)
      .update(length)
      .update(name)
      .update(password)
      .digest('base64')
  }

  /** null: not known. */
  lookUp(key: string): boolean | null {
    if (touch(this.#right, key)) return true
    return touch(this.#wrong, key) ? false : null
  }

  remember(key: string, right: boolean): void {
    const [set, limit] = right ? [this.#right, MAX_RIGHT] : [this.#wrong, MAX_WRONG]
    set.add(key)
    if (set.size <= limit) return
    const [oldest] = set
    if (oldest !== undefined) set.delete(oldest)
  }
}

/** A set keeps the order of insertion: what was used last goes to the end. */
function touch(set: Set<string>, key: string): boolean {
  if (!set.delete(key)) return false
  set.add(key)
  return true
}
