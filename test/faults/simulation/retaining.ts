/**
 * Days of a stream with `maxBytes` and `maxAge` under outages: blocks come, batches are pinned and
 * settled, and retention decides at each commit. Beside it a plain list of the same blocks: what
 * goes is its oldest part behind a pin that may have been sent, whole, and no block more than the
 * limit asks for (I8). And the limit holds however large a batch may be: no message waits for the
 * sink, and the stream stays within its room (I6).
 */
import type { Random } from '../../../device-sim/random.ts'
import {
  type Doomed,
  doomedBlocks,
  PINNED_SHARE,
  pinnedBlocks,
  roomBytes,
} from '../../../gateway/spool/retention/retention.ts'
import { BlockIndex, type BlockMeta } from '../../../gateway/spool/stream/block-index.ts'
import { newStreamState, type StreamState } from '../../../gateway/spool/stream/state.ts'
import {
  headInBlock,
  headPastBlock,
  pinned,
  skipBlocks,
  unpinned,
  unpinnedUnsent,
} from '../../../gateway/spool/stream/transitions.ts'
import { DAY_MS, Faults, type Simulated } from './result.ts'

/** What the simulation plays; tests plant wrong ones. */
export interface Retaining {
  readonly doomed: typeof doomedBlocks
  /** Of `maxBytes`, that a batch may cover. */
  readonly pinnedShare: number
  readonly room: typeof roomBytes
}

const RETAINING: Retaining = { doomed: doomedBlocks, pinnedShare: PINNED_SHARE, room: roomBytes }
/** Less than the share of the smallest stream. */
const MAX_BLOCK_BYTES = 2_000

interface Block {
  readonly ordinal: number
  readonly meta: BlockMeta
}

export function simulateRetaining(
  random: Random,
  days: number,
  wrong: Partial<Retaining> = {},
): Simulated {
  const stream = new RetainedStream(random, { ...RETAINING, ...wrong })
  while (stream.nowMs < days * DAY_MS) stream.step()
  return { days, decisions: stream.decisions, faults: stream.faults.list }
}

