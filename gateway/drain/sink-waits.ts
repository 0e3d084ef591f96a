/**
 * What keeps a whole sink waiting: backoff after faults of the connection or the service, a
 * Retry-After, a hold. Says when the next request may begin. I8: a hold keeps everything; one probe
 * goes out, not one per stream. What survives a restart is noted (notes.ts). Knows no streams but
 * their names.
 */
import { writtenCode } from '../shared/text/answer-code.ts'
import type { Clock } from './clock.ts'
import type { DeliveryConfig } from './config.ts'
import type { EmitDrainEvent } from './events.ts'
import type { DrainNotes } from './notes.ts'
import { recoveryDelayMs } from './policy/pacer.ts'
import { backoffMs, type Verdict } from './policy/retry-policy.ts'
import type { DrainRules } from './policy/rules.ts'
import type { DeliveryStanding } from './standing.ts'

export interface SinkWaitsOptions {
  readonly sink: string
  readonly config: Pick<DeliveryConfig, 'maxRetryAfter' | 'recoveryJitter'>
  readonly rules: DrainRules
  readonly notes: DrainNotes
  readonly emit: EmitDrainEvent
  readonly clock: Clock
  readonly random: () => number
}

/** A request that was sent. */
export interface SentRequest {
  readonly stream: string
  /** It began while the sink was held. */
  readonly isProbe: boolean
  /** Monotonic, ms. */
  readonly beganAtMs: number
}

interface Hold {
  /** Wall clock, ms, to show; what it lasted is counted from `beganMs`, which is monotonic. */
  readonly sinceMs: number
  readonly beganMs: number
  code: string | null
  detail: string
  /** The sink tells by itself when it passes, mostly before the next probe. */
  watched: boolean
  /** Whose batch is the probe. */
  readonly stream: string | null
  /** That failed so far. */
  probes: number
  nextProbeAtMs: number
}

export class SinkWaits {
  readonly #o: SinkWaitsOptions
  #notBeforeMs = Number.NEGATIVE_INFINITY
  /** End of a wait that the sink asked for: nothing shortens it. */
  #retryAfterUntilMs = Number.NEGATIVE_INFINITY
  #waitNoted = false
  #failures = 0
  #failedAtMs = Number.NEGATIVE_INFINITY
  /** When somebody asked last for a try at once. */
  #askedAtMs = Number.NEGATIVE_INFINITY
  #outage: { readonly sinceMs: number; readonly beganMs: number; detail: string } | null = null
  #hold: Hold | null = null
  #lastSuccessAtMs: number | null = null

  constructor(options: SinkWaitsOptions) {
    this.#o = options
  }

  /**
   * Takes up what the last run noted. A hold is probed at once: a restart may be there to end it.
   */
  start(): void {
    const { clock, config, notes, random, sink } = this.#o
    const nowMs = clock.monotonicMs()
    const leftMs = notes.waitLeftMs(sink, config.maxRetryAfter)
    if (leftMs > 0) {
      this.#waitNoted = true
      this.#retryAfterUntilMs = nowMs + leftMs
      this.#notBeforeMs = this.#retryAfterUntilMs + recoveryDelayMs(config.recoveryJitter, random)
    }
    const hold = notes.hold(sink, null)
    if (hold === null) return
    const { sinceMs, code, detail, stream } = hold
    const beganMs = nowMs - notes.heldMs(sink, null)
    const untold = { watched: false, probes: 0, nextProbeAtMs: nowMs }
    this.#hold = { sinceMs, beganMs, code, detail, stream, ...untold }
  }

  get isHeld(): boolean {
    return this.#hold !== null
  }

  /** While it is held or failing, one request at a time finds out how it is. */
  get oneAtATime(): boolean {
    return this.#hold !== null || this.#failures > 0
  }

