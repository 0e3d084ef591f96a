/**
 * The spool against a plain model: a list of records and their fates. Random runs of append,
 * settle, partial settle, refusal, retention, failed writes, crash and reopening; after each step,
 * what is pending and what was counted must be what the model says. A crash leaves the folder as a
 * kill does: nothing is closed, lowered or marked.
 */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { pendingByCounters } from '../../gateway/spool/stream/counters.ts'
import { heldStores } from '../support/held-store.ts'
import {
  durable,
  ENCODER,
  lanes,
  linesOf,
  message,
  openSpool,
  pinNext,
  queueOf,
  STREAM,
  temporaryFolder,
} from '../support/spool-fixture.ts'

const RUNS = Number(process.env['SLUICE_MODEL_RUNS'] ?? 60)

type Step =
  | { readonly do: 'append'; readonly count: number; readonly bytes: number }
  | {
      readonly do: 'settle'
      readonly max: number
      readonly share: number
      readonly refuse: boolean
    }
  | { readonly do: 'fail'; readonly when: 'before' | 'after'; readonly count: number }
  | { readonly do: 'crash' }
  | { readonly do: 'reopen' }
  | { readonly do: 'return' }
  | { readonly do: 'new-id' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      count: fc.integer({ min: 1, max: 40 }),
      bytes: fc.integer({ min: 1, max: 900 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      max: fc.integer({ min: 1, max: 60 }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      refuse: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('fail' as const),
      when: fc.constantFrom('before' as const, 'after' as const),
      count: fc.integer({ min: 1, max: 20 }),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ do: 'crash' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'reopen' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'return' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'new-id' as const }) },
)

/** What must be pending, by reading number, in order; parked ones apart. */
interface Model {
  nextN: number
  pending: number[]
  parked: number[]
  delivered: number
  deadLettered: number
}

