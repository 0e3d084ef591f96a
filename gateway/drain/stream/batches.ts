/**
 * The batches of one stream: what is sent next, its pin, its bytes. Shows I4: a batch is pinned
 * durably before its first send, and what is pinned is sent again before anything else. Decides
 * nothing about answers (answers.ts).
 */
import type { BatchEncoder } from '../../ports/sink.ts'
import {
  type Bounds,
  isSameBatch,
  type LoadedBatch,
  type Pin,
  type Run,
  type StreamQueue,
} from '../../ports/stream-queue.ts'
import type { Clock } from '../clock.ts'
import {
  type BatchLimits,
  boundsOf,
  clipRuns,
  lingerLeftMs,
  type Plan,
  planBatch,
  takeRecords,
} from '../policy/batcher.ts'
import { allSuspects, firstHalf, nextPiece } from '../policy/refusals.ts'

/** Runs asked for at first; four times as many as long as they do not fill a batch. */
const FIRST_RUNS = 64

interface StreamBatchesOptions {
  readonly queue: StreamQueue
  readonly encoder: BatchEncoder
  readonly lingerMs: number
  readonly limits: () => BatchLimits
  /** Of the configuration. */
  readonly configured: BatchLimits
  /**
   * Of a batch in doubt, single records are wanted that the sink takes right before the rest is
   * tried again.
   */
  readonly wantsEvidence: () => boolean
  readonly clock: Clock
}

export class StreamBatches {
  readonly #queue: StreamQueue
  readonly #options: StreamBatchesOptions
  /** When the pin in memory is durable. null: it was there at the start. */
  #durable: Promise<void> | null = null
  /** The pin's commit failed, or nobody knows: it is noted once more before it is sent. */
  #doubtful = false
  #loaded: LoadedBatch | null = null
  /**
   * Some of the pinned records may have reached the sink. One that was there at the start may have
   * been sent.
   */
  #mayHaveArrived = true
  /** The same, before the try that is going on. */
  #hadArrived = true
  /**
   * Records returned to their place in a commit that may be under way: their copies are read only
   * after it.
   */
  #hasNewCopies = false
  /** A record among those from the head through this one was refused together with others. */
  #suspectLastSeq: number | null = null
  /** It was not refused: it came to nothing, and one of its records may be why. */
  #isDoubted = false
  /** Of the suspect range: one was refused; and the largest piece that was taken, bytes. */
  #foundRefused = false
  #takenBytes = 0
  /** First record of the plan that lingers, and since when. */
  #lingering: { readonly spoolId: string; readonly seq: number; readonly sinceMs: number } | null =
    null

  constructor(options: StreamBatchesOptions) {
    const { configured, encoder, queue } = options
    this.#queue = queue
    this.#options = options
    if (!queue.isAwaited) return
    const plan = (runs: readonly Run[]): Bounds | null =>
      planBatch(runs, options.limits())?.bounds ?? null
    queue.pinWithCommits(plan, encoder, configured)
  }

