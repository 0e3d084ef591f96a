/**
 * Logins that last: a random id in a cookie, and in memory who it stands for. They end with the
 * process, after an hour that nobody used them, and half a day after the login whatever is used.
 * Bounded: the longest unused one gives way. Only a hash of the id is kept, so that a dump of the
 * memory opens nothing.
 */
import { createHash, randomBytes } from 'node:crypto'
import type { Caller } from './caller.ts'

/** Some operators, on each of their devices. */
export const MAX_SESSIONS = 64
export const IDLE_END_MS = 60 * 60_000
/** A shift. */
export const ABSOLUTE_END_MS = 12 * 60 * 60_000
/** OWASP Session Management Cheat Sheet: at least 64 bits of entropy. */
const ID_BYTES = 32

interface Session {
  readonly caller: Caller
  /** What let it begin: it ends when that changes. */
  readonly proof: string
  readonly endsAtMs: number
  usedAtMs: number
}

export class Sessions {
  readonly #nowMs: () => number
  /** By the hash of their ids, the longest unused first. */
  readonly #sessions = new Map<string, Session>()

  /** `nowMs`: monotonic. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs
  }

  get count(): number {
    return this.#sessions.size
  }

  /** Returns the id. */
  begin(caller: Caller, proof: string): string {
    const id = randomBytes(ID_BYTES).toString('base64url')
    const nowMs = this.#nowMs()
    const endsAtMs = nowMs + ABSOLUTE_END_MS
    this.#sessions.set(keyOf(id), { caller, proof, endsAtMs, usedAtMs: nowMs })
    if (this.#sessions.size > MAX_SESSIONS) {
      const [longestUnused] = this.#sessions.keys()
      if (longestUnused !== undefined) this.#sessions.delete(longestUnused)
    }
    return id
  }

  /** Whose it is, and counts as use; null: no such session, or its end has come. */
  use(id: string): Pick<Session, 'caller' | 'proof'> | null {
    const key = keyOf(id)
    const session = this.#sessions.get(key)
    if (session === undefined) return null
    this.#sessions.delete(key)
    const nowMs = this.#nowMs()
    if (nowMs >= session.endsAtMs || nowMs - session.usedAtMs >= IDLE_END_MS) return null
    session.usedAtMs = nowMs
    this.#sessions.set(key, session)
    return session
  }

  end(id: string): void {
    this.#sessions.delete(keyOf(id))
  }
}

function keyOf(id: string): string {
  return createHash('sha256').update(id).digest('base64')
}
