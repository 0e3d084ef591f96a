import { expect, test } from 'vitest'
import { nearestFilter } from '../../../gateway/shared/text/nearest.ts'

const FILTERS = ['plant/+/+', 'plant/+/alarm/#', 'meters/energy']

test.each([
  // A typing mistake on either side, another case, a swap.
  ['plnt/press-7/temp', 'plant/+/+'],
  ['Plant/press-7/temp', 'plant/+/+'],
  ['meters/enregy', 'meters/energy'],
  // A level too many or too few, a slash at the beginning.
  ['/plant/press-7/temp', 'plant/+/+'],
  ['plant/press-7', 'plant/+/+'],
  ['plant/press-7/alrm/high/red', 'plant/+/alarm/#'],
  // Nothing that anybody could have meant.
  ['x', null],
  ['zigbee2mqtt/bridge/state/of/lamps', null],
])('%s is nearest to %s', (topic, filter) => {
  expect(nearestFilter(topic, FILTERS)).toBe(filter)
})

test('a topic without end costs nothing to speak of', () => {
  const from = performance.now()
  expect(nearestFilter(`${'a'.repeat(1_000)}/`.repeat(32), FILTERS)).toBeNull()
  expect(performance.now() - from).toBeLessThan(500)
})

test('without filters there is none', () => {
  expect(nearestFilter('a/b', [])).toBeNull()
})
