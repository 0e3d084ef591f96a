/**
 * Days of a sink that fails, asks to be left alone, is held and comes back, with restarts and
 * reboots between: the gateway's own `SinkWaits` and notes under a virtual clock. Whatever comes
 * together, no request is sooner than the sink asked, than backoff or than a probe is due; and none
 * is later than the longest of them allows.
 */
import type { Random } from '../../../device-sim/random.ts'
import { DrainNotes } from '../../../gateway/drain/notes.ts'
import type { Verdict } from '../../../gateway/drain/policy/retry-policy.ts'
import { CONTRACT_RULES } from '../../../gateway/drain/policy/rules.ts'
import { SinkWaits, type SinkWaitsOptions } from '../../../gateway/drain/sink-waits.ts'
import type { NoteStore } from '../../../gateway/ports/stream-queue.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'
import { DAY_MS, EPSILON_MS, Faults, type Simulated } from './result.ts'

export type Waits = Pick<
  SinkWaits,
  'start' | 'isHeld' | 'openAtMs' | 'oneAtATime' | 'begins' | 'apply' | 'tryNow'
>

const MAX_RETRY_AFTER_MS = 3_600_000
/** Enough for the mean of a jitter to be known within a few percent. */
const TELLING_WAITS = 300

export function simulateWaits(
  random: Random,
  days: number,
  newWaits: (options: SinkWaitsOptions) => Waits = (options) => new SinkWaits(options),
): Simulated {
  const sink = new FailingSink(random, newWaits)
  while (sink.elapsedMs < days * DAY_MS) sink.step()
  sink.judgeJitter()
  return { days, decisions: sink.requests, faults: sink.faults.list }
}

class FailingSink {
  elapsedMs = 0
  requests = 0
  readonly faults = new Faults()
  readonly #clock = new VirtualClock()
  readonly #random: Random
  readonly #recoveryJitterMs: number
  readonly #notes = new Map<string, string>()
  readonly #make: () => Waits
  #waits: Waits
  /** What the sink asked for: no request before it. */
  #askedUntilMs = Number.NEGATIVE_INFINITY
  #askedMs = 0
  #failures = 0
  readonly #jitters: number[] = []

  constructor(random: Random, newWaits: (options: SinkWaitsOptions) => Waits) {
    this.#random = random
    this.#recoveryJitterMs = random.chance(0.5) ? 0 : 300_000
    const store: NoteStore = {
      get: (key) => this.#notes.get(key) ?? null,
      set: async (key, value) =>
        void (value === null ? this.#notes.delete(key) : this.#notes.set(key, value)),
    }
    this.#make = () =>
      newWaits({
        sink: 'cloud',
        config: { maxRetryAfter: MAX_RETRY_AFTER_MS, recoveryJitter: this.#recoveryJitterMs },
        rules: CONTRACT_RULES,
        notes: new DrainNotes(store, this.#clock, (stored) => void stored),
        emit: () => undefined,
        clock: this.#clock,
        random: () => random.next(),
      })
    this.#waits = this.#make()
    this.#waits.start()
  }

  step(): void {
    const random = this.#random
    if (random.chance(0.02)) this.#restart()
    if (random.chance(0.02)) this.#waits.tryNow()
    // The next batch, now or some time from now.
    if (random.chance(0.1)) this.#pass(random.exponential(1 / 1_800_000))
    this.#pass(Math.max(0, this.#waits.openAtMs - this.#clock.monotonicMs()))
    this.#request()
  }

  #pass(ms: number): void {
    this.#clock.advance(ms)
    this.elapsedMs += ms
  }

  /**
   * A kill, or a power cut: then the monotonic clock starts anew, and the full wait is due again.
   */
  #restart(): void {
    const downMs = this.#random.exponential(1 / 60_000)
    const isReboot = this.#random.chance(0.3)
    const isWaiting = this.#askedUntilMs > this.#clock.monotonicMs()
    this.#pass(downMs)
    if (isReboot) this.#clock.reboot()
    if (isReboot) this.#askedUntilMs = isWaiting ? this.#clock.monotonicMs() + this.#askedMs : 0
    this.#failures = 0
    this.#waits = this.#make()
    this.#waits.start()
    const leftMs = this.#waits.openAtMs - this.#clock.monotonicMs()
    const most = MAX_RETRY_AFTER_MS + this.#recoveryJitterMs
    this.faults.expect(
      leftMs <= most + EPSILON_MS,
      () => `after a restart ${leftMs} ms are waited for`,
    )
  }

  #request(): void {
    this.requests += 1
    const beganAtMs = this.#clock.monotonicMs()
    const earlyMs = this.#askedUntilMs - beganAtMs
    this.faults.expect(
      earlyMs <= EPSILON_MS,
      () => `a request ${earlyMs} ms before Retry-After is over`,
    )
    this.#waits.begins()
    const wasHeld = this.#waits.isHeld
    this.#pass(this.#random.between(1, 30_000))
    const verdict = this.#decide()
    this.#waits.apply({ stream: 'telemetry', isProbe: wasHeld, beganAtMs }, verdict)
    this.#judge(verdict, wasHeld)
  }

