/**
 * The decisions about age and waits, without IO, in a made-up world: boots, restarts, pauses of the
 * process and of the box, and a wall clock that jumps as it likes. The world knows the truth.
 * Thousands of runs a second.
 */
import assert from 'node:assert/strict'
import { Random } from '../../../device-sim/random.ts'
import { DrainNotes } from '../../../gateway/drain/notes.ts'
import { lingerLeftMs } from '../../../gateway/drain/policy/batcher.ts'
import { doomedBlocks } from '../../../gateway/spool/retention/retention.ts'
import { BlockIndex } from '../../../gateway/spool/stream/block-index.ts'
import { newStreamState } from '../../../gateway/spool/stream/state.ts'
import { skipBlocks } from '../../../gateway/spool/stream/transitions.ts'
import { SpoolTime, type SpoolTimeMark } from '../../../gateway/spool/time/spool-time.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

/** Times in marks and blocks are whole ms; each mark that a restart goes on from may round once. */
const ROUNDING_MS = 2
const MAX_WAIT_MS = 3_600_000

interface Aged {
  readonly ordinal: number
  /** Really, since it was taken. */
  truthMs: number
  /**
   * What the promise counts of it: not the time between a mark and a power cut, nor that of a box
   * that is off.
   */
  countedMs: number
}

export interface AgeTotals {
  jumps: number
  restarts: number
  reboots: number
  /** Blocks that retention removed, and those that were looked at and stayed. */
  expired: number
  kept: number
}

class World {
  readonly clock = new VirtualClock()
  readonly #random: Random
  readonly #maxAgeMs: number
  readonly #totals: AgeTotals
  readonly #state = newStreamState('telemetry', 1, { spoolId: 's', gateway: 'g' })
  readonly #index = new BlockIndex()
  #blocks: Aged[] = []
  #time: SpoolTime
  #mark: SpoolTimeMark | null = null
  /** What has been counted since the mark: a power cut takes it. */
  #sinceMarkMs = 0
  #restarts = 0
  readonly #notes = new Map<string, string>()
  /** What the sink asked for; and when it was, really and in this boot. */
  #wait: { readonly ms: number; truthMs: number; bootMs: number } | null = null

  constructor(random: Random, totals: AgeTotals) {
    this.#random = random
    this.#totals = totals
    this.#maxAgeMs = 1_000 * 10 ** random.below(5)
    this.#time = new SpoolTime(this.clock, null)
  }

  step(): void {
    const random = this.#random
    const kind = random.below(10)
    if (kind < 3) this.#passes(random.exponential(4 / this.#maxAgeMs), true)
    else if (kind < 5) this.#takes()
    else if (kind === 5) this.#marks()
    else if (kind === 6) this.#jumps()
    else if (kind === 7) this.#restartsAfter(random.exponential(4 / this.#maxAgeMs))
    else if (kind === 8) this.#reboots(random.exponential(1 / this.#maxAgeMs))
    else this.#waits()
    this.#retention()
    this.#judgeWait()
  }

