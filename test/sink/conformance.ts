/**
 * What every type of sink must do, whatever it sends to: one suite over all of them. A type brings a
 * harness: a receiver that can be read back, and that can be made to fail. What only one type does
 * is tested beside it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { Random } from '../../device-sim/random.ts'
import type { Batch, Sink, SinkAnswer } from '../../gateway/ports/sink.ts'
import { builtFile, type RunningProcess, reapProcesses, startProcess } from '../support/process.ts'
import { SEED } from '../support/seed.ts'
import { describeWithTool } from '../support/tool-tests.ts'
import { batchOf, expired, never, recordId } from './http/batches.ts'
import { requeueIsDelivered } from './requeue.ts'

export interface SinkHarness {
  /** As the type's README promises it, over repeats, lost answers and kills. */
  readonly promise: 'exactly once' | 'at least once'
  /** Programs that it needs; without them the suite is skipped with a line. */
  readonly tools?: readonly string[]
  open(): Promise<TestReceiver>
  /** Ends what its receivers share; absent: nothing. */
  end?(): Promise<void>
}

/** At once, or after the receiver was asked. */
type Awaitable<T> = T | Promise<T>
/** What makes it as it was before. */
type Undo = () => Awaitable<void>

/** Where sinks of one type send to, for one test. */
export interface TestReceiver {
  /** A sink as a gateway makes it at its start. */
  sink(): Sink
  /** The keys of its configuration, for a sink in another process. */
  readonly config: Readonly<Record<string, unknown>>
  /** Ids of the records that it has, in its order. */
  ids(): Awaitable<string[]>
  /** What it was told of gaps, each once. */
  gaps(): Awaitable<string[]>
  /** Nothing gets through until what it returns is called. */
  outage(): Awaitable<Undo>
  /** The same, for something that an operator has to see to. */
  trouble(): Awaitable<Undo>
  /** It takes the next batch, but says nothing that arrives; null: there is no answer to lose. */
  readonly loseAnswer: (() => Awaitable<void>) | null
  /** It takes records up to this one; null: a batch is one thing here. */
  readonly takeThrough: ((seq: number | null) => Awaitable<void>) | null
  /**
   * It refuses this record until what it returns is called, or, where that is null, the next batch
   * whatever is in it; null: it refuses nothing.
   */
  readonly refuse: ((seq: number) => Awaitable<Undo | null>) | null
  readonly close: () => Promise<void>
}

/** Of a batch that is given up, or of a process that is killed: after a random part of this, ms. */
const SHORT_MS = 12
const ABORTS = 20
const KILLS = 4
const BATCHES_BETWEEN_KILLS = 10
const CHILD_MS = 20_000

/** What a check works with: one receiver, and sinks that are closed behind it. */
export interface ConformanceBench {
  readonly type: string
  readonly harness: SinkHarness
  readonly receiver: TestReceiver
  readonly newSink: () => Sink
  /** Everything through this seq is there: in order, and as often as the type promises. */
  readonly expectAllThrough: (seq: number) => Promise<void>
  /** The check does not apply to this receiver. */
  readonly skip: (why: string) => void
}

