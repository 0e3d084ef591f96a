/**
 * Is it one record that makes a sink fail, or the sink itself? A sink may answer to a record's
 * content as if it were down or wanted other credentials: an internal error, a firewall's refusal,
 * a reset connection, no answer at all. What tells them apart is what happens right beside: a sink
 * that is down takes nothing.
 *
 * I8: evidence against a record is one thing alone: its batch failed, the sink then took other
 * records that it had not seen, of this stream or another, and at once afterwards the batch failed
 * again. Trouble of any other stream wipes it out. A repeat of what was taken before is no
 * evidence: a sink whose disk is full takes those. Of streams that fail side by side one is
 * examined at a time, or each would wipe out what tells against another's record. Pure.
 */
import { park, type Verdict } from './retry-policy.ts'
import type { DrainRules } from './rules.ts'

type Failure = Extract<Verdict, { kind: 'retry' | 'hold' }>

/** The batch of a try. */
interface TriedBatch {
  readonly recordCount: number
  readonly lastSeq: number
  /** Not a byte of it can have left, or its sink takes only whole batches. */
  readonly isBeyondDoubt: boolean
}

export class Doubt {
  readonly #rules: DrainRules
  /** Tries of the batch in a row that came to nothing. */
  #tries = 0
  /** The same while it was one record. */
  #alone = 0
  /** Tries since anything was taken. */
  #sinceTaken = 0
  #evidence = 0
  #isDivided = false
  /** When others were taken, for the next try; null: that counts no more. Monotonic, ms. */
  #takenAtMs: number | null = null
  /**
   * The try in progress began right behind that. What is taken while it goes on says nothing of it.
   */
  #followsTaken = false

  constructor(rules: DrainRules) {
    this.#rules = rules
  }

  /** More of it is wanted: the sink takes others right before the batch is tried. */
  get wantsEvidence(): boolean {
    return this.#tries > 0 && this.#evidence < this.#rules.evidence
  }

  /** The sink took others between tries, not long ago: what fails is this batch. */
  get isFounded(): boolean {
    return this.#evidence > 0 && this.#sinceTaken < this.#rules.unfoundedTries
  }

  /** The same, if the try in progress fails. */
  get isAboutToBeFounded(): boolean {
    return this.isFounded || (this.#tries > 0 && this.#followsTaken)
  }

  /** It is in doubt. */
  get isOpen(): boolean {
    return this.#tries > 0
  }

  /**
   * The next tries may tell by themselves: it is being taken apart, or what was taken speaks
   * against one record.
   */
  get isUnderway(): boolean {
    return this.isFounded || (this.#isDivided && this.#alone === 0)
  }

  /**
   * It is one record: when it may be tried once others were taken, ms after it failed; null:
   * nothing is to be told.
   */
  get retryAfterMs(): number | null {
    if (this.#alone === 0 || !this.wantsEvidence) return null
    const { backoffBaseMs, backoffCapMs } = this.#rules
    return Math.min(backoffCapMs, backoffBaseMs * 2 ** Math.min(this.#alone - 1, 30))
  }

  /** It is one record, tried often enough, and nothing tells whose fault it is. */
  get isStuck(): boolean {
    return this.#alone >= this.#rules.unfoundedTries
  }

  /** A try now would tell: others were just taken. */
  isDue(nowMs: number): boolean {
    return this.#tries > 0 && this.#isFresh(nowMs)
  }

  begins(nowMs: number): void {
    this.#followsTaken = this.#isFresh(nowMs)
  }

  /** A try that begins now follows others that were taken. */
  #isFresh(nowMs: number): boolean {
    return this.#takenAtMs !== null && nowMs - this.#takenAtMs <= this.#rules.freshMs
  }

  /**
   * Records that the sink had not seen were taken: of another stream, or of the same one before
   * this batch.
   */
  taken(nowMs: number): void {
    this.#takenAtMs = nowMs
    this.#sinceTaken = 0
  }

  /** Part of the batch was taken. */
  advanced(nowMs: number): void {
    this.taken(nowMs)
    this.#alone = 0
    if (!this.#isDivided) this.clear()
  }

  /** Nothing of what was in doubt is left. */
  clear(): void {
    this.#tries = 0
    this.#alone = 0
    this.#sinceTaken = 0
    this.#evidence = 0
    this.#isDivided = false
    this.#takenAtMs = null
    this.#followsTaken = false
  }

  /** Another stream has trouble of its own: the sink may be the cause. */
  othersFailed(): void {
    this.#evidence = 0
    this.#takenAtMs = null
    this.#followsTaken = false
  }

  /**
   * The verdict on a try, in the light of earlier ones: whether part of the batch is tried next, or
   * its one record is parked as if it had been refused.
   */
  examine(verdict: Verdict, batch: TriedBatch): Verdict {
    if (verdict.kind !== 'retry' && verdict.kind !== 'hold') return verdict
    if (batch.isBeyondDoubt || !speaksOfContent(verdict)) {
      this.othersFailed()
      return { ...verdict, divide: false }
    }
    this.#weigh()
    this.#tries++
    this.#sinceTaken++
    if (batch.recordCount === 1) {
      this.#alone++
      const { aloneTries, evidence } = this.#rules
      if (this.#evidence < evidence || this.#alone < aloneTries)
        return { ...verdict, divide: false }
      const detail = `${verdict.detail}, again and again, while records around it were taken`
      return park('refused', batch.lastSeq, verdict.code, detail)
    }
    const isTimedOut = verdict.kind === 'retry' && verdict.divide
    this.#isDivided ||= isTimedOut || this.#tries >= this.#triesWhole(verdict)
    return { ...verdict, divide: this.#isDivided }
  }

  /** So often a batch is tried as it is. */
  #triesWhole({ kind, scope }: Failure): number {
    const { holdTries, sinkTries, streamTries } = this.#rules
    if (kind === 'hold') return holdTries
    return scope === 'sink' ? sinkTries : streamTries
  }

  /** Counts what the sink took right before this try as evidence, once. */
  #weigh(): void {
    // Only between tries: the first failure after a success is how an outage begins.
    if (this.#tries > 0 && this.#followsTaken) this.#evidence++
    this.#takenAtMs = null
    this.#followsTaken = false
  }
}

/** Could it be about what was sent? Not what asks to wait. */
function speaksOfContent(verdict: Failure): boolean {
  if (verdict.kind === 'retry') return verdict.retryAfterMs === null && !verdict.throttled
  return verdict.reason !== 'clone'
}