class RetainedStream {
  nowMs = 0
  decisions = 0
  readonly faults = new Faults()
  readonly #random: Random
  readonly #retain: Retaining
  readonly #maxBytes: number
  readonly #maxAgeMs: number
  readonly #state: StreamState = newStreamState('telemetry', 1, {
    spoolId: 's',
    gateway: 'edge-01',
  })
  readonly #index = new BlockIndex()
  /** All that is not settled or dropped, oldest first. */
  #blocks: Block[] = []
  #nextSeq = 1
  #isOut = false
  /** The pinned batch may have reached the sink. */
  #isPinGuarded = true
  /** Highest seq sent before it. */
  #sentBefore = 0
  /** Of the sink; often it takes all that there is. */
  readonly #maxBatchBytes: number

  constructor(random: Random, retain: Retaining) {
    this.#random = random
    this.#retain = retain
    this.#maxBatchBytes = random.chance(0.5)
      ? Number.POSITIVE_INFINITY
      : random.between(1_000, 50_000)
    this.#maxBytes = 10_000 * 2 ** random.below(6)
    this.#maxAgeMs = random.chance(0.3) ? Number.POSITIVE_INFINITY : random.between(0.1, 3) * DAY_MS
  }

  step(): void {
    const random = this.#random
    this.nowMs += random.exponential(1 / 300_000)
    if (random.chance(0.01)) this.#isOut = !this.#isOut
    this.#append()
    if (!this.#isOut || random.chance(0.02)) this.#deliver()
    this.#limit('maxAge', ({ spoolTimeMs }) => spoolTimeMs + this.#maxAgeMs < this.nowMs)
    const room = this.#retain.room(this.#maxBytes, this.#fixedBytes)
    const over = this.#storedBytes - room
    if (over > 0) this.#limit('maxBytes', (_, freed) => freed < over)
    this.faults.expect(
      this.#fixedBytes + MAX_BLOCK_BYTES <= room,
      () => `maxBytes at ${this.nowMs}: a message waits for the sink`,
    )
    this.faults.expect(
      this.#storedBytes <=
        Math.max(this.#maxBytes, this.#maxBytes * 2 * PINNED_SHARE + MAX_BLOCK_BYTES),
      () => `maxBytes at ${this.nowMs}: ${this.#storedBytes} stored, of ${this.#maxBytes}`,
    )
  }

  get #storedBytes(): number {
    return this.#blocks.reduce((sum, { meta }) => sum + meta.storedBytes, 0)
  }

  get #fixedBytes(): number {
    return this.#isPinGuarded ? pinnedBlocks(this.#state, this.#index).bytes : 0
  }

  #append(): void {
    const random = this.#random
    const count = 1 + random.below(50)
    const storedBytes = 20 + random.below(MAX_BLOCK_BYTES - 20)
    const firstSeq = this.#nextSeq
    this.#nextSeq += count
    const ordinal = this.#index.nextOrdinal
    const [oldestMs, spoolTimeMs] = [this.nowMs - 10, this.nowMs]
    const rawBytes = storedBytes * 4
    const meta = {
      commit: ordinal,
      index: 0,
      identity: 0,
      firstSeq,
      count,
      rawBytes,
      storedBytes,
      oldestMs,
      spoolTimeMs,
    }
    this.#index.push(meta)
    this.#blocks.push({ ordinal, meta })
  }

  /**
   * Settles what is pinned, whole or in part, and pins what is next: some blocks, or a slice of
   * one.
   */
  #deliver(): void {
    const random = this.#random
    const state = this.#state
    if (state.pin !== null && random.chance(0.9)) {
      const { firstSeq, lastSeq } = state.pin
      this.#settle(random.chance(0.8) ? lastSeq : firstSeq + random.below(lastSeq - firstSeq + 1))
    }
    const [first] = this.#blocks
    // Now and then nothing is sent for a while.
    if (state.pin !== null || first === undefined || random.chance(0.3)) return
    const last = this.#lastOfBatch(first)
    const firstSeq =
      first.meta.firstSeq + (first.ordinal === state.head.ordinal ? state.head.index : 0)
    const end = last.firstSeq + last.count - 1
    const lastSeq = Math.max(firstSeq, random.chance(0.5) ? end : last.firstSeq)
    const pin = {
      spoolId: 's',
      identity: 0,
      firstSeq,
      lastSeq,
      recordCount: 1,
      gapCount: 0,
      fingerprint: 'test',
    }
    this.#sentBefore = state.sent[0] ?? 0
    pinned(state, { ...pin, outerLastSeq: lastSeq })
    this.#isPinGuarded = firstSeq <= this.#sentBefore || random.chance(0.5)
  }

  /** Whole blocks, as many as the sink takes and the stream's share allows; one at least. */
  #lastOfBatch(first: Block): BlockMeta {
    const maxBytes = Math.min(this.#maxBatchBytes, this.#maxBytes * this.#retain.pinnedShare)
    let bytes = first.meta.storedBytes
    let last = first.meta
    for (const { meta } of this.#blocks.slice(1)) {
      bytes += meta.storedBytes
      if (bytes > maxBytes) break
      last = meta
    }
    return last
  }

  #settle(throughSeq: number): void {
    const state = this.#state
    unpinned(state)
    this.#isPinGuarded = true
    for (let block = this.#blocks[0]; block !== undefined; block = this.#blocks[0]) {
      const { meta } = block
      if (meta.firstSeq > throughSeq) break
      const last = meta.firstSeq + meta.count - 1
      if (last > throughSeq) {
        headInBlock(state, { identity: 0, seq: throughSeq }, throughSeq - meta.firstSeq + 1)
        break
      }
      headPastBlock(state, { identity: 0, seq: last })
      this.#blocks.shift()
    }
    this.#index.release(state.head.ordinal)
  }

  #limit(limit: string, wanted: (meta: BlockMeta, freedBytes: number) => boolean): void {
    this.decisions += 1
    const state = this.#state
    const { end } = pinnedBlocks(state, this.#index)
    const from = this.#isPinGuarded ? end : state.head.ordinal
    const doomed = this.#retain.doomed(state, this.#index, from, wanted)
    this.#judge(limit, doomed, wanted)
    if (doomed.some(({ ordinal }) => ordinal < end)) {
      unpinnedUnsent(state, this.#sentBefore)
      this.#isPinGuarded = true
    }
    const gone = new Set(doomed.map(({ ordinal }) => ordinal))
    for (const ordinal of gone) skipBlocks(this.#state, ordinal, ordinal + 1)
    this.#blocks = this.#blocks.filter(({ ordinal }) => !gone.has(ordinal))
    this.#index.release(this.#state.head.ordinal)
  }

  #judge(
    limit: string,
    doomed: readonly Doomed[],
    wanted: (meta: BlockMeta, freedBytes: number) => boolean,
  ): void {
    const { head, sent } = this.#state
    const isFree = ({ meta }: Block): boolean =>
      !this.#isPinGuarded || meta.firstSeq > (sent[0] ?? 0)
    const free = this.#blocks.filter(isFree)
    let freed = 0
    const expected: Block[] = []
    for (const block of free) {
      if (!wanted(block.meta, freed)) break
      expected.push(block)
      freed += block.meta.storedBytes
    }
    const ordinals = (blocks: readonly { readonly ordinal: number }[]): string =>
      blocks.map(({ ordinal }) => ordinal).join()
    this.faults.expect(
      ordinals(doomed) === ordinals(expected),
      () =>
        `${limit} at ${this.nowMs}: drops blocks ${ordinals(doomed)}, not ${ordinals(expected)}`,
    )
    for (const { ordinal, meta, firstSeq, count } of doomed) {
      const settled = ordinal === head.ordinal ? head.index : 0
      const isWhole = firstSeq === meta.firstSeq + settled && count === meta.count - settled
      this.faults.expect(
        isWhole,
        () => `${limit} at ${this.nowMs}: counts ${count} of block ${ordinal}`,
      )
    }
  }
}
