/** What the console says: pure functions over status documents as observe makes them. */
import { describe, expect, test } from 'vitest'
import { attentionOf } from '../../../gateway/admin/console/words/attention.ts'
import { balanceOf } from '../../../gateway/admin/console/words/balance.ts'
import { configText } from '../../../gateway/admin/console/words/config-text.ts'
import { changeText, payloadOf } from '../../../gateway/admin/console/words/dead-letters.ts'
import { headline, holdOutText, lossText } from '../../../gateway/admin/console/words/headline.ts'
import { rateText } from '../../../gateway/admin/console/words/rates.ts'
import { reloadText, valueText } from '../../../gateway/admin/console/words/reload.ts'
import { checkText, untilFullText } from '../../../gateway/admin/console/words/spool.ts'
import { ago, clockTime, duration, since } from '../../../gateway/admin/console/words/times.ts'
import { tryText } from '../../../gateway/admin/console/words/trial.ts'
import { buildStatus } from '../../../gateway/observe/status.ts'
import type { DeadLetter } from '../../../gateway/ports/operator.ts'
import type { Status } from '../../../gateway/ports/status.ts'
import {
  broker,
  type FakeState,
  fakeSources,
  NO_LETTERS,
  NOW_MS,
  OK,
  sink,
  spool,
  stream,
} from '../../observe/fake-sources.ts'

const MINUTE_MS = 60_000

/** A gateway on which nothing is wrong and nothing waits. */
function well(more: Partial<FakeState> = {}): Status {
  const counters = {
    received: 100,
    requeued: 0,
    delivered: 100,
    deadLettered: 0,
    dropped: {},
    pending: 0,
  }
  const calm = stream({
    counters,
    deadLetters: NO_LETTERS,
    backlogBytes: 0,
    parked: 0,
    waitingMessages: 0,
  })
  const state = {
    streams: [calm],
    sinks: [sink({ delivery: OK })],
    broker: broker({ unrouted: { accepted: 0, refused: 0 } }),
    ...more,
  }
  const status = buildStatus(fakeSources(state).sources, NOW_MS)
  return { ...status, accepting: true, spool: { ...status.spool, damage: [] } }
}

const HELD = {
  state: 'held',
  sinceMs: NOW_MS - 38 * MINUTE_MS,
  why: 'answered 401: check the token file',
  nextTryAtMs: NOW_MS + 22_000,
} as const

const titleOf = (status: Status, received = 0, delivered = 0): string =>
  headline(status, { received, delivered }, NOW_MS).title

describe('the first sentence', () => {
  test('data flows, or none comes, or a backlog is caught up', () => {
    expect(titleOf(well(), 10, 10)).toBe('Data is flowing')
    expect(titleOf(well())).toBe('Ready; no readings arrive at the moment')
    const behind = well()
    const streams = behind.streams.map((one) => ({ ...one, backlogRecords: 60_000 }))
    const said = headline({ ...behind, streams }, { received: 100, delivered: 1_100 }, NOW_MS)
    expect(said.title).toBe('Data is flowing, and the backlog is being caught up')
    expect(said.detail).toBe('60,000 readings wait; at this pace for about 1 min.')
  })

  test('a held sink: since when, what it said, when it is asked again', () => {
    const said = headline(well({ sinks: [sink({ delivery: HELD })] }), null, NOW_MS)
    expect(said.tone).toBe('act')
    expect(said.title).toBe('Readings are kept on this box: sink cloud does not take them')
    const at = clockTime(HELD.sinceMs, NOW_MS)
    expect(said.detail).toBe(
      `Held since ${at} (38 min): answered 401: check the token file; next try in 22 s.`,
    )
  })

  test('what keeps readings out comes before what keeps them here', () => {
    const held = well({ sinks: [sink({ delivery: HELD })] })
    expect(titleOf({ ...held, accepting: false })).toBe('No readings are taken')
    expect(titleOf({ ...held, leaving: true })).toBe('Out of service: devices are sent away')
    const full = { ...held, spool: { ...held.spool, state: 'read-only' as const } }
    expect(titleOf(full)).toBe('No readings are taken: the disk')
    const streams = held.streams.map((one) => ({ ...one, waitingMessages: 3 }))
    expect(titleOf({ ...held, streams })).toBe('Stream telemetry is full')
  })
})

