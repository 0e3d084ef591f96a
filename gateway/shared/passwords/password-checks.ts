/**
 * Computes slow hashes one at a time. libuv's threads are shared with the fsync that every
 * acknowledgement waits for (I1), so guessing must not occupy them: one hash in progress, a bounded
 * queue, a rest after every wrong password. Logins that are remembered from an earlier run go
 * first, then those whose address has not guessed wrong. Who gets no turn in time has no verdict.
 */
import { FailedLogins } from './failed-logins.ts'
import { type PasswordHash, verifyPassword } from './password-file.ts'

/**
 * Waiting beside the one in progress, each with a password of up to 8 KiB. Remembered ones take 10
 * ms, so as many as this are served within `authTimeout`; of others 60, and the rest comes again
 * and finds fewer before it.
 */
export const MAX_QUEUED_CHECKS = 1_000

/**
 * After a wrong password, a rest of this times what its hash took: guessing gets a quarter of a
 * thread at most. With half a thread the p99 of an fsync beside it rose by half, with a quarter by
 * a third (2 cores, both busy).
 */
const REST_FACTOR = 3

export type PasswordVerdict =
  | 'right'
  | 'wrong'
  /** The queue is full, or the turn came too late for the client. */
  | 'busy'
  /** Too many wrong passwords came from there. */
  | 'damped'

/** What a password is compared with before its line. */
export interface RememberedLogin {
  readonly password: Uint8Array
  readonly stored: PasswordHash
}

export interface CheckRequest {
  readonly address: string
  readonly user: string
  readonly password: Uint8Array
  readonly stored: PasswordHash
  /** Unknown user: `stored` is a stand-in, and the answer is wrong whatever comes out. */
  readonly unknownUser: boolean
  /** Compared first: a tenth of the cost, and right is right. */
  readonly remembered?: RememberedLogin | null
  /** There is an entry of this very user: his turn comes first. */
  readonly isRemembered?: boolean
  /** Does anybody still wait for the answer? Asked when its turn comes. */
  readonly isWanted?: () => boolean
}

export interface PasswordCheckOptions {
  /** A request that waited longer is not computed: its client is gone. ms */
  readonly maxWaitMs: () => number
  readonly verify?: (password: Uint8Array, stored: PasswordHash) => Promise<boolean>
  /** Monotonic milliseconds. */
  readonly now?: () => number
}

interface Waiting {
  readonly request: CheckRequest
  readonly since: number
  readonly resolve: (verdict: PasswordVerdict) => void
}

interface PasswordCheckStats {
  computed: number
  refusedBusy: number
  refusedDamped: number
}

export class PasswordChecks {
  readonly stats: PasswordCheckStats = { computed: 0, refusedBusy: 0, refusedDamped: 0 }
  readonly #maxWaitMs: () => number
  readonly #verify: (password: Uint8Array, stored: PasswordHash) => Promise<boolean>
  readonly #now: () => number
  readonly #failed: FailedLogins
  readonly #remembered: Waiting[] = []
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
  async check(request: CheckRequest): Promise<PasswordVerdict> {
    if (this.#closed) return 'busy'
    if (!this.#failed.admits(request.address, request.user)) return this.#damped()
    const suspect = this.#failed.isSuspect(request.address)
    if (this.#remembered.length + this.#clean.length + this.#suspect.length >= MAX_QUEUED_CHECKS) {
      // The newest check of an address that guessed wrong before makes room for one that did not.
      const displaced = suspect ? undefined : this.#suspect.pop()
      if (displaced === undefined) return this.#busy()
      displaced.resolve(this.#busy())
    }
    return new Promise((resolve) => {
      const { isRemembered = false } = request
      const queue = suspect ? this.#suspect : isRemembered ? this.#remembered : this.#clean
      queue.push({ request, since: this.#now(), resolve })
      if (!this.#working) void this.#work()
    })
  }

  close(): void {
    this.#closed = true
    const queues = [this.#remembered, this.#clean, this.#suspect]
    for (const { resolve } of queues.flatMap((queue) => queue.splice(0))) resolve('busy')
    if (this.#resting === null) return
    clearTimeout(this.#resting.timer)
    this.#resting.done()
  }

  async #work(): Promise<void> {
    this.#working = true
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      if (next.request.isWanted?.() === false) {
        // Its connection is gone, and was counted when it went.
        next.resolve('busy')
      } else if (this.#now() - next.since > this.#maxWaitMs()) {
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
    return this.#remembered.shift() ?? this.#clean.shift() ?? this.#suspect.shift()
  }

  async #compute({ request, resolve }: Waiting): Promise<void> {
    const { address, password, stored, unknownUser, user, remembered = null } = request
    const begun = this.#now()
    let right = false
    try {
      if (remembered !== null) right = await this.#verify(remembered.password, remembered.stored)
      if (!right) {
        this.stats.computed += 1
        right = await this.#verify(password, stored)
      }
      right &&= !unknownUser
    } catch {
      // Out of memory for the hash: that makes no password wrong.
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

  #busy(): PasswordVerdict {
    this.stats.refusedBusy += 1
    return 'busy'
  }

  #damped(): PasswordVerdict {
    this.stats.refusedDamped += 1
    return 'damped'
  }
}
