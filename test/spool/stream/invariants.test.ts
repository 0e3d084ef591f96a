import { expect, test } from 'vitest'
import { BROKEN_RULE } from '../../../gateway/spool/commit/commit-contents.ts'
import type { SpoolEvent } from '../../../gateway/spool/events.ts'
import { pendingByCounters } from '../../../gateway/spool/stream/counters.ts'
import { brokenRules } from '../../../gateway/spool/stream/invariants.ts'
import { newStreamState, type StreamState } from '../../../gateway/spool/stream/state.ts'
import {
  durable,
  lanes,
  linesOf,
  message,
  openSpool,
  pinNext,
  queueOf,
  settleAll,
  temporaryFolder,
} from '../../support/spool-fixture.ts'

/** Ten records received, the first three delivered, the next three pinned. */
function stateWith(changes: Partial<StreamState>): StreamState {
  const state = newStreamState('telemetry', 1, { spoolId: 's', gateway: 'g' })
  const seqs = { firstSeq: 4, lastSeq: 6, outerLastSeq: 6 }
  const pin = {
    ...seqs,
    spoolId: 's',
    identity: 0,
    recordCount: 3,
    gapCount: 0,
    fingerprint: 'test',
  }
  return {
    ...state,
    nextSeq: 11,
    settled: { identity: 0, seq: 3 },
    pin,
    sent: [6],
    counters: { ...state.counters, received: 10, delivered: 3 },
    ...changes,
  }
}

const FACTS = { leaseEnd: 1_000, recordsInBlocks: 7 }

test('I4, I5: a state in good order breaks no rule', () => {
  expect(brokenRules(stateWith({}), FACTS)).toEqual([])
  expect(brokenRules(stateWith({ pin: null }), FACTS)).toEqual([])
  const fresh = newStreamState('telemetry', 1, { spoolId: 's', gateway: 'g' })
  expect(brokenRules(fresh, { leaseEnd: 0, recordsInBlocks: 0 })).toEqual([])
})

const { counters } = stateWith({})
const { pin } = stateWith({})
test.each<[string, Partial<StreamState>, Partial<typeof FACTS>]>([
  ['settled <= pin', { settled: { identity: 0, seq: 4 } }, {}],
  ['settled <= pin', { settled: { identity: 1, seq: 0 } }, {}],
  ['pin <= next', { nextSeq: 6 }, {}],
  ['pin <= next', { pin: pin && { ...pin, outerLastSeq: 5 } }, {}],
  ['next <= lease', {}, { leaseEnd: 10 }],
  ['pin <= sent', { sent: [5] }, {}],
  ['the gaps that the pin carries', { pin: pin && { ...pin, gapCount: 1 } }, {}],
  ['I5: received', { counters: { ...counters, delivered: 4 } }, {}],
  ['I5: received', {}, { recordsInBlocks: 8 }],
  ['I5: dead-lettered', { counters: { ...counters, received: 11, deadLettered: 1 } }, {}],
  ['no counter', { counters: { ...counters, received: 6, delivered: -1 } }, {}],
])('%s is missed', (rule, changes, facts) => {
  const broken = brokenRules(stateWith(changes), { ...FACTS, ...facts })
  expect(broken).toHaveLength(1)
  expect(broken[0]).toContain(rule)
})

test('a broken rule is told once, counters are balanced, and delivery goes on', async () => {
  const folder = await temporaryFolder()
  const events: SpoolEvent[] = []
  try {
    const { spool } = await openSpool(folder.path, { emit: (event) => events.push(event) })
    const to = lanes(spool, 'd', 't')
    await durable(spool, spool.appender.append(to, message('1')))
    const queue = queueOf(spool)
    const { state } = queue.spool
    Object.assign(state.counters, { received: state.counters.received + 2 })
    for (let n = 2; n <= 3; n++) await durable(spool, spool.appender.append(to, message(`${n}`)))
    const told = events.flatMap((event) => (event.type === 'spool.damage' ? [event.what] : []))
    expect(told).toHaveLength(1)
    expect(told[0]).toContain(BROKEN_RULE)
    expect(spool.damage).toEqual(told)
    expect(state.counters.dropped.corrupt).toBe(2)
    expect(pendingByCounters(queue.spool.view.counters)).toBe(3)
    const batch = await pinNext(queue, 10)
    expect(batch && (await linesOf(batch)).map(({ payload }) => payload)).toEqual([1, 2, 3])
    if (batch) await settleAll(queue, batch)
    expect(pendingByCounters(queue.spool.view.counters)).toBe(0)
    await spool.stop()
    const again = await openSpool(folder.path)
    expect(again.spool.damage).toEqual([])
    await again.spool.stop()
  } finally {
    await folder.remove()
  }
})
