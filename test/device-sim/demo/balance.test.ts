import { describe, expect, test } from 'vitest'
import { type DemoCounts, judge } from '../../../device-sim/demo/balance.ts'
import { accountOf } from '../../../device-sim/demo/status.ts'

const counters = {
  received: 12,
  requeued: 0,
  delivered: 12,
  deadLettered: 0,
  dropped: { expired: 0 },
  pending: 0,
}

const good: DemoCounts = {
  account: accountOf({ streams: [{ name: 'telemetry', counters }] }),
  verdict: {
    published: [0, 5, 5],
    acked: [0, 5, 5],
    storedLines: 12,
    storedReadings: 10,
    lost: 0,
    pending: 0,
    refused: 0,
    untaken: 0,
    contradicted: 0,
    qos0Missing: 0,
    duplicated: 0,
    sentAnewRepeats: 0,
    qos1Repeats: 2,
    reordered: 0,
    differing: 0,
    unreadable: 0,
    foreign: 0,
    examples: [],
    ok: true,
  },
  unacknowledged: 0,
  ackSeconds: 1,
  drainSeconds: 2,
  kills: 1,
  pendingAtKill: 3,
  unexpectedExits: [],
  sessionsLost: 0,
  drops: 4,
  cloud: {
    outages: 1,
    busy: 2,
    lostAnswers: 1,
    records: 12,
    repeats: 3,
    violations: 0,
    missingSeqs: 0,
  },
}

const failed = (counts: DemoCounts): string[] =>
  judge(counts)
    .filter((check) => !check.ok)
    .map((check) => check.what)

const withCounters = (changes: Partial<typeof counters>): DemoCounts => ({
  ...good,
  account: accountOf({ streams: [{ name: 'telemetry', counters: { ...counters, ...changes } }] }),
})

describe('the demo’s judgement', () => {
  test('a good run passes every check', () => {
    expect(failed(good)).toEqual([])
  })

  const broken: ReadonlyArray<readonly [string, DemoCounts, string]> = [
    [
      'a reading is refused',
      { ...good, verdict: { ...good.verdict, refused: 1 } },
      'refused, or said to be taken by nobody',
    ],
    [
      'nobody takes a reading',
      { ...good, verdict: { ...good.verdict, untaken: 1 } },
      'refused, or said to be taken by nobody',
    ],
    [
      'nothing was published',
      { ...good, verdict: { ...good.verdict, published: [0, 0, 0] } },
      'readings published',
    ],
    [
      'a reading stays unacknowledged',
      { ...good, unacknowledged: 1 },
      'published and not acknowledged',
    ],
    ['acks come late', { ...good, ackSeconds: 30.1 }, 'every reading acknowledged within 30 s'],
    ['acks never come', { ...good, ackSeconds: null }, 'every reading acknowledged within 30 s'],
    ['draining takes too long', { ...good, drainSeconds: null }, 'pending 0 within 60 s'],
    [
      'I1: a reading is lost',
      { ...good, verdict: { ...good.verdict, lost: 1 } },
      'acknowledged and lost',
    ],
    [
      'I3: QoS 2 twice',
      { ...good, verdict: { ...good.verdict, duplicated: 1 } },
      'QoS 2 readings stored twice',
    ],
    ['I2: out of order', { ...good, verdict: { ...good.verdict, reordered: 1 } }, 'out of order'],
    [
      'bytes differ',
      { ...good, verdict: { ...good.verdict, differing: 1 } },
      'stored bytes that were never published',
    ],
    [
      'a line is unreadable',
      { ...good, verdict: { ...good.verdict, unreadable: 1 } },
      'stored bytes that were never published',
    ],
    [
      'a seq is missing without a gap',
      { ...good, cloud: { ...good.cloud, missingSeqs: 1 } },
      'seqs missing without a reported gap',
    ],
    [
      'the contract is broken',
      { ...good, cloud: { ...good.cloud, violations: 1 } },
      'requests that broke the ingest contract',
    ],
    [
      'a session is forgotten',
      { ...good, sessionsLost: 1 },
      'QoS 2 sessions that the gateway forgot',
    ],
    [
      'the gateway falls over',
      { ...good, unexpectedExits: ['code 1'] },
      'ends of the gateway that nobody asked for',
    ],
    ['nothing was killed', { ...good, kills: 0 }, 'gateway killed (SIGKILL)'],
    ['it was killed empty', { ...good, pendingAtKill: 0 }, 'records pending when it was killed'],
    ['no outage', { ...good, cloud: { ...good.cloud, outages: 0 } }, 'cloud outages'],
    ['no 503', { ...good, cloud: { ...good.cloud, busy: 0 } }, 'answers 503 with Retry-After'],
    [
      'no lost answer',
      { ...good, cloud: { ...good.cloud, lostAnswers: 0 } },
      'answers lost after storing',
    ],
    ['no drops', { ...good, drops: 0 }, 'connections dropped by the fleet'],
  ]
  test.each(broken)('it fails when %s', (_, counts, what) => {
    expect(failed(counts)).toEqual([what])
  })

  test('I5, I9: drops, dead letters and counters that do not balance fail, stream by stream', () => {
    const balance =
      'I5 balances: received + requeued = delivered + dead-lettered + dropped + pending'
    expect(failed(withCounters({ received: 13, dropped: { expired: 1 } }))).toEqual(['dropped'])
    expect(failed(withCounters({ received: 13, deadLettered: 1 }))).toEqual(['dead-lettered'])
    expect(failed(withCounters({ received: 13 }))).toEqual([balance])
    // Two wrongs in two streams do not make a right.
    const account = accountOf({
      streams: [
        { name: 'a', counters: { ...counters, received: 13 } },
        { name: 'b', counters: { ...counters, received: -1, delivered: 0 } },
      ],
    })
    expect(failed({ ...good, account })).toEqual([balance])
  })

  test('delivered without being stored fails', () => {
    expect(failed(withCounters({ received: 13, delivered: 13 }))).toEqual([
      'delivered = lines that the cloud stored',
    ])
  })

  test('a gateway that gives no account fails', () => {
    expect(failed({ ...good, account: null })).toContain('dropped')
    expect(failed({ ...good, account: null }).length).toBeGreaterThan(3)
  })
})
