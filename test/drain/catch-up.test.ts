/**
 * Catching up must cost the drain next to nothing per record: the sink and the disk are the limit.
 */
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../gateway/drain/clock.ts'
import { Drain } from '../../gateway/drain/drain.ts'
import type { Batch, BatchEncoder, Sink } from '../../gateway/ports/sink.ts'
import type {
  Bounds,
  LoadedBatch,
  Pin,
  Run,
  Settlement,
  StreamQueue,
} from '../../gateway/ports/stream-queue.ts'
import { ACKED, encoder, sinkConfig } from './harness.ts'

/** A backlog of equal blocks that costs nothing to keep. Whoever asks for single records fails. */
class EndlessQueue implements StreamQueue {
  readonly stream = 'telemetry'
  readonly priority = 0
  readonly sink = 'cloud'
  readonly isAwaited = false
  readonly parked = []
  readonly maxBatchBytes = Number.POSITIVE_INFINITY
  readonly blockRecords: number
  readonly records: number
  pin: Pin | null = null
  settled = 0
  runsAsked = 0

  constructor(records: number, blockRecords: number) {
    this.records = records
    this.blockRecords = blockRecords
  }

  get pendingRecords(): number {
    return this.records - this.settled
  }

  get pendingBytes(): number {
    return this.pendingRecords * 300
  }

  ahead(limit: number): readonly Run[] {
    const runs: Run[] = []
    for (let seq = this.settled + 1; seq <= this.records && runs.length < limit; ) {
      const end = Math.min(this.records, Math.ceil(seq / this.blockRecords) * this.blockRecords)
      const recordCount = end - seq + 1
      runs.push({
        spoolId: 's',
        firstSeq: seq,
        recordCount,
        rawBytes: recordCount * 300,
        receivedAtMs: 0,
      })
      seq = end + 1
    }
    this.runsAsked += runs.length
    return runs
  }

  pinWithCommits(): void {}

  awaitPin(): void {}

  expirePin(): null {
    return null
  }

  guardPin(): void {}

  highestSentSeq(): number {
    return this.pin?.lastSeq ?? 0
  }

  pinBatch(
    bounds: Bounds,
    { fingerprint }: BatchEncoder,
  ): { readonly pin: Pin; readonly durable: Promise<void> } {
    const pin: Pin = { ...bounds, outerLastSeq: bounds.lastSeq, gapCount: 0, fingerprint }
    this.pin = pin
    return { pin, durable: Promise.resolve() }
  }

  reencode(): never {
    throw new Error('the form stayed the same')
  }

  split(): never {
    throw new Error('nothing was refused')
  }

  async load(pin: Pin): Promise<LoadedBatch> {
    const single = (): never => {
      throw new Error('a plain 2xx must not look at single records')
    }
    const batch: Batch = {
      ...pin,
      gateway: 'edge-01',
      stream: this.stream,
      gaps: [],
      receivedAtMs: 0,
      formerFingerprints: [],
      note: null,
      keepNote: async () => undefined,
      bodyBytes: 1,
      rawBytes: pin.recordCount * 300,
      crc32: 0,
      stitched: async () => ({ chunks: [], byteLength: 0 }),
      records: single,
    }
    return { pin, batch, seqs: single, line: single }
  }

  async settle(settlement: Settlement): Promise<void> {
    this.settled = settlement.throughSeq
    this.pin = null
  }

  async returnParked(): Promise<void> {}

  deadLetterBytes(): number {
    return 0
  }

  hasDeadLetterRoom(): boolean {
    return true
  }

  async bury(): Promise<void> {}

  onReady(): void {}
}

describe('catch-up', () => {
  it.each([5000, 50])(
    '10 million records in blocks of %i pass without work per record',
    async (blockRecords) => {
      const queue = new EndlessQueue(10_000_000, blockRecords)
      let batches = 0
      let finished = (): void => {}
      const done = new Promise<void>((resolve) => {
        finished = resolve
      })
      const sink: Sink = {
        name: 'cloud',
        encoder: encoder('gzip'),
        health: { connected: null, detail: null },
        start: () => {},
        send: async (batch) => {
          batches++
          expect(batch.recordCount).toBe(10_000)
          if (batch.lastSeq === queue.records) finished()
          return ACKED
        },
        onChange: () => {},
        close: async () => {},
      }
      const config = sinkConfig({ maxBatchRecords: 10_000, maxBatchBytes: 4 * 1024 * 1024 })
      const notes = { get: () => null, set: async () => {} }
      const clock = systemClock()
      const drain = new Drain({
        sinks: [{ sink, config }],
        queues: [queue],
        notes,
        emit: () => {},
        clock,
      })
      const startedAtMs = clock.monotonicMs()
      await drain.start()
      await done
      await drain.stop(1000)
      const recordsPerSecond = queue.records / ((clock.monotonicMs() - startedAtMs) / 1000)
      expect(batches).toBe(1000)
      expect(queue.pendingRecords).toBe(0)
      // A batch looks at no more blocks than it takes, a few times over.
      expect(queue.runsAsked / batches).toBeLessThan(Math.max(200, 12 * (10_000 / blockRecords)))
      // The goal for the whole path is 300,000/s; the drain's own part must be far below it.
      expect(recordsPerSecond).toBeGreaterThan(3_000_000)
    },
  )
})