async function run(steps: readonly Step[], dropOldest: boolean): Promise<void> {
  const folder = await temporaryFolder()
  const stores = heldStores()
  const stream = dropOldest
    ? { ...STREAM, whenFull: 'drop-oldest' as const, maxBytes: 12_000 }
    : STREAM
  const streams = { telemetry: stream }
  const options = { streams, openStore: stores.openStore, ballastBytes: 4096 }
  const dataDir = folder.path
  let { spool } = await openSpool(dataDir, options)
  const ids = new Set<string>()
  const model: Model = { nextN: 1, pending: [], parked: [], delivered: 0, deadLettered: 0 }

  const append = async (count: number, bytes: number): Promise<void> => {
    const to = lanes(spool, 'd', 't')
    let ticket = 0
    for (let i = 0; i < count; i++) {
      const n = model.nextN
      const payload = JSON.stringify({ n, x: randomText(n, bytes) })
      ticket = spool.appender.append(to, message(payload))
      if (ticket === 0 && dropOldest) {
        // It waits for a commit, never for the sink: behind one there is room, whatever is pinned.
        await spool.committer.durable()
        ticket = spool.appender.append(to, message(payload))
        expect(ticket, 'a stream that drops its oldest takes what comes').toBeGreaterThan(0)
      }
      if (ticket === 0) return
      model.nextN++
      model.pending.push(n)
    }
    await durable(spool, ticket)
  }

  const check = (): void => {
    const { spool: state } = queueOf(spool)
    const { counters } = state.state
    if (dropOldest) {
      const dropped = counters.dropped['dropped-oldest']
      const kept = state.pendingRecords
      expect(model.pending.length - kept, 'what is missing was counted').toBe(
        dropped - (droppedBefore ?? 0),
      )
    } else expect(state.pendingRecords).toBe(model.pending.length)
    expect(state.state.parked).toHaveLength(model.parked.length)
    expect(pendingByCounters(counters)).toBe(state.pendingRecords + model.parked.length)
    expect(counters).toMatchObject({
      received: model.nextN - 1,
      delivered: model.delivered,
      deadLettered: model.deadLettered,
    })
    expect(counters.dropped.corrupt).toBe(0)
  }
  let droppedBefore = 0
  /** Retention takes from behind the pin: the model learns which from what comes next. */
  const forget = (ns: readonly number[]): void => {
    const seen = new Set(ns)
    const last = ns.at(-1) ?? 0
    const gone = model.pending.filter((n) => n < last && !seen.has(n))
    droppedBefore += gone.length
    model.pending = model.pending.filter((n) => !(n < last && !seen.has(n)))
  }

  const settle = async ({
    max,
    share,
    refuse,
  }: {
    max: number
    share: number
    refuse: boolean
  }): Promise<void> => {
    const queue = queueOf(spool)
    const pinned = queue.pin
    const batch = pinned ? await queue.load(pinned, ENCODER) : await pinNext(queue, max)
    if (!batch) {
      expect(queue.pendingRecords).toBe(0)
      return
    }
    const lines = await linesOf(batch)
    const ns = lines.map((l) => (l.payload as { n: number }).n)
    expect(lines.map((l) => l.seq)).toEqual(batch.seqs())
    if (dropOldest) forget(ns)
    expect(ns).toEqual(model.pending.slice(0, ns.length))
    const take = Math.floor(share * lines.length)
    const accepted = lines.slice(0, take)
    const throughSeq = accepted.at(-1)?.seq ?? batch.pin.firstSeq - 1
    const bad = refuse ? accepted[Math.floor(accepted.length / 2)] : undefined
    const refused = bad
      ? [{ seq: bad.seq, code: '422', reason: 'model', line: await batch.line(bad.seq) }]
      : []
    const sameIdentity = queue.parked.filter(
      (p) => p.spoolId === batch.pin.spoolId && p.seq < throughSeq,
    )
    const deadLetter = accepted.length > refused.length ? sameIdentity.map((p) => p.seq) : []
    for (const line of accepted) {
      if (line !== bad) expect(ids.has(line.id), `${line.id} was delivered before`).toBe(false)
      if (line !== bad) ids.add(line.id)
    }
    const deadNs = queue.spool.state.parked.map((p, i) =>
      deadLetter.includes(p.seq) &&
      sameIdentity.some(
        (s) => s.seq === p.seq && queue.spool.state.identities[p.identity]?.spoolId === s.spoolId,
      )
        ? model.parked[i]
        : undefined,
    )
    await queue.settle({
      throughSeq,
      refused,
      deadLetter,
      gapsReported: take === lines.length,
      keepOuterLastSeq: null,
    })
    const badN = bad ? (bad.payload as { n: number }).n : null
    model.pending = model.pending.slice(take)
    model.parked = model.parked.filter((n) => !deadNs.includes(n))
    if (badN !== null) model.parked.push(badN)
    model.delivered += take - refused.length
    model.deadLettered += deadLetter.length
  }

  const reopen = async (crash: boolean): Promise<void> => {
    if (crash) {
      await stores.crash()
    } else await spool.stop()
    ;({ spool } = await openSpool(dataDir, options))
    if (crash) expect(spool.damage).toEqual([])
  }

  try {
    for (const one of steps) {
      if (one.do === 'append') await append(one.count, one.bytes)
      else if (one.do === 'settle') await settle(one)
      else if (one.do === 'fail') {
        const before = stores.failures()
        stores.failNext(one.when)
        await append(one.count, 100)
        if (stores.failures() === before) await spool.committer.durable()
        expect(stores.failures(), 'the fault fired').toBe(before + 1)
      } else if (one.do === 'return') {
        await queueOf(spool).returnParked()
        model.pending = [...model.parked, ...model.pending].sort((a, b) => a - b)
        model.parked = []
      } else if (one.do === 'new-id') await spool.newId('model')
      else await reopen(one.do === 'crash')
      check()
    }
    for (let i = 0; queueOf(spool).pendingRecords > 0 && i < 1000; i++)
      await settle({ max: 1000, share: 1, refuse: false })
    check()
    expect(queueOf(spool).pendingRecords).toBe(0)
  } finally {
    await spool.stop()
    await folder.remove()
  }
}

/** Text that deflate cannot shrink much, the same for the same reading. */
function randomText(n: number, bytes: number): string {
  let x = (n * 2654435761) >>> 0
  let text = ''
  while (text.length < bytes) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    text += x.toString(36)
  }
  return text.slice(0, bytes)
}

it('I2, I4, I5: behaves like a plain list through settles, refusals, failed writes, crashes and reopenings', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), (steps) => run(steps, false)),
    { numRuns: RUNS },
  )
}, 180_000)

it('I8, I9: counts what retention dropped, and nothing else is missing', async () => {
  const calm = step.filter((s) => s.do !== 'return' && !(s.do === 'settle' && s.refuse))
  await fc.assert(
    fc.asyncProperty(fc.array(calm, { minLength: 3, maxLength: 25 }), (steps) => run(steps, true)),
    { numRuns: RUNS },
  )
}, 180_000)