  #decide(): Verdict {
    const random = this.#random
    const kind = random.below(10)
    if (kind < 3) return ACKED
    if (kind < 4)
      return {
        kind: 'hold',
        scope: 'sink',
        reason: 'answer',
        divide: false,
        watched: false,
        code: '401',
        detail: '401',
      }
    const isAsked = random.chance(0.2)
    const retryAfterMs = isAsked ? random.below(MAX_RETRY_AFTER_MS) : null
    const code = isAsked || random.chance(0.5) ? '503' : null
    return {
      kind: 'retry',
      scope: 'sink',
      code,
      answered: code !== null,
      throttled: false,
      retryAfterMs,
      malformed: false,
      divide: false,
      detail: 'no',
    }
  }

  #judge(verdict: Verdict, wasHeld: boolean): void {
    const nowMs = this.#clock.monotonicMs()
    const waitMs = this.#waits.openAtMs - nowMs
    const { backoffBaseMs, backoffCapMs, probeMs } = CONTRACT_RULES
    if (verdict.kind === 'acked') {
      this.#failures = 0
      const askedMs = Math.max(0, this.#askedUntilMs - nowMs)
      const isPrompt = waitMs <= Math.max(this.#recoveryJitterMs, askedMs) + EPSILON_MS
      this.faults.expect(isPrompt, () => `after an ack ${waitMs} ms are waited for`)
      return
    }
    if (verdict.kind === 'hold' || this.#waits.isHeld) {
      this.#failures = 0
      const isMinute = Math.abs(waitMs - probeMs) <= EPSILON_MS
      this.faults.expect(
        isMinute || waitMs > probeMs,
        () => `a probe of a hold is due in ${waitMs} ms`,
      )
      return
    }
    if (verdict.kind !== 'retry') return
    this.#failures += 1
    const askedMs = verdict.retryAfterMs ?? 0
    if (askedMs > 0 && nowMs + askedMs > this.#askedUntilMs) {
      this.#askedUntilMs = nowMs + askedMs
      this.#askedMs = askedMs
    }
    const ceilingMs = Math.min(backoffCapMs, backoffBaseMs * 2 ** this.#failures)
    this.faults.expect(
      waitMs >= backoffBaseMs - EPSILON_MS,
      () => `backs off for ${waitMs} ms only`,
    )
    const most = Math.max(ceilingMs, askedMs > 0 ? askedMs + this.#recoveryJitterMs : 0)
    this.faults.expect(
      waitMs <= most + EPSILON_MS,
      () => `failure ${this.#failures} backs off for ${waitMs} ms, more than ${most}`,
    )
    if (askedMs === 0 && !wasHeld)
      this.#jitters.push((waitMs - backoffBaseMs) / (ceilingMs - backoffBaseMs))
  }

  /** Full jitter: from none to all of it, evenly. */
  judgeJitter(): void {
    const jitters = this.#jitters
    if (jitters.length < TELLING_WAITS) return
    const mean = jitters.reduce((sum, one) => sum + one, 0) / jitters.length
    const isFull =
      Math.abs(mean - 0.5) < 0.1 && Math.min(...jitters) < 0.05 && Math.max(...jitters) > 0.95
    this.faults.expect(isFull, () => `jitter of ${jitters.length} waits is ${mean} in the mean`)
  }
}

const ACKED: Verdict = {
  kind: 'acked',
  runs: [],
  acked: 1,
  refused: 0,
  resendFrom: null,
  resend: 'at-once',
  retryAfterMs: null,
  distrust: null,
}
