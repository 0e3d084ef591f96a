/**
 * Refused records of one stream: parked, made dead letters once a later record was accepted, or
 * returned to their place when the sink refuses too much to be believed (I8, I9), or when devices
 * wait for them and nothing comes behind them. Settles what a
 * verdict says, and knows the two holds that refusals bring about: `refusals` and
 * `dead-letters-full`.
 *
 * When a refusal is believed is decided in parking.ts; what a settlement holds in settlement.ts.
 */
import type { Pin, StreamQueue } from '../../ports/stream-queue.ts'
import type { Clock } from '../clock.ts'
import type { EmitDrainEvent } from '../events.ts'
import {
  type Acceptance,
  chooseDeadLetters,
  isRipe,
  JudgedWindow,
  weigh,
} from '../policy/parking.ts'
import type { HoldReason } from '../policy/retry-policy.ts'
import type { DrainRules } from '../policy/rules.ts'
import type { StreamBatches } from './batches.ts'
import type { StreamHold } from './hold.ts'
import { SET_ASIDE } from './park.ts'
import {
  reportDeadLetters,
  reportParked,
  type SettlingVerdict,
  settlementOf,
} from './settlement.ts'

interface RefusedRecordsOptions {
  readonly queue: StreamQueue
  readonly sink: string
  readonly batches: StreamBatches
  readonly hold: StreamHold
  readonly maxRefusedShare: number
  readonly rules: DrainRules
  readonly emit: EmitDrainEvent
  readonly clock: Clock
  /** Sees to it that a commit is waited for and its failure told. */
  readonly keep: (durable: Promise<void>) => void
}

export class RefusedRecords {
  readonly #o: RefusedRecordsOptions
  readonly #queue: StreamQueue
  readonly #batches: StreamBatches
  readonly #hold: StreamHold
  readonly #window: JudgedWindow
  readonly #who: { readonly sink: string; readonly stream: string }
  #accepted: Acceptance | null = null
  /** When a record was last refused; monotonic, ms. */
  #refusedAtMs = Number.NEGATIVE_INFINITY
  /** Since when nothing was taken behind what is parked; wall clock, ms. */
  #parkedSinceMs: number | null = null
  /** A full round of halving that an operator asked for: no limit ends it. */
  #round: { acked: boolean } | null = null

  constructor(options: RefusedRecordsOptions) {
    this.#o = options
    this.#queue = options.queue
    this.#batches = options.batches
    this.#hold = options.hold
    this.#window = new JudgedWindow(options.rules.judgedWindow)
    this.#who = { sink: options.sink, stream: options.queue.stream }
  }

