/** What of a status needs somebody: each trouble has its sentence, and good order has none. */
import { expect, test } from 'vitest'
import { buildStatus } from '../../gateway/observe/status.ts'
import { type Finding, findingsOf } from '../../gateway/ports/findings.ts'
import type { FailedReload, Status } from '../../gateway/ports/status.ts'
import {
  broker,
  type FakeState,
  fakeSources,
  NO_LETTERS,
  NOW_MS,
  OK,
  silence,
  sink,
  spool,
  stream,
} from '../observe/fake-sources.ts'

const HELD = {
  state: 'held',
  sinceMs: NOW_MS - 60_000,
  why: 'HTTP 401',
  nextTryAtMs: NOW_MS + 5_000,
} as const
const calm = stream({
  counters: { ...stream().counters, dropped: {} },
  deadLetters: NO_LETTERS,
  parked: 0,
  waitingMessages: 0,
})

/** A gateway on which nothing is wrong, but for what is given. */
function statusOf(more: Partial<FakeState> = {}): Status {
  const { sources } = fakeSources({
    streams: [calm],
    sinks: [sink({ delivery: OK })],
    broker: broker({ unrouted: { accepted: 0, refused: 0 } }),
    devices: { count: 12, connected: 9, silent: 0, evicted: 0, silence: [silence({ silent: 0 })] },
    ...more,
  })
  return buildStatus(sources, NOW_MS)
}

const found = (more: Partial<FakeState>): readonly Finding[] => findingsOf(statusOf(more))
const said = (more: Partial<FakeState>): readonly string[] => found(more).map(({ text }) => text)

test('good order has no finding', () => {
  expect(found({})).toEqual([])
})

const OUTCOMES: ReadonlyArray<readonly [FailedReload['outcome'], string]> = [
  ['refused', 'refused at 2026-11-23T03:05:00.123Z, and nothing changed: no such key; correct it'],
  ['went-back', 'former configuration is in force again, at 2026-11-23T03:05:00.123Z: no such key'],
  ['stuck', 'former configuration could not come back, at 2026-11-23T03:05:00.123Z: no such key'],
]
test.each(OUTCOMES)('a reload that was %s: what, when, why, and what to do', (outcome, text) => {
  const failedReload = { outcome, atMs: NOW_MS, why: 'no\nsuch key' }
  const configuration = { loadedAtMs: NOW_MS, probation: null, failedReload }
  const [one, ...more] = found({ configuration })
  expect(more).toEqual([])
  expect(one).toMatchObject({ about: 'configuration', isUrgent: true, command: 'sluice reload' })
  expect(one?.text).toContain(text)
})

test('devices are silent on a stream, for longer than its silentAfter', () => {
  const devices = { count: 12, connected: 9, silent: 2, evicted: 0, silence: [silence()] }
  expect(said({ devices })).toEqual([
    'stream telemetry: 2 devices silent for longer than its silentAfter, 1 h',
  ])
})

test('while intake is closed silence is not judged, which is said of a gateway that runs', () => {
  const deaf = silence({ silent: 0, isJudged: false })
  const devices = { count: 12, connected: 9, silent: 0, evicted: 0, silence: [deaf] }
  expect(said({ devices })).toEqual([
    'silence is not judged while intake is closed: nobody can be heard on telemetry',
  ])
  expect(findingsOf({ ...statusOf({ devices }), uptimeSeconds: null })).toEqual([])
})

test('a spool that cannot write is urgent; what its sink says of a stream is said once', () => {
  const full = spool({ state: 'read-only', why: 'disk is nearly full' })
  const held = { sinks: [sink({ delivery: HELD })], streams: [{ ...calm, delivery: HELD }] }
  expect(found({ ...held, spool: full }).map(({ about, isUrgent }) => [about, isUrgent])).toEqual([
    ['spool', true],
    ['sink', true],
  ])
  expect(said({ streams: [{ ...calm, delivery: HELD }] })).toEqual([
    `stream telemetry is held since 2026-11-23T03:04:00.123Z: HTTP 401; next try 2026-11-23T03:05:05.123Z`,
  ])
})

test('dead letters say how full their room is, and near its end what comes then', () => {
  const maxBytes = 1_000
  const some = { ...NO_LETTERS, kept: 3, maxBytes, bytesBy: { ingest: 799, refused: 0 } }
  const of = (letters: typeof some): readonly string[] =>
    said({ streams: [{ ...calm, deadLetters: letters }] })
  expect(of(some)).toEqual([
    'stream telemetry: 3 dead letters to look at; refused by the stream: 799 of 1000 B',
  ])
  expect(of({ ...some, bytesBy: { ingest: 0, refused: 800 } })).toEqual([
    'stream telemetry: 3 dead letters to look at; refused by the sink: 800 of 1000 B (when full, delivery of the stream is held until some are requeued, purged or too old)',
  ])
  expect(of({ ...some, whenFull: 'drop-oldest', bytesBy: { ingest: 900, refused: 1 } })).toEqual([
    'stream telemetry: 3 dead letters to look at; refused by the sink: 1 of 1000 B; refused by the stream: 900 of 1000 B (when full, the oldest are removed, counted)',
  ])
})

test('a status of an older gateway, which says less, is read all the same', () => {
  const { configuration: _, devices, ...rest } = statusOf()
  const { silence: __, ...counts } = devices
  const { bytesBy: ___, ...letters } = { ...NO_LETTERS, kept: 1 }
  const streams = rest.streams.map((stream) => ({ ...stream, deadLetters: letters }))
  const older = { ...rest, streams, devices: counts } as unknown as Status
  expect(findingsOf(older).map(({ text }) => text)).toEqual([
    'stream telemetry: 1 dead letter to look at',
  ])
})
