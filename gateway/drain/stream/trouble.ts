/** Since when tries of one stream fail, what was said last, and whom that was told. */
import type { Clock } from '../clock.ts'
import type { EmitDrainEvent } from '../events.ts'
import type { Decision } from '../policy/retry-policy.ts'

export interface Trouble {
  /** By the wall clock, to show, and by the monotonic one, to measure. */
  readonly sinceMs: number
  readonly beganMs: number
  readonly detail: string
}

export class StreamTrouble {
  readonly #who: { readonly sink: string; readonly stream: string }
  readonly #emit: EmitDrainEvent
  readonly #clock: Clock
  #now: (Trouble & { readonly announced: boolean }) | null = null

  constructor(who: { sink: string; stream: string }, emit: EmitDrainEvent, clock: Clock) {
    this.#who = who
    this.#emit = emit
    this.#clock = clock
  }

  /** null: there is none. */
  get now(): Trouble | null {
    return this.#now
  }

  failed({ scope, status, detail, retryAfterMs }: Extract<Decision, { kind: 'retry' }>): void {
    if (this.#now !== null) {
      this.#now = { ...this.#now, detail }
      return
    }
    // The sink tells of its own outages.
    const announced = scope === 'stream'
    this.#now = {
      sinceMs: this.#clock.wallMs(),
      beganMs: this.#clock.monotonicMs(),
      announced,
      detail,
    }
    if (announced)
      this.#emit({ type: 'drain.retrying', ...this.#who, status, detail, retryAfterMs })
  }

  ended(): void {
    if (this.#now === null) return
    const { beganMs, announced } = this.#now
    this.#now = null
    if (!announced) return
    this.#emit({
      type: 'drain.recovered',
      ...this.#who,
      outageMs: this.#clock.monotonicMs() - beganMs,
    })
  }
}