test('whether anything is lost: nothing, kept for a person, or how much', () => {
  expect(lossText(well())).toEqual({ tone: 'ok', text: 'Nothing is lost' })
  const dead = well().streams.map((one) => ({
    ...one,
    deadLetters: { ...one.deadLetters, kept: 1 },
  }))
  expect(lossText({ ...well(), streams: dead }).text).toBe(
    'Nothing is lost; 1 dead letter kept for you',
  )
  expect(lossText(well({ streams: [stream()] })).text).toBe(
    'Not delivered: 5 readings dropped by limits or damage, 2 dead letters removed',
  )
})

test('how long the box holds out: the first of disk and streams that is full', () => {
  const with_ = (disk: number | null, first: number | null): string => {
    const status = well()
    return holdOutText({
      ...status,
      spool: { ...status.spool, hoursUntilFull: disk },
      streams: status.streams.map((one) => ({ ...one, hoursUntilFull: first })),
    }).text
  }
  expect(with_(null, null)).toBe('The spool is not filling')
  expect(with_(112, 31.6)).toBe('This box holds out for 31 h at this rate')
  expect(with_(7.29, null)).toBe('This box holds out for 7.2 h at this rate')
  const held = well()
  const streams = held.streams.map((one) => ({
    ...one,
    delivery: { ...one.delivery, state: 'held' as const },
    hoursUntilFull: null,
  }))
  const spoolStatus = { ...held.spool, hoursUntilFull: null }
  expect(holdOutText({ ...held, spool: spoolStatus, streams }).text).toBe(
    'No forecast yet of how long this box holds out',
  )
  const closed = { ...held.spool, state: 'read-only' as const, hoursUntilFull: null }
  expect(holdOutText({ ...held, spool: closed })).toEqual({
    tone: 'act',
    text: 'This box holds nothing more',
  })
  expect([
    untilFullText(null, false),
    untilFullText(null, true),
    untilFullText(31.6, true),
  ]).toEqual(['no forecast yet', 'not filling', 'about 31 h'])
})

test('what needs attention is said once, the urgent first', () => {
  const nobody = { ...well().devices, silent: 0, silence: [] }
  expect(attentionOf({ ...well(), devices: nobody }, NOW_MS)).toEqual([])
  expect(attentionOf(well(), NOW_MS)).toEqual([
    {
      tone: 'wait',
      text: 'Stream telemetry: 2 devices silent for longer than its silentAfter, 1 h',
      view: 'devices',
    },
  ])
  const damaged = spool({ damage: ['block 17 is damaged'] })
  const held = { sinks: [sink({ delivery: HELD })], streams: [stream({ delivery: HELD })] }
  const status = { ...well(held), spool: { ...well({ spool: damaged }).spool } }
  const found = attentionOf({ ...status, spool: { ...status.spool, damage: ['torn'] } }, NOW_MS)
  const texts = found.map(({ text }) => text)
  expect(texts[0]).toBe('Damage: torn')
  expect(texts.filter((text) => text.includes('held since'))).toHaveLength(1)
  expect(texts).toContain(
    'Stream telemetry: 3 records kept aside (parked), refused by the sink or an operator',
  )
  const tones = found.map(({ tone }) => tone)
  expect(tones).toEqual(tones.toSorted())
})

test('the balance of a stream, and what is missing in it (I5)', () => {
  const [whole] = well({ streams: [stream()] }).streams
  expect(whole && balanceOf(whole)).toEqual({ cameIn: 102, dropped: 5, missing: 0 })
  const short = stream()
  const [broken] = well({
    streams: [{ ...short, counters: { ...short.counters, delivered: 58 } }],
  }).streams
  expect(broken && balanceOf(broken).missing).toBe(2)
})

test('times: as much as tells them from now, relative and absolute', () => {
  const now = new Date(2026, 10, 28, 14, 40).getTime()
  expect(clockTime(new Date(2026, 10, 28, 14, 2).getTime(), now)).toBe('14:02')
  expect(clockTime(new Date(2026, 10, 27, 14, 2).getTime(), now)).toBe('27 Nov 14:02')
  expect(clockTime(new Date(2025, 10, 28, 14, 2).getTime(), now)).toBe('28 Nov 2025 14:02')
  expect(since(new Date(2026, 10, 28, 14, 2).getTime(), now)).toBe('since 14:02 (38 min)')
  const spans = [0, 12_000, 95_000, -22_000, 90_000_000].map((ms) => ago(now - ms, now))
  expect(spans).toEqual(['now', '12 s ago', '1 min ago', 'in 22 s', '1 d 1 h ago'])
  expect([4.2, 1_250, 61_000].map(duration)).toEqual(['4 ms', '1.25 s', '1 min 1 s'])
})

