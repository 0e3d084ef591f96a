/**
 * The hold of one stream: an alarm under which nothing moves but a probe a minute, and nothing is
 * lost (I8). Noted, so that it survives a restart; probed at once after one. What ends it is
 * decided in answers.ts and refused-records.ts.
 */
import { writtenCode } from '../../shared/text/answer-code.ts'
import type { Clock } from '../clock.ts'
import type { EmitDrainEvent } from '../events.ts'
import type { DrainNotes } from '../notes.ts'
import type { Acceptance } from '../policy/parking.ts'
import type { HoldReason } from '../policy/retry-policy.ts'
import type { DrainRules } from '../policy/rules.ts'

interface StreamHoldOptions {
  readonly sink: string
  readonly stream: string
  readonly rules: DrainRules
  readonly notes: DrainNotes
  readonly emit: EmitDrainEvent
  readonly clock: Clock
}

export class StreamHold {
  readonly #o: StreamHoldOptions
  #reason: HoldReason | null = null
  #sinceMs: number | null = null
  /** Monotonic, ms: what it lasted is counted from here. */
  #beganMs = 0
  #detail: string | null = null
  #nextProbeAtMs = Number.NEGATIVE_INFINITY

  constructor(options: StreamHoldOptions) {
    this.#o = options
  }

  /** Takes up the hold of the last run. Returns which records were ripe then. */
  start(): Acceptance | null {
    const note = this.#o.notes.hold(this.#o.sink, this.#o.stream)
    if (note === null) return null
    this.#reason = note.reason
    this.#sinceMs = note.sinceMs
    this.#beganMs = this.#o.clock.monotonicMs() - this.#o.notes.heldMs(this.#o.sink, this.#o.stream)
    this.#detail = note.detail
    this.probeNow()
    return note.accepted
  }

  /** null: there is no hold. */
  get reason(): HoldReason | null {
    return this.#reason
  }

  /** Wall clock, ms. */
  get sinceMs(): number | null {
    return this.#sinceMs
  }

  get detail(): string | null {
    return this.#detail
  }

  /** Monotonic, ms. */
  get nextProbeAtMs(): number {
    return this.#nextProbeAtMs
  }

  probeNow(): void {
    this.#nextProbeAtMs = this.#o.clock.monotonicMs()
  }

  /**
   * The probe did not end it: the next one is a minute away. `detail`: what was said, null: nothing
   * new.
   */
  extend(detail: string | null): void {
    this.#nextProbeAtMs = this.#o.clock.monotonicMs() + this.#o.rules.probeMs
    if (detail !== null) this.#detail = detail
  }

  /** True: it is a new one. */
  begin(
    reason: HoldReason,
    code: string | null,
    detail: string,
    accepted: Acceptance | null,
  ): boolean {
    const { clock, emit, notes, sink, stream } = this.#o
    this.extend(detail)
    if (this.#reason === reason) return false
    const sinceMs = clock.wallMs()
    this.#reason = reason
    this.#sinceMs = sinceMs
    this.#beganMs = clock.monotonicMs()
    notes.setHold(sink, stream, { reason, code, detail, sinceMs, stream: null, accepted })
    emit({ type: 'drain.held', sink, stream, reason, status: writtenCode(code), detail })
    return true
  }

  end(): void {
    const reason = this.#reason
    if (reason === null) return
    const { clock, emit, notes, sink, stream } = this.#o
    const heldMs = clock.monotonicMs() - this.#beganMs
    this.#reason = null
    this.#sinceMs = null
    this.#detail = null
    notes.setHold(sink, stream, null)
    emit({ type: 'drain.hold-ended', sink, stream, reason, heldMs })
  }
}