  #passes(ms: number, marksLost: boolean): void {
    this.clock.advance(ms)
    for (const block of this.#blocks) {
      block.truthMs += ms
      block.countedMs += ms
    }
    if (marksLost) this.#sinceMarkMs += ms
    if (this.#wait) {
      this.#wait.truthMs += ms
      this.#wait.bootMs += ms
    }
  }

  /** The commit that carries a block carries a mark. */
  #takes(): void {
    const ordinal = this.#index.nextOrdinal
    const spoolTimeMs = this.#time.nowMs()
    const size = { count: 1, rawBytes: 100, storedBytes: 100 }
    const place = { commit: ordinal + 1, index: 0, identity: 0, firstSeq: ordinal + 1 }
    this.#index.push({ ...place, ...size, oldestMs: this.clock.wallMs(), spoolTimeMs })
    this.#blocks.push({ ordinal, truthMs: 0, countedMs: 0 })
    this.#marks()
  }

  #marks(): void {
    this.#mark = this.#time.mark()
    this.#sinceMarkMs = 0
  }

  #jumps(): void {
    this.#totals.jumps++
    const years = (this.#random.next() * 120 - 60) * 365
    this.clock.setWall(Math.max(0, Date.UTC(2026, 10, 23) + years * 86_400_000))
  }

  /**
   * Within one boot the time between a mark and the kill is not lost: the monotonic clock goes on.
   */
  #restartsAfter(pauseMs: number): void {
    this.#totals.restarts++
    this.#restarts++
    this.clock.killTimers()
    this.#passes(pauseMs, false)
    this.#time = new SpoolTime(this.clock, this.#mark, this.#newestMs())
    this.#marks()
  }

  #reboots(offMs: number): void {
    this.#totals.reboots++
    this.#restarts++
    for (const block of this.#blocks) {
      block.truthMs += offMs
      block.countedMs = Math.max(0, block.countedMs - this.#sinceMarkMs)
    }
    if (this.#wait) {
      this.#wait.truthMs += offMs
      this.#wait.bootMs = 0
    }
    this.clock.reboot()
    // Another box may have been up for long.
    if (this.#random.chance(0.5)) this.clock.advance(this.#random.next() * 100 * 86_400_000)
    this.#time = new SpoolTime(this.clock, this.#mark, this.#newestMs())
    this.#marks()
  }

  #newestMs(): number {
    return this.#index.tail.reduce((newest, { spoolTimeMs }) => Math.max(newest, spoolTimeMs), 0)
  }

  #retention(): void {
    const nowMs = this.#time.nowMs()
    const isOld = ({ spoolTimeMs }: { spoolTimeMs: number }): boolean =>
      spoolTimeMs + this.#maxAgeMs < nowMs
    const doomed = new Set(
      doomedBlocks(this.#state, this.#index, this.#state.head.ordinal, isOld).map(
        ({ ordinal }) => ordinal,
      ),
    )
    const slackMs = ROUNDING_MS * (1 + this.#restarts)
    for (const { ordinal, truthMs, countedMs } of this.#blocks) {
      const ages = `really ${truthMs} ms, counted ${countedMs} ms, of ${this.#maxAgeMs} ms`
      if (doomed.has(ordinal)) {
        assert(truthMs > this.#maxAgeMs - slackMs, `I8: expired too young: ${ages}`)
        assert(countedMs > this.#maxAgeMs - slackMs, `expired by time that does not count: ${ages}`)
        this.#totals.expired++
      } else {
        assert(countedMs < this.#maxAgeMs + slackMs, `it should have expired: ${ages}`)
        this.#totals.kept++
      }
    }
    this.#blocks = this.#blocks.filter(({ ordinal }) => !doomed.has(ordinal))
    for (const ordinal of doomed) skipBlocks(this.#state, ordinal, ordinal + 1)
  }

  get #drainNotes(): DrainNotes {
    const store = {
      get: (key: string) => this.#notes.get(key) ?? null,
      set: async (key: string, value: string | null) => {
        if (value === null) this.#notes.delete(key)
        else this.#notes.set(key, value)
      },
    }
    return new DrainNotes(store, this.clock, () => undefined)
  }

  #waits(): void {
    const ms = this.#random.below(MAX_WAIT_MS)
    this.#drainNotes.setWait('cloud', ms)
    this.#wait = { ms, truthMs: 0, bootMs: 0 }
  }

  /** Never sooner than asked; never longer than asked, from the boot on. */
  #judgeWait(): void {
    if (this.#wait === null) return
    const { ms, truthMs, bootMs } = this.#wait
    const leftMs = this.#drainNotes.waitLeftMs('cloud', MAX_WAIT_MS)
    assert(leftMs >= ms - truthMs - ROUNDING_MS, `${leftMs} ms left of ${ms} after ${truthMs}`)
    assert(leftMs <= ms, `${leftMs} ms left of ${ms}`)
    if (bootMs === truthMs) {
      const wantedMs = Math.max(0, ms - truthMs)
      assert(Math.abs(leftMs - wantedMs) < ROUNDING_MS, `${leftMs} ms left, not ${wantedMs}`)
    }
    this.#judgeLinger(leftMs)
  }

  /** Whatever the wall clock says, a batch waits for company no longer than `linger`. */
  #judgeLinger(waitedMs: number): void {
    const bounds = { spoolId: 's', firstSeq: 1, lastSeq: 1, recordCount: 1 }
    const receivedAtMs = Math.max(0, this.clock.wallMs() + (this.#random.next() - 0.5) * 4e12)
    const plan = { bounds, rawBytes: 1, full: false, receivedAtMs }
    const leftMs = lingerLeftMs(plan, 1_000, waitedMs, this.clock.wallMs())
    assert(leftMs >= 0 && leftMs <= Math.max(0, 1_000 - waitedMs), `it lingers for ${leftMs} ms`)
  }
}

/** @throws with the seed when something is judged wrongly */
export function ageRun(seed: string, steps: number, totals: AgeTotals): void {
  const random = new Random(seed, 'ages')
  const world = new World(random, totals)
  try {
    for (let i = 0; i < steps; i += 1) world.step()
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
}

export function ageTotals(): AgeTotals {
  return { jumps: 0, restarts: 0, reboots: 0, expired: 0, kept: 0 }
}