  /** Takes up the hold of the last run. */
  start(): void {
    this.#accepted = this.#hold.start()
    // A round was cut off, or the commit of the hold: the order of the queue comes first.
    if (this.#hold.reason === 'refusals' && this.#queue.parked.length > 0) this.returnParked()
  }

  /** The stream is held, and no round that an operator asked for is going on. */
  get isHeld(): boolean {
    return this.#hold.reason !== null && this.#round === null
  }

  /** The verdict, as far as its refusals are believed. */
  believe(verdict: SettlingVerdict, { spoolId }: Pin): SettlingVerdict {
    const acked = verdict.kind === 'acked' ? verdict.acked : 0
    // A probe of a sink that refuses too much counts for nothing unless it acks something.
    if (this.#hold.reason === 'refusals' && this.isHeld && acked === 0) {
      return { ...verdict, runs: [] }
    }
    const unripe = this.#queue.parked.filter(
      (record) => !isRipe(record, this.#accepted, spoolId),
    ).length
    const { maxRefusedShare, rules } = this.#o
    const lifted = this.#round !== null
    const suspicion = { window: this.#window, unripe, maxRefusedShare, lifted }
    return { ...verdict, ...weigh(verdict.runs, suspicion, rules) }
  }

  /**
   * Settles what is believed, makes dead letters of what is ripe, pins the rest; holds the stream
   * if the sink refuses too much. `lines`: of the refused records, in their order. False: nothing
   * of the batch is in flight any longer, everything is back in its place.
   */
  settle(verdict: SettlingVerdict, lines: readonly Uint8Array[]): boolean {
    const { pin } = this.#queue
    if (pin === null) return false
    const { spoolId } = pin
    const lastAcked = verdict.runs.findLast((run) => run.kind === 'acked')
    if (lastAcked !== undefined) this.#accepted = { spoolId, seq: lastAcked.lastSeq }
    const { settlement, withoutRoom } = settlementOf({
      pin,
      verdict,
      lines,
      parked: this.#queue.parked,
      accepted: this.#accepted,
      hasRoom: (bytes, letters) => this.#queue.hasDeadLetterRoom(bytes, letters),
      letterBytes: (refusal) => this.#queue.deadLetterBytes(refusal),
    })
    if (settlement !== null) {
      const { refused, deadLetter, deadLetterEarlier = [] } = settlement
      const tooLarge = verdict.kind === 'park' && verdict.why === 'too-large'
      this.#o.keep(this.#queue.settle(settlement))
      if (refused.length > 0) this.#refusedAtMs = this.#o.clock.monotonicMs()
      if (lastAcked !== undefined) this.#parkedSinceMs = null
      if (refused.length > 0) this.#parkedSinceMs ??= this.#o.clock.wallMs()
      reportParked(refused, { ...this.#who, spoolId }, tooLarge, this.#o.emit)
      const dead = [...deadLetterEarlier.map(({ seq }) => seq), ...deadLetter]
      reportDeadLetters(dead, this.#who, this.#o.emit)
    }
    if (verdict.distrust !== null && withoutRoom === 0) {
      this.#holdForRefusals(verdict.distrust)
      return false
    }
    const throughSeq = settlement?.throughSeq ?? pin.firstSeq - 1
    const isLeft = this.#queue.pin !== null || this.#pinRest(pin, throughSeq)
    if (withoutRoom > 0) this.beginHold('dead-letters-full', null, noRoomFor(withoutRoom))
    if (!isLeft) this.#endRound()
    return true
  }

  #pinRest(pin: Pin, throughSeq: number): boolean {
    return this.#batches.pinRest(pin, throughSeq, this.#round !== null)
  }

  /** All records of the pin had expired by the word of their device: nothing of it is sent. */
  passExpired(pin: Pin): void {
    const { lastSeq, outerLastSeq } = pin
    const settled = this.#queue.settle({
      throughSeq: lastSeq,
      refused: [],
      deadLetter: [],
      gapsReported: false,
      keepOuterLastSeq: outerLastSeq > lastSeq ? outerLastSeq : null,
    })
    this.#o.keep(settled)
    if (!this.#pinRest(pin, lastSeq)) this.#endRound()
  }

  /** The sink acked something: a round that goes on has found out that it does. */
  acked(): void {
    if (this.#round === null) return
    this.#round.acked = true
    this.#hold.end()
  }

  beginHold(reason: HoldReason, code: string | null, detail: string): void {
    this.#round = null
    this.#hold.begin(reason, code, detail, this.#accepted)
  }

  #holdForRefusals(why: string): void {
    this.#window.clear()
    this.#round = null
    const last = this.#queue.parked.at(-1)
    const reason = last === undefined ? '' : ` (the last: ${last.reason})`
    this.returnParked()
    const detail = `the sink ${why}${reason}; nothing is given up, a probe goes out every minute`
    this.beginHold('refusals', null, detail)
  }

  /**
   * Parked records go back to their place, and the lowest batch is pinned in the same commit: it is
   * the probe.
   */
  returnParked(): void {
    const records = this.#queue.parked.length
    this.#o.keep(this.#queue.returnParked())
    this.#batches.forget()
    this.#batches.pinNext()
    if (records > 0) this.#o.emit({ type: 'drain.parked-returned', ...this.#who, records })
  }

  /**
   * When parked records are tried again, monotonic ms; null: they are not. Devices that wait for
   * their acks (`ack: delivered`) may publish nothing more, so no later record would show whose
   * fault the refusal was, and nothing would show that the sink is well again.
   */
  get againAtMs(): number | null {
    const { isAwaited, parked, pendingRecords, pin } = this.#queue
    if (!isAwaited || parked.length === 0 || pendingRecords > 0 || pin !== null) return null
    if (this.#hold.reason !== null || parked.some(({ reason }) => reason === SET_ASIDE)) return null
    return this.#refusedAtMs + this.#o.rules.probeMs
  }

  /** Of what is parked and tried again, for people; null: nothing is. */
  get stranded(): { readonly sinceMs: number | null; readonly detail: string } | null {
    if (this.againAtMs === null) return null
    const { parked } = this.#queue
    const reason = parked.at(-1)?.reason ?? ''
    const detail = `the sink refused ${parked.length} records (${reason}) and took none behind them; devices wait for their acks, they are tried again every minute`
    return { sinceMs: this.#parkedSinceMs, detail }
  }

  /** {@link againAtMs} has come, or an operator asks for it. */
  tryAgain(): void {
    // The same records over and over say nothing new of the sink.
    this.#window.clear()
    this.returnParked()
  }

  /** Also what is parked is due now. */
  probeNow(): void {
    this.#refusedAtMs = Number.NEGATIVE_INFINITY
  }

  /** One full round of halving. Not while a request is in progress. */
  beginRound(): void {
    if (this.#hold.reason !== 'refusals' || this.#round !== null) return
    this.returnParked()
    if (this.#queue.pin !== null) this.#round = { acked: false }
  }

  /** The whole range of the round was judged. */
  #endRound(): void {
    const round = this.#round
    this.#round = null
    if (round === null || round.acked || this.#hold.reason === null) return
    this.#hold.extend(null)
    this.returnParked()
  }

  /**
   * Ripe records become dead letters, oldest first, as far as there is room again. True: none is
   * left over, and the hold ends. All at once they may never have room, so it is not waited for.
   */
  findRoom(): boolean {
    const spoolId = this.#accepted?.spoolId ?? ''
    const letters = chooseDeadLetters(this.#queue.parked, this.#accepted, spoolId, (bytes, count) =>
      this.#queue.hasDeadLetterRoom(bytes, count),
    )
    const dead = [...letters.earlier, ...letters.seqs.map((seq) => ({ spoolId, seq }))]
    if (dead.length > 0) {
      this.#o.keep(this.#queue.bury(dead))
      reportDeadLetters(
        dead.map(({ seq }) => seq),
        this.#who,
        this.#o.emit,
      )
    }
    if (letters.left === 0) this.#hold.end()
    else if (dead.length > 0 || this.#hold.nextProbeAtMs <= this.#o.clock.monotonicMs()) {
      this.#hold.extend(noRoomFor(letters.left))
    }
    return letters.left === 0
  }
}

function noRoomFor(records: number): string {
  return `${records} refused records have no room among the dead letters; requeue or purge some`
}