  /**
   * Name of the stream whose batch is the probe of the hold; null: any. Every second one is
   * another's, if there is one: it may be this batch alone that is answered so.
   */
  get probeStream(): string | null {
    return this.#hold === null || this.#hold.probes % 2 === 1 ? null : this.#hold.stream
  }

  /** From when on a request may begin, monotonic ms. */
  get openAtMs(): number {
    return Math.max(this.#notBeforeMs, this.#hold?.nextProbeAtMs ?? Number.NEGATIVE_INFINITY)
  }

  /** May a request be sent that began so, or did an answer begin a wait or a hold meanwhile? */
  maySend(isProbe: boolean): boolean {
    return (this.#hold === null || isProbe) && this.#notBeforeMs <= this.#o.clock.monotonicMs()
  }

  /** A request begins: a wait that is over need not be remembered. */
  begins(): void {
    if (!this.#waitNoted || this.#o.clock.monotonicMs() < this.#retryAfterUntilMs) return
    this.#waitNoted = false
    this.#o.notes.setWait(this.#o.sink, null)
  }

  /** Takes from an answer what concerns the whole sink. */
  apply(request: SentRequest, verdict: Verdict): void {
    const nowMs = this.#o.clock.monotonicMs()
    if (verdict.kind === 'acked' && verdict.acked > 0) {
      this.#lastSuccessAtMs = this.#o.clock.wallMs()
    }
    // Whatever else is the matter: an answer to a request from before a hold binds, too.
    this.#waitAsAsked(askedMs(verdict), nowMs)
    if (verdict.kind === 'hold' && verdict.scope === 'sink') {
      this.#beginHold(request, verdict, nowMs)
      return
    }
    const answered = verdict.kind !== 'retry' || verdict.answered
    if (this.#hold !== null) {
      // A request from before the hold says nothing about its end.
      if (!request.isProbe) return
      if (!answered) {
        this.#hold.nextProbeAtMs = this.#nextProbeAtMs(request, nowMs)
        this.#hold.probes++
        this.#hold.detail = verdict.detail
        this.#hold.watched = false
        return
      }
      this.#endHold(nowMs)
    }
    if (verdict.kind === 'retry' && verdict.scope === 'sink') this.#fails(request, verdict, nowMs)
    else if (answered) this.#recovers(nowMs)
  }

  /** Ends backoff and makes a probe due; only a wait that the sink asked for is kept. */
  tryNow(): void {
    const nowMs = this.#o.clock.monotonicMs()
    this.#askedAtMs = nowMs
    this.#notBeforeMs = this.#retryAfterUntilMs
    if (this.#hold !== null) this.#hold.nextProbeAtMs = nowMs
  }

  /**
   * A request that was on its way when somebody asked for a try knows nothing of what was changed:
   * the next one follows it.
   */
  #wasAskedSince(request: SentRequest): boolean {
    return request.beganAtMs < this.#askedAtMs
  }

  #nextProbeAtMs(request: SentRequest, nowMs: number): number {
    return this.#wasAskedSince(request) ? nowMs : nowMs + this.#o.rules.probeMs
  }

  standing(inFlight: number): DeliveryStanding {
    const { clock } = this.#o
    const hold = this.#hold
    const waits = inFlight === 0 && (hold === null ? this.#outage !== null : !hold.watched)
    const leftMs = Math.max(0, this.openAtMs - clock.monotonicMs())
    return {
      state: hold !== null ? 'held' : this.#outage === null ? 'ok' : 'retrying',
      sinceMs: hold?.sinceMs ?? this.#outage?.sinceMs ?? null,
      reason: hold === null ? null : 'answer',
      detail: hold?.detail ?? this.#outage?.detail ?? null,
      nextTryAtMs: waits ? clock.wallMs() + leftMs : null,
      lastSuccessAtMs: this.#lastSuccessAtMs,
    }
  }

  #fails(request: SentRequest, verdict: Extract<Verdict, { kind: 'retry' }>, nowMs: number): void {
    const { clock, emit, random, rules, sink } = this.#o
    const { code, detail, retryAfterMs } = verdict
    if (this.#outage === null) {
      this.#outage = { sinceMs: clock.wallMs(), beganMs: nowMs, detail }
      const status = writtenCode(code)
      emit({ type: 'drain.retrying', sink, stream: null, status, detail, retryAfterMs })
    }
    this.#outage.detail = detail
    // Requests that were in flight side by side fail together: that is one failure.
    if (request.beganAtMs >= this.#failedAtMs || this.#failures === 0) this.#failures++
    this.#failedAtMs = nowMs
    if (this.#wasAskedSince(request)) return
    this.#notBeforeMs = Math.max(
      this.#notBeforeMs,
      nowMs + backoffMs(this.#failures, random, rules),
    )
  }

  /**
   * Never sooner than the sink asked, across a restart too. Many gateways may have been told the
   * same moment.
   */
  #waitAsAsked(retryAfterMs: number, nowMs: number): void {
    if (retryAfterMs <= 0) return
    const { config, notes, random, sink } = this.#o
    const untilMs = nowMs + retryAfterMs
    if (untilMs > this.#retryAfterUntilMs) {
      this.#retryAfterUntilMs = untilMs
      this.#waitNoted = true
      notes.setWait(sink, retryAfterMs)
    }
    const spreadMs = recoveryDelayMs(config.recoveryJitter, random)
    this.#notBeforeMs = Math.max(this.#notBeforeMs, untilMs + spreadMs)
  }

  /** The sink answers again: the catch-up begins after a random share of `recoveryJitter`. */
  #recovers(nowMs: number): void {
    if (this.#outage === null) return
    const { config, emit, random, sink } = this.#o
    this.#failures = 0
    this.#notBeforeMs = Math.max(
      this.#retryAfterUntilMs,
      nowMs + recoveryDelayMs(config.recoveryJitter, random),
    )
    const outageMs = nowMs - this.#outage.beganMs
    this.#outage = null
    emit({ type: 'drain.recovered', sink, stream: null, outageMs })
  }

  #beginHold(
    request: SentRequest,
    { code, detail, watched }: Extract<Verdict, { kind: 'hold' }>,
    nowMs: number,
  ): void {
    const { clock, emit, notes, sink } = this.#o
    const nextProbeAtMs = this.#nextProbeAtMs(request, nowMs)
    if (this.#hold !== null) {
      this.#hold.code = code
      this.#hold.detail = detail
      this.#hold.watched = watched
      if (request.isProbe) {
        this.#hold.nextProbeAtMs = nextProbeAtMs
        this.#hold.probes++
      }
      return
    }
    const sinceMs = clock.wallMs()
    const { stream } = request
    this.#failures = 0
    this.#outage = null
    const told = { code, detail, watched }
    this.#hold = { sinceMs, beganMs: nowMs, ...told, stream, probes: 0, nextProbeAtMs }
    notes.setHold(sink, null, { reason: 'answer', code, detail, sinceMs, stream, accepted: null })
    emit({
      type: 'drain.held',
      sink,
      stream: null,
      reason: 'answer',
      status: writtenCode(code),
      detail,
    })
  }

  #endHold(nowMs: number): void {
    if (this.#hold === null) return
    const { emit, notes, sink } = this.#o
    const heldMs = nowMs - this.#hold.beganMs
    this.#hold = null
    notes.setHold(sink, null, null)
    emit({ type: 'drain.hold-ended', sink, stream: null, reason: 'answer', heldMs })
  }
}

/** The wait that an answer asked for, ms; 0: none, or nothing is to be sent again. */
function askedMs(verdict: Verdict): number {
  if (verdict.kind === 'retry') return verdict.retryAfterMs ?? 0
  if (verdict.kind !== 'acked' || verdict.resendFrom === null) return 0
  return verdict.retryAfterMs ?? 0
}
