/**
 * Computes slow hashes one at a time. libuv's threads are shared with the fsync that every acknowledgement waits for
 * (I1), so guessing must not occupy them: one hash in progress, a short queue, a rest after every wrong password, and
 * everything beyond is told to come back later. Those whose address has not guessed wrong go first.
 */
import { FailedLogins } from './failed-logins.ts'
import { type PasswordHash, verifyPassword } from './password-file.ts'

/** Waiting beside the one in progress. At 0.15 s each the last one waits 5 s; behind wrong ones `maxWaitMs` ends it. */
export const MAX_QUEUED_CHECKS = 32

/**
 * After a wrong password, a rest of this times what its hash took: guessing gets a quarter of a thread at most. With
 * half a thread the p99 of an fsync beside it rose by half, with a quarter by a third (2 cores, both busy).
 */
const REST_FACTOR = 3

export type Verdict =
  | 'right'
  | 'wrong'
  /** The queue is full, or the turn came too late for the client. */
  | 'busy'
  /** Too many wrong passwords came from there. */
  | 'damped'

export interface CheckRequest {
  readonly address: string
  readonly user: string
  readonly password: Uint8Array
  readonly stored: PasswordHash
  /** Unknown user: `stored` is a stand-in, and the answer is wrong whatever comes out. */
  readonly unknownUser: boolean
}

export interface PasswordCheckOptions {
  /** A request that waited longer is not computed: its client is gone. ms */
  readonly maxWaitMs: number
  readonly verify?: (password: Uint8Array, stored: PasswordHash) => Promise<boolean>
  /** Monotonic milliseconds. */
  readonly now?: () => number
}

interface Waiting {
  readonly request: CheckRequest
  readonly since: number
  readonly resolve: (verdict: Verdict) => void
}

export interface PasswordCheckStats {
  computed: number
  refusedBusy: number
  refusedDamped: number
}

export class PasswordChecks {
  readonly stats: PasswordCheckStats = { computed: 0, refusedBusy: 0, refusedDamped: 0 }
  readonly #maxWaitMs: number
  readonly #verify: (password: Uint8Array, stored: PasswordHash) => Promise<boolean>
  readonly #now: () => number
  readonly #failed: FailedLogins
  readonly #clean: Waiting[] = []
  readonly #suspect: Waiting[] = []
  #working = false
  #closed = false
  #resting: { readonly timer: NodeJS.Timeout; readonly done: () => void } | null = null

  constructor(options: PasswordCheckOptions) {
    this.#maxWaitMs = options.maxWaitMs
    this.#verify = options.verify ?? verifyPassword
    this.#now = options.now ?? (() => performance.now())
    this.#failed = new FailedLogins(this.#now)
  }

  /** Never rejects. */
  async check(request: CheckRequest): Promise<Verdict> {
    if (this.#closed) return 'busy'
    if (!this.#failed.admits(request.address, request.user)) return this.#damped()
    const suspect = this.#failed.isSuspect(request.address)
    if (this.#clean.length + this.#suspect.length >= MAX_QUEUED_CHECKS) {
      // The newest guess of somebody who guessed wrong before makes room for somebody who did not.
      const displaced = suspect ? undefined : this.#suspect.pop()
      if (displaced === undefined) return this.#busy()
      displaced.resolve(this.#busy())
    }
    return new Promise((resolve) => {
      const queue = suspect ? this.#suspect : this.#clean
      queue.push({ request, since: this.#now(), resolve })
      if (!this.#working) void this.#work()
    })
  }

  close(): void {
    this.#closed = true
    for (const { resolve } of [...this.#clean.splice(0), ...this.#suspect.splice(0)]) resolve('busy')
    if (this.#resting === null) return
    clearTimeout(this.#resting.timer)
    this.#resting.done()
  }

  async #work(): Promise<void> {
    this.#working = true
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      if (this.#now() - next.since > this.#maxWaitMs) {
        next.resolve(this.#busy())
      } else if (!this.#failed.admits(next.request.address, next.request.user)) {
        // It guessed wrong while this one waited.
        next.resolve(this.#damped())
      } else {
        await this.#compute(next)
      }
    }
    this.#working = false
  }

  #next(): Waiting | undefined {
    return this.#clean.shift() ?? this.#suspect.shift()
  }

  async #compute({ request, resolve }: Waiting): Promise<void> {
    const { address, password, stored, unknownUser, user } = request
    const begun = this.#now()
    this.stats.computed += 1
    let right: boolean
    try {
      right = (await this.#verify(password, stored)) && !unknownUser
    } catch {
      // Out of memory for the hash: nobody's password is wrong because of that.
      resolve(this.#busy())
      return
    }
    if (right) {
      this.#failed.right(address, user)
      resolve('right')
      return
    }
    this.#failed.wrong(address, user)
    resolve('wrong')
    await this.#rest((this.#now() - begun) * REST_FACTOR)
  }

  async #rest(ms: number): Promise<void> {
    if (this.#closed) return
    await new Promise<void>((done) => {
      this.#resting = { timer: setTimeout(done, ms), done }
    })
    this.#resting = null
  }

  #busy(): Verdict {
    this.stats.refusedBusy += 1
    return 'busy'
  }

  #damped(): Verdict {
    this.stats.refusedDamped += 1
    return 'damped'
  }
}