/** By what they hold. A check throws where a sink does not. */
export const CHECKS: Readonly<Record<string, (bench: ConformanceBench) => Promise<void>>> = {
  'a batch is acked when it is there, and batches keep their order': async ({
    newSink,
    expectAllThrough,
  }) => {
    const sink = newSink()
    expectAcked(await send(sink, batchOf(1, 3)), batchOf(1, 3))
    await expectAllThrough(3)
    for (let first = 4; first < 30; first += 2)
      expectAcked(await send(sink, batchOf(first, first + 1)), batchOf(first, first + 1))
    await expectAllThrough(29)
  },

  'its encoder has a name without blanks, says the same each time, and carries a gap': async ({
    newSink,
  }) => {
    const [one, two] = [newSink().encoder, newSink().encoder]
    expect(one.fingerprint).toMatch(/^[a-z]+:\S+$/)
    expect(two.fingerprint).toBe(one.fingerprint)
    const gaps = Array.from({ length: 1000 }, (_, i) => expired(2 * i + 1, 2 * i + 1))
    const count = one.gapsThatFit(gaps, 'k3f9x2m7q4w8z')
    expect(count).toBeGreaterThanOrEqual(1)
    expect(two.gapsThatFit(gaps, 'k3f9x2m7q4w8z')).toBe(count)
    expect(one.gapsThatFit([], 'k3f9x2m7q4w8z')).toBe(0)
  },

  'I4: the same batch again is acked again, by another sink too': async ({
    newSink,
    expectAllThrough,
  }) => {
    const sink = newSink()
    for (const one of [sink, sink, newSink()])
      expectAcked(await send(one, batchOf(1, 5)), batchOf(1, 5))
    await expectAllThrough(5)
  },

  'gaps are told with their batch, also after it failed, and once': async ({
    receiver,
    newSink,
  }) => {
    const sink = newSink()
    const gapped = batchOf(5, 6, { gaps: [expired(1, 4)] })
    const again = await receiver.outage()
    expectKept(await send(sink, gapped))
    expect(await receiver.gaps()).toEqual([])
    await again()
    expectAcked(await send(sink, gapped), gapped)
    expectAcked(await send(sink, gapped), gapped)
    expectAcked(await send(sink, batchOf(7, 8)), batchOf(7, 8))
    expect(await receiver.gaps()).toHaveLength(1)
    expect((await receiver.gaps())[0]).toMatch(/1.*4.*expired/s)
  },

  'I8: an outage keeps everything, and nothing is refused': async ({
    receiver,
    newSink,
    expectAllThrough,
  }) => {
    const sink = newSink()
    const again = await receiver.outage()
    for (let i = 0; i < 3; i++) expectKept(await send(sink, batchOf(1, 5)))
    expect(await receiver.ids()).toEqual([])
    await again()
    expectAcked(await send(sink, batchOf(1, 5)), batchOf(1, 5))
    await expectAllThrough(5)
  },

  'I8: what an operator has to see to is held, and nothing is refused': async ({
    receiver,
    newSink,
    expectAllThrough,
  }) => {
    const sink = newSink()
    const again = await receiver.trouble()
    for (let i = 0; i < 2; i++) {
      const answer = await send(sink, batchOf(1, 5))
      expectKept(answer)
      expect(answer.kind).toBe('hold')
    }
    expect(await receiver.ids()).toEqual([])
    await again()
    expectAcked(await send(sink, batchOf(1, 5)), batchOf(1, 5))
    await expectAllThrough(5)
  },

  'I4: an answer that got lost is no ack, and the batch is taken again': async ({
    receiver,
    newSink,
    expectAllThrough,
    skip,
  }) => {
    if (receiver.loseAnswer === null) {
      return skip('there is no answer to lose')
    }
    const sink = newSink()
    await receiver.loseAnswer()
    const answer = await send(sink, batchOf(1, 5))
    expectKept(answer)
    expect(isUnsent(answer), 'it may have arrived').toBe(false)
    expectAcked(await send(sink, batchOf(1, 5)), batchOf(1, 5))
    await expectAllThrough(5)
  },

  'I2: what was taken of a batch is said, and the rest goes as another one': async ({
    receiver,
    newSink,
    expectAllThrough,
    skip,
  }) => {
    if (receiver.takeThrough === null) {
      return skip('a batch is one thing here')
    }
    const sink = newSink()
    await receiver.takeThrough(3)
    const answer = await send(sink, batchOf(1, 5))
    expect(answer).toMatchObject({ kind: 'verdicts', ackedThrough: 3 })
    await receiver.takeThrough(null)
    expectAcked(await send(sink, batchOf(4, 5)), batchOf(4, 5))
    await expectAllThrough(5)
  },

  'a refusal is one, of the batch or of its record': async ({ receiver, newSink, skip }) => {
    if (receiver.refuse === null) {
      return skip('it refuses nothing')
    }
    await receiver.refuse(2)
    const answer = await send(newSink(), batchOf(1, 3))
    const isListed =
      answer.kind === 'verdicts' &&
      answer.listed.some(({ seq, verdict }) => seq === 2 && verdict === 'refused')
    expect(isListed || answer.kind === 'refused').toBe(true)
  },

  'I5: a dead letter that is requeued is there once, under a new id': requeueIsDelivered,

  'a batch that is given up at any time is no ack, and is taken again': async ({
    receiver,
    newSink,
    expectAllThrough,
    type,
  }) => {
    const random = new Random(SEED, `aborts ${type}`)
    const sink = newSink()
    for (let n = 1; n <= ABORTS; n++) {
      const abort = new AbortController()
      if (random.chance(0.2)) abort.abort()
      const answering = sink.send(batchOf(n, n), abort.signal)
      await sleep(random.below(SHORT_MS))
      abort.abort()
      const answer = await answering
      if (answer.kind === 'verdicts') continue
      expect(answer.kind).toBe('retry')
      if (isUnsent(answer)) expect(await receiver.ids()).not.toContain(recordId(n))
      expectAcked(await send(sink, batchOf(n, n)), batchOf(n, n))
    }
    await expectAllThrough(ABORTS)
  },

  'closed with a batch in flight it ends, and takes none any more': async ({
    newSink,
    expectAllThrough,
  }) => {
    const sink = newSink()
    expectAcked(await send(sink, batchOf(1, 2)), batchOf(1, 2))
    const answering = send(sink, batchOf(3, 4))
    await sink.close()
    const answer = await answering
    expect(['verdicts', 'retry']).toContain(answer.kind)
    expectKept(await send(sink, batchOf(3, 4)))
    expectAcked(await send(newSink(), batchOf(3, 4)), batchOf(3, 4))
    await expectAllThrough(4)
  },

  'I4: over kills each record is there as often as promised': async ({
    receiver,
    expectAllThrough,
    type,
  }) => {
    const random = new Random(SEED, `kills ${type}`)
    let from = 1
    const run = (to: number): RunningProcess =>
      startProcess(process.execPath, [
        builtFile('test/sink/conformance-child.js'),
        JSON.stringify({ config: receiver.config, from, to }),
      ])
    for (let kill = 0; kill < KILLS; kill++) {
      const child = run(Number.MAX_SAFE_INTEGER)
      const soon = from + 1 + random.below(BATCHES_BETWEEN_KILLS)
      await child.waitForLine(({ text }) => text === `acked ${soon}`, CHILD_MS)
      await sleep(random.next() * SHORT_MS)
      child.kill('SIGKILL')
      await child.waitForExit(CHILD_MS)
      const acked = child.lines.flatMap(({ text }) => /^acked (\d+)$/.exec(text)?.[1] ?? [])
      from = Number(acked.at(-1)) + 1
    }
    const last = run(from)
    expect((await last.waitForExit(CHILD_MS)).code, last.stderr).toBe(0)
    await expectAllThrough(from)
    const repeats = (await receiver.ids()).length - from
    expect(repeats, 'at most one batch a kill').toBeLessThanOrEqual(KILLS)
  },
}