  /** The batch in flight, or planned now; null: nothing is pending. */
  plan(): Plan | null {
    if (this.#queue.pendingRecords === 0) return null
    const limits = this.#options.limits()
    for (let limit = FIRST_RUNS; ; limit *= 4) {
      const runs = this.#queue.ahead(limit)
      const plan = planBatch(runs, limits)
      if (plan === null || plan.full || runs.length < limit) return plan
    }
  }

  /**
   * How long the next batch still waits for company, ms; null: there is none. A pinned one never
   * waits.
   */
  lingerLeftMs(nowMs: number): number | null {
    if (this.#queue.pin) return 0
    if (this.#awaitsPin()) return null
    const plan = this.plan()
    if (plan === null) return null
    const { spoolId, firstSeq: seq } = plan.bounds
    if (this.#lingering?.spoolId !== spoolId || this.#lingering.seq !== seq) {
      this.#lingering = { spoolId, seq, sinceMs: nowMs }
    }
    const waitedMs = nowMs - this.#lingering.sinceMs
    return lingerLeftMs(plan, this.#options.lingerMs, waitedMs, this.#options.clock.wallMs())
  }

  /**
   * Begins the next try: pins a batch if none is, and reads it while the pin's commit is under way.
   * Synchronous up to the pin, so that it rides in the commit of a settle made just before. null:
   * nothing is pending. The promise gives null if the batch was dissolved (a damaged block),
   * rejects if the spool cannot read.
   */
  begin(): { readonly pin: Pin; readonly ready: Promise<LoadedBatch | null> } | null {
    if (this.#awaitsPin()) return null
    const plan = this.#queue.pin ? null : this.plan()
    if (plan !== null) {
      const { spoolId, firstSeq } = plan.bounds
      const wasSent = firstSeq <= this.#queue.highestSentSeq(spoolId)
      this.pin(plan.bounds)
      this.#mayHaveArrived = wasSent
    } else if (!this.#mayHaveArrived) {
      this.#expirePin()
    }
    const pin = this.#pinInForm()
    if (pin === null) return null
    this.#queue.guardPin(true)
    if (this.#doubtful) {
      this.#doubtful = false
      this.#durable = this.#watch(this.#queue.split(pin).durable)
    }
    const known = this.#knows(pin) ? this.#loaded : null
    const ready = this.#read(pin, known, this.#durable)
    return { pin, ready }
  }

  /** An outage may have lasted longer than records of the batch are of use. */
  #expirePin(): void {
    const expired = this.#queue.expirePin()
    if (expired === null) return
    this.#loaded = null
    this.#durable = this.#watch(expired.durable)
  }

  /** A batch that was pinned for another form, or another sink, goes out in this one's. */
  #pinInForm(): Pin | null {
    const { pin } = this.#queue
    const { encoder } = this.#options
    if (pin === null || pin.fingerprint === encoder.fingerprint) return pin
    const reencoded = this.#queue.reencode(encoder)
    this.#loaded = null
    this.#durable = this.#watch(reencoded.durable)
    return reencoded.pin
  }

  /**
   * Devices wait for the stream, and nothing is pinned: the next commit pins what is pending, and what
   * comes until then, so that nothing waits for a commit twice.
   */
  #awaitsPin(): boolean {
    if (!this.#queue.isAwaited || this.#queue.pin !== null) return false
    if (this.#queue.pendingRecords > 0) this.#queue.awaitPin()
    return true
  }

  async #read(
    pin: Pin,
    known: LoadedBatch | null,
    durable: Promise<void> | null,
  ): Promise<LoadedBatch | null> {
    if (this.#hasNewCopies) await durable
    const [loaded] = await Promise.all([
      known ?? this.#queue.load(pin, this.#options.encoder),
      durable,
    ])
    this.#hasNewCopies = false
    this.#loaded = loaded
    if (loaded === null) this.#suspectLastSeq = null
    return loaded
  }

  /** As it was read, what was noted of it included. */
  #knows(pin: Pin): boolean {
    const known = this.#loaded?.pin
    return known !== undefined && isSameBatch(known, pin) && known.note === pin.note
  }

  /** The batch goes out now. */
  sends(): void {
    this.#hadArrived = this.#mayHaveArrived
    this.#mayHaveArrived = true
  }

  /** It did not: no connection came about. */
  neverLeft(): void {
    this.#mayHaveArrived = this.#hadArrived
  }

  /** No try is going on: what never arrived is retention's again. */
  rests(): void {
    this.#queue.guardPin(this.#mayHaveArrived)
  }

  /**
   * Fixes the next batch in the open commit. Only without a pin. Some of it may have been sent
   * before.
   */
  pin(bounds: Bounds): void {
    this.#mayHaveArrived = true
    this.#loaded = null
    this.#lingering = null
    this.#doubtful = false
    this.#durable = this.#watch(
      this.#queue.pinBatch(bounds, this.#options.encoder, this.#options.configured).durable,
    )
  }

  /**
   * Pins what is next, if anything is, so that what was sent once stays protected until it is
   * settled.
   */
  pinNext(): void {
    const plan = this.plan()
    if (plan !== null) this.pin(plan.bounds)
  }

  /**
   * After a settle that left something of its batch: the remainder is a new batch in the same
   * commit. Of a batch that was split it is the next piece; else later records may join, unless
   * `alone`. False: nothing is left of it.
   */
  pinRest(settled: Pin, throughSeq: number, alone: boolean): boolean {
    const outer = { spoolId: settled.spoolId, lastSeq: settled.outerLastSeq }
    if (throughSeq < outer.lastSeq) {
      const divided =
        alone || settled.outerLastSeq > settled.lastSeq || this.#suspectLastSeq !== null
      const limits = this.#options.limits()
      const runs = this.#runsThrough(outer)
      // All that is left in doubt, if the sink just took a record of it: to see whether it takes
      // that, too.
      const isWhole = this.#isDoubted && this.#options.wantsEvidence()
      const piece = isWhole
        ? allSuspects(runs, outer, this.#suspectLastSeq, limits)
        : nextPiece(runs, outer, this.#suspectLastSeq, limits)
      const bounds = divided || piece === null ? piece : (this.plan()?.bounds ?? null)
      if (bounds !== null) {
        this.pin(bounds)
        return true
      }
    }
    this.#suspectLastSeq = null
    this.#isDoubted = false
    return false
  }

  /** Are records in doubt, or known to hold a refused one? */
  isSuspect(spoolId: string): boolean {
    if (this.#suspectLastSeq === null) return false
    const first = this.#queue.ahead(1)[0]
    if (first === undefined) return false
    return first.spoolId === spoolId && first.firstSeq <= this.#suspectLastSeq
  }

  /** The pinned batch, of two records or more, came to nothing again: what of it is tried next. */
  divide(): void {
    const { pin } = this.#queue
    if (pin === null || pin.recordCount < 2) return
    this.#suspectLastSeq = pin.lastSeq
    this.#isDoubted = true
    this.#loaded = null
    const runs = this.#runsThrough(pin)
    const first = this.#options.wantsEvidence() ? boundsOf(takeRecords(runs, 1)) : firstHalf(runs)
    this.#durable = this.#watch(this.#queue.split(first).durable)
  }

  /**
   * A piece was judged. If all pieces of a range that was refused as a whole were taken, it was its
   * size: gives the bytes of the largest one; else null.
   */
  judged({ pin, batch }: LoadedBatch, refused: boolean): number | null {
    if (this.#suspectLastSeq === null || this.#isDoubted) return null
    if (refused) this.#foundRefused = true
    else this.#takenBytes = Math.max(this.#takenBytes, batch.rawBytes)
    const isOver = pin.lastSeq >= this.#suspectLastSeq && !this.#foundRefused
    return isOver && this.#takenBytes > 0 ? this.#takenBytes : null
  }

  /**
   * A batch in flight that is over the limits of today is cut to them, as a split: the whole of it
   * stays pinned.
   */
  fitPin(): void {
    const { pin } = this.#queue
    const { maxRecords, maxBytes } = this.#options.configured
    if (pin?.limits === undefined) return
    if (maxRecords >= pin.limits.maxRecords && maxBytes >= pin.limits.maxBytes) return
    const fit = planBatch(this.#runsThrough(pin), this.#options.limits())
    if (fit === null || fit.bounds.recordCount >= pin.recordCount) return
    this.#durable = this.#watch(this.#queue.split(fit.bounds).durable)
  }

  /**
   * Halves the pinned batch, of two records or more. `suspect`: one was refused; false: it was too
   * large.
   */
  split(suspect: boolean): void {
    const { pin } = this.#queue
    if (pin === null) throw new Error(`stream ${this.#queue.stream} has no batch to split`)
    if (suspect) {
      this.#isDoubted = false
      this.#suspectLastSeq = pin.lastSeq
      this.#foundRefused = false
      this.#takenBytes = 0
    }
    this.#loaded = null
    this.#durable = this.#watch(this.#queue.split(firstHalf(this.#runsThrough(pin))).durable)
  }

  /** Parked records went back to their place, the pin is gone. */
  forget(): void {
    this.#hasNewCopies = true
    this.#loaded = null
    this.#suspectLastSeq = null
    this.#isDoubted = false
    this.#lingering = null
  }

  /** The spool failed while the batch was made ready. */
  failed(): void {
    this.#loaded = null
    this.#doubtful = this.#queue.pin !== null
  }

  /** Is this still the batch in flight? A spool that had to be reopened may have fallen back. */
  isCurrent(loaded: LoadedBatch): boolean {
    return this.#queue.pin !== null && isSameBatch(this.#queue.pin, loaded.pin)
  }

  #runsThrough(outer: { readonly spoolId: string; readonly lastSeq: number }): Run[] {
    for (let limit = FIRST_RUNS; ; limit *= 4) {
      const runs = this.#queue.ahead(limit)
      const clipped = clipRuns(runs, outer.spoolId, outer.lastSeq)
      if (runs.length < limit || clipped.length < runs.length) return clipped
    }
  }

  /** A rejection also reaches what awaits the promise, unless the pin was replaced before. */
  #watch(durable: Promise<void>): Promise<void> {
    durable.catch(() => {
      if (this.#durable === durable) this.#doubtful = true
    })
    return durable
  }
}