test('rates are as precise as they are', () => {
  expect([null, 0, 0.25, 3.14, 1_204.4].map(rateText)).toEqual(['…', '0', '0.3', '3.1', '1,204'])
})

describe('dead letters', () => {
  const letter = (record: string, truncated = false): DeadLetter => ({
    id: 'a:1',
    stream: 'telemetry',
    origin: 'refused',
    status: 422,
    reason: 'no',
    deadLetteredAtMs: null,
    bytes: record.length,
    truncated,
    record,
  })

  test('their payload, whatever form it has', () => {
    const json = '{"device":"press-7","topic":"plant/x","payload":{"celsius":21}}'
    expect(payloadOf(letter(json))).toEqual({
      device: 'press-7',
      topic: 'plant/x',
      payload: '{\n  "celsius": 21\n}',
    })
    expect(payloadOf(letter('{"payloadBase64":"AAE="}')).payload).toBe('base64: AAE=')
    expect(payloadOf(letter('{"payloadBase64":"w6k="}')).payload, 'text is shown').toBe('é')
    expect(payloadOf(letter('{"payloadBase64":"4oCu"}')).payload, 'a mark').toBe('base64: 4oCu')
    expect(payloadOf(letter('{"payloadBase64":"/w=="}')).payload, 'no UTF-8').toBe('base64: /w==')
    expect(payloadOf(letter('{"payload":null}')).payload).toBe('null')
    expect(payloadOf(letter(json.slice(0, 20), true)).payload).toBe(json.slice(0, 20))
    expect(payloadOf(letter('not json')).payload).toBe('not json')
  })

  test('what was done, and what was not and why', () => {
    const skipped = [{ id: 'a:1', why: 'truncated' }]
    expect(changeText('requeued', { changed: 3, skipped: [] })).toBe('3 dead letters requeued.')
    expect(changeText('purged', { changed: 0, skipped })).toBe(
      '0 dead letters purged; 1 dead letter not: truncated.',
    )
  })
})

test('a reload: what was applied, or why nothing was', () => {
  const plan = { changes: [{ key: 'a', from: 1, to: 2, effect: 'live' as const }], refused: [] }
  expect(reloadText({ applied: true, plan, problems: [], warnings: [] })).toBe('1 change applied.')
  const NOTHING = { applied: false, problems: [], warnings: [] }
  expect(reloadText({ ...NOTHING, plan, warnings: ['a: b'] })).toBe(
    'Nothing was changed. Warning: a: b',
  )
  const refused = [{ key: 'gateway.dataDir', why: 'needs a restart' }]
  expect(reloadText({ ...NOTHING, plan: { ...plan, refused }, problems: ['bad'] })).toBe(
    'Nothing was changed: bad; gateway.dataDir: needs a restart',
  )
  expect([null, 'text', 5, ['a']].map(valueText)).toEqual(['none', 'text', '5', '["a"]'])
})

test('the configuration in effect reads as YAML', () => {
  const effective = {
    mqtt: { listeners: [{ host: '0.0.0.0', port: 1883, tls: null }], topics: ['plant/#', 'a'] },
    log: { level: 'info', none: {} },
    sinks: { cloud: { url: 'https://a.example/x', answer: 'yes' } },
  }
  expect(configText(effective)).toBe(`mqtt:
  listeners:
    - host: "0.0.0.0"
      port: 1883
      tls: null
  topics:
    - "plant/#"
    - a
log:
  level: info
  none: {}
sinks:
  cloud:
    url: https://a.example/x
    answer: "yes"`)
})

test('a look at the spool, and one message at a sink', () => {
  expect(checkText({ blocks: 1, missing: 0, damage: [] })).toBe('1 block read, all whole.')
  expect(checkText({ blocks: 9, missing: 2, damage: [] })).toBe(
    '9 blocks read, 2 missing or damaged.',
  )
  const said = { id: 'test:1', target: 'https://a', taken: false, meaning: 'held', code: 401 }
  expect(tryText(said)).toBe('Record test:1 to https://a:\nheld [401]')
})
