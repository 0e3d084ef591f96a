/**
 * Days of streams that share one sink: backlogs come and go, batches are of all sizes. Any stream
 * that waits through 10 n batches in a row gets its promised share of their bytes; judged where
 * batches are of one size: of uneven ones a number of batches says little. What the promise leaves
 * belongs to the first priority.
 */
import type { Random } from '../../../device-sim/random.ts'
import { promisedShare, Scheduler } from '../../../gateway/drain/policy/scheduler.ts'
import { DAY_MS, Faults, type Simulated } from './result.ts'

export type Scheduling = Pick<Scheduler, 'pick' | 'served'>

interface Stream {
  readonly name: string
  readonly priority: number
  readonly meanBytes: number
  backlogBytes: number
  /** Number of the batch since which it has had a backlog; null: it has none. */
  since: number | null
}

interface Batch {
  readonly stream: Stream
  readonly bytes: number
}

/** Windows in which the first priority is looked at, in batches for each stream. */
const PRIORITY_WINDOW = 40
/**
 * A stream with credit goes first: half as much again as is promised, and at most four batches
 * saved up, and the last one.
 */
const GENEROSITY = 1.5
const SAVED_BATCHES = 5
/** The largest batch of a stream, relative to its mean. */
const UNEVEN_MOST = 1.8
/** A slow link: of the stream with the largest batches. */
const SECONDS_PER_BATCH = 30

export function simulateScheduling(
  random: Random,
  days: number,
  newScheduler: (streams: readonly Stream[]) => Scheduling = (streams) => new Scheduler(streams),
): Simulated {
  const isUneven = random.chance(0.5)
  const count = 1 + random.below(8)
  const streams = Array.from({ length: count }, (_, i) => ({
    name: `s${i}`,
    priority: i,
    meanBytes: isUneven ? 10 ** random.between(2, 6) : 50_000,
    backlogBytes: 0,
    since: null,
  }))
  const sink = new SharedSink(streams, newScheduler(streams), random, isUneven)
  while (sink.nowMs < days * DAY_MS) sink.step()
  return { days, decisions: sink.batches, faults: sink.faults.list }
}

class SharedSink {
  nowMs = 0
  batches = 0
  readonly faults = new Faults()
  readonly #streams: readonly Stream[]
  readonly #scheduler: Scheduling
  readonly #random: Random
  readonly #isUneven: boolean
  readonly #msPerByte: number
  readonly #last: Batch[] = []

  constructor(
    streams: readonly Stream[],
    scheduler: Scheduling,
    random: Random,
    isUneven: boolean,
  ) {
    this.#streams = streams
    this.#scheduler = scheduler
    this.#random = random
    this.#isUneven = isUneven
    this.#msPerByte =
      (SECONDS_PER_BATCH * 1_000) / Math.max(...streams.map(({ meanBytes }) => meanBytes))
  }

  step(): void {
    const random = this.#random
    if (random.chance(0.0005)) this.#arrive()
    const ready = this.#streams.filter(({ since }) => since !== null)
    if (ready.length === 0) {
      this.nowMs += random.exponential(1 / (DAY_MS / 24))
      this.#arrive()
      return
    }
    const names = ready.map(({ name }) => name)
    const picked = this.#scheduler.pick(names)
    const stream = ready.find(({ name }) => name === picked)
    this.faults.expect(
      stream !== undefined,
      () => `batch ${this.batches}: ${picked} has nothing to send`,
    )
    if (stream === undefined) return void (this.nowMs += DAY_MS)
    const size = this.#isUneven
      ? stream.meanBytes * random.between(0.2, UNEVEN_MOST)
      : stream.meanBytes
    this.#serve(stream, size, names)
  }

  /** Some streams get a backlog: an outage is over, or a device comes back. */
  #arrive(): void {
    for (const stream of this.#streams) {
      if (!this.#random.chance(0.6)) continue
      stream.backlogBytes += stream.meanBytes * this.#random.below(200)
      if (stream.backlogBytes > 0) stream.since ??= this.batches
    }
  }

  #serve(stream: Stream, bytes: number, names: readonly string[]): void {
    this.#scheduler.served(stream.name, bytes, names)
    this.#last.push({ stream, bytes })
    if (this.#last.length > PRIORITY_WINDOW * this.#streams.length) this.#last.shift()
    this.batches += 1
    this.nowMs += bytes * this.#msPerByte
    // Looked at while it still waits.
    if (!this.#isUneven && this.batches % 7 === 0) this.#look()
    stream.backlogBytes -= bytes
    if (stream.backlogBytes <= 0) {
      stream.backlogBytes = 0
      stream.since = null
    }
  }

  #look(): void {
    const n = this.#streams.length
    const window = this.#last.slice(-10 * n)
    if (window.length < 10 * n) return
    const all = window.reduce((sum, { bytes }) => sum + bytes, 0)
    for (const stream of this.#streams) {
      if (stream.since === null || stream.since > this.batches - 10 * n) continue
      const own = window.reduce((sum, one) => sum + (one.stream === stream ? one.bytes : 0), 0)
      const owed = promisedShare(n) * all
      this.faults.expect(
        own >= owed - 1,
        () =>
          `batch ${this.batches}: ${stream.name} of ${n} got ${Math.round(own)} of ${Math.round(all)} bytes, owed ${Math.round(owed)}`,
      )
    }
    this.#lookAtFirst()
  }

  /** All others together get no more than they may have been owed. */
  #lookAtFirst(): void {
    const n = this.#streams.length
    const [first] = this.#streams
    const length = PRIORITY_WINDOW * n
    if (!first || first.since === null || first.since > this.batches - length) return
    if (this.#last.length < length) return
    const own = this.#last.filter(({ stream }) => stream === first).length
    const shares = this.#streams.map((_, others) => others * promisedShare(others + 1))
    const most = GENEROSITY * Math.max(...shares) * length + (n - 1) * SAVED_BATCHES
    this.faults.expect(
      own >= length - most,
      () =>
        `batch ${this.batches}: the first priority got ${own} of ${length} batches, others at most ${most}`,
    )
  }
}
