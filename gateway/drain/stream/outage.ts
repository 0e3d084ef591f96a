/** Since when tries of one stream fail, and what was said last; tells of its begin and its end. */
import { writtenCode } from '../../shared/text/answer-code.ts'
import type { Clock } from '../clock.ts'
import type { EmitDrainEvent } from '../events.ts'
import type { Verdict } from '../policy/retry-policy.ts'

interface Outage {
  /** By the wall clock, to show, and by the monotonic one, to measure. */
  readonly sinceMs: number
  readonly beganMs: number
  readonly detail: string
  readonly announced: boolean
}

export class StreamOutage {
  readonly #who: { readonly sink: string; readonly stream: string }
  readonly #emit: EmitDrainEvent
  readonly #clock: Clock
  #now: Outage | null = null

  constructor(who: { sink: string; stream: string }, emit: EmitDrainEvent, clock: Clock) {
    this.#who = who
    this.#emit = emit
    this.#clock = clock
  }

  /** null: there is none. */
  get now(): Pick<Outage, 'sinceMs' | 'beganMs' | 'detail'> | null {
    return this.#now
  }

  failed({ scope, code, detail, retryAfterMs }: Extract<Verdict, { kind: 'retry' }>): void {
    if (this.#now !== null) {
      this.#now = { ...this.#now, detail }
      return
    }
    // The sink tells of its own outages.
    const announced = scope === 'stream'
    const sinceMs = this.#clock.wallMs()
    this.#now = { sinceMs, beganMs: this.#clock.monotonicMs(), announced, detail }
    if (!announced) return
    const status = writtenCode(code)
    this.#emit({ type: 'drain.retrying', ...this.#who, status, detail, retryAfterMs })
  }

  ended(): void {
    if (this.#now === null) return
    const { beganMs, announced } = this.#now
    this.#now = null
    if (!announced) return
    const outageMs = this.#clock.monotonicMs() - beganMs
    this.#emit({ type: 'drain.recovered', ...this.#who, outageMs })
  }
}
