/**
 * What `sluice status` puts before a person: each trouble has its line, and good order has none.
 */
import { expect, test } from 'vitest'
import { statusText } from '../../../gateway/cli/text/status-text.ts'
import type { BrokerSnapshot } from '../../../gateway/observe/sources.ts'
import { buildStatus } from '../../../gateway/observe/status.ts'
import { broker, type FakeState, fakeSources, NOW_MS, sink } from '../../observe/fake-sources.ts'

/** Lines that want somebody. */
function marks(state: Partial<FakeState>): string[] {
  const text = statusText(buildStatus(fakeSources(state).sources, NOW_MS))
  return text.split('\n').filter((line) => line.startsWith('! '))
}

function marksOfTopics(
  unrouted: { accepted: number; refused: number },
  more: Partial<BrokerSnapshot> = {},
): string[] {
  const state = { ...broker({ unrouted }), ...more }
  return marks({ broker: state }).filter((line) => line.includes('topics'))
}

test('I9: messages that no stream takes are marked, with the last topic and the filter that was meant', () => {
  expect(marksOfTopics({ accepted: 1_205, refused: 0 })).toEqual([
    '! no stream takes the topics of 1,205 messages: acknowledged and not kept; the last: plnt/press-7/temp of press-7; closest filter: plant/+/+ of stream telemetry',
  ])
  const lastUnrouted = { topic: 'x\u001B[31m', clientId: 'd', nearest: null }
  expect(marksOfTopics({ accepted: 0, refused: 2 }, { lastUnrouted })).toEqual([
    '! no stream takes the topics of 2 messages: their connections were closed; the last: x\uFFFD[31m of d',
  ])
})

test('where every topic has its stream nothing is said of topics', () => {
  expect(marksOfTopics({ accepted: 0, refused: 0 }, { lastUnrouted: null })).toEqual([])
})

test('a sink without the connection that it keeps is marked, with why; others are not', () => {
  const marksOf = (connected: boolean | null, detail: string | null) =>
    marks({ sinks: [sink({ health: { connected, detail } })] }).filter((line) =>
      line.includes('sink cloud'),
    )
  expect(marksOf(false, 'refused \u001B[31m')).toEqual([
    '! sink cloud is not connected: refused \uFFFD[31m',
  ])
  expect(marksOf(false, null)).toEqual(['! sink cloud is not connected'])
  expect(marksOf(true, null)).toEqual([])
  expect(marksOf(null, null)).toEqual([])
})