/** Of the check over kills, which starts processes. */
const CHECK_MS = 60_000

export function describeConformance(type: string, harness: SinkHarness): void {
  const title = `the sink port, by type ${type} (SLUICE_SEED=${SEED})`
  describeWithTool(harness.tools ?? [], title, () => {
    let opened: OpenBench
    beforeEach(async () => {
      opened = await openBench(type, harness)
    })
    afterEach(async () => {
      await reapProcesses()
      await opened.close()
    })
    afterAll(async () => harness.end?.())
    for (const [name, check] of Object.entries(CHECKS)) {
      test(
        name,
        async (context) => check({ ...opened.bench, skip: (why) => context.skip(why) }),
        CHECK_MS,
      )
    }
  })
}

interface OpenBench {
  readonly bench: ConformanceBench
  readonly close: () => Promise<void>
}

/** A bench whose `skip` does nothing. */
export async function openBench(type: string, harness: SinkHarness): Promise<OpenBench> {
  const receiver = await harness.open()
  const sinks: Sink[] = []
  const bench: ConformanceBench = {
    type,
    harness,
    receiver,
    newSink: () => {
      const sink = receiver.sink()
      sinks.push(sink)
      return sink
    },
    expectAllThrough: async (seq) => {
      const ids = await receiver.ids()
      const wanted = Array.from({ length: seq }, (_, i) => recordId(i + 1))
      if (harness.promise === 'exactly once') expect(ids).toEqual(wanted)
      else expect([...new Set(ids)]).toEqual(wanted)
    },
    skip: () => undefined,
  }
  const close = async (): Promise<void> => {
    for (const sink of sinks) await sink.close()
    await receiver.close()
  }
  return { bench, close }
}

async function send(sink: Sink, batch: Batch): Promise<SinkAnswer> {
  return await sink.send(batch, never())
}

function expectAcked(answer: SinkAnswer, { lastSeq }: Batch): void {
  expect(answer).toMatchObject({ kind: 'verdicts', listed: [] })
  if (answer.kind === 'verdicts' && answer.ackedThrough !== null)
    expect(answer.ackedThrough).toBeGreaterThanOrEqual(lastSeq)
}

function isUnsent(answer: SinkAnswer): boolean {
  return 'unsent' in answer && (answer.unsent ?? false)
}

/** Nothing was acked and nothing refused. */
function expectKept(answer: SinkAnswer): void {
  expect(['retry', 'hold']).toContain(answer.kind)
}
