/** How fast a sink publishes where the broker drops what comes faster. */
import { expect, test } from 'vitest'
import { PublishPace } from '../../../gateway/sink/mqtt/client/pace.ts'
import { PROFILES } from '../../../gateway/sink/mqtt/profiles.ts'

const { rate } = PROFILES['aws-iot-core']

/** When each of `count` messages left, ms. */
function departures(count: number, bytes: number): number[] {
  let nowMs = 0
  const pace = new PublishPace(rate ?? { messagesPerSecond: 0, bytesPerSecond: 0 }, () => nowMs)
  return Array.from({ length: count }, () => {
    nowMs += pace.waitMs
    pace.sent(bytes)
    return nowMs
  })
}

test.each([
  ['small ones', 200, 100],
  ['large ones', 20_000, (512 * 1024) / 20_000],
] as const)('of %s no second has more than the service takes', (_, bytes, most) => {
  const left = departures(500, bytes)
  for (const from of left)
    expect(left.filter((at) => at >= from && at < from + 1000).length).toBeLessThanOrEqual(most)
  const perSecond = (left.length / (left.at(-1) ?? 0)) * 1000
  expect(perSecond).toBeGreaterThan(0.85 * most)
})

test('what was quiet for long owes nothing, and has saved nothing', () => {
  let nowMs = 0
  const pace = new PublishPace({ messagesPerSecond: 100, bytesPerSecond: 1e9 }, () => nowMs)
  pace.sent(1)
  nowMs = 60_000
  let atOnce = 0
  for (; pace.waitMs === 0; atOnce++) pace.sent(1)
  expect(atOnce).toBeLessThanOrEqual(11)
})
