/** What the demo says: each thing once, the cloud's return, and never nothing for long. */
import { expect, test } from 'vitest'
import { FAULT_KINDS, type FaultKind } from '../../../device-sim/cloud/faults/faults.ts'
import { Narration, type Scene, SILENCE_SECONDS } from '../../../device-sim/demo/narration.ts'

const NONE = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as Record<FaultKind, number>
const LATEST = {
  number: 1,
  storedAtMs: 0,
  stream: 'telemetry',
  device: 'press-7',
  topic: 'plant/press-7/temp',
  payload: '{"celsius":21.4}',
}

function scene(seconds: number, more: Partial<Scene> = {}): Scene {
  return {
    seconds,
    faults: NONE,
    cloudDown: false,
    drops: 0,
    storms: 0,
    pending: 0,
    latest: null,
    ...more,
  }
}

test('each thing is told when it first happens, and once', () => {
  const narration = new Narration()
  const busy = { ...NONE, busy: 1 }
  expect(narration.look(scene(1))).toEqual([])
  expect(narration.look(scene(2, { latest: LATEST }))).toEqual([
    'the first readings are in the cloud: press-7 on plant/press-7/temp  {"celsius":21.4}',
  ])
  expect(narration.look(scene(2.5, { latest: LATEST, faults: busy, storms: 1 }))).toEqual([
    expect.stringMatching(/^half of the devices/),
    expect.stringMatching(/^the cloud answers 503 with Retry-After/),
  ])
  expect(
    narration.look(scene(3, { latest: LATEST, faults: { ...busy, busy: 2 }, storms: 2 })),
  ).toEqual([])
})

test('the cloud comes back, and its backlog is delivered', () => {
  const narration = new Narration()
  narration.look(scene(1, { latest: LATEST, cloudDown: true, pending: 10 }))
  expect(narration.look(scene(2, { latest: LATEST, pending: 9_000 }))).toEqual([
    'the cloud is back: 9,000 records wait for it',
  ])
  expect(narration.look(scene(3, { latest: LATEST, pending: 4_000 }))).toEqual([])
  expect(narration.look(scene(4.5, { latest: LATEST, pending: 20 }))).toEqual([
    'the backlog is delivered, in order, 2.5 s after the cloud came back',
  ])
})

test('it is never silent for long: a reading, or what waits, and not right after something else was said', () => {
  const narration = new Narration()
  narration.look(scene(1, { latest: LATEST }))
  expect(narration.look(scene(0.9 + SILENCE_SECONDS, { latest: LATEST }))).toEqual([])
  expect(narration.look(scene(1 + SILENCE_SECONDS, { latest: LATEST }))).toEqual([
    'just stored: press-7 on plant/press-7/temp  {"celsius":21.4}',
  ])
  narration.heard(8)
  const down = { latest: LATEST, cloudDown: true }
  expect(narration.look(scene(9, { ...down, pending: 1_234 }))).toEqual([])
  expect(narration.look(scene(8 + SILENCE_SECONDS, { ...down, pending: 1_234 }))).toEqual([
    "1,234 records wait on the gateway's disk for the cloud",
  ])
  expect(narration.look(scene(8 + 2 * SILENCE_SECONDS, { ...down, pending: null }))).toEqual([
    'gateway and cloud are away: devices keep their readings',
  ])
})
