/** A fast selection of the campaign; and that it sees what it is there for. */
import { afterEach, expect, test, vi } from 'vitest'
import { Listener } from '../../../gateway/broker/listeners/listener.ts'
import { Drain } from '../../../gateway/drain/drain.ts'
import { SEED } from '../../support/seed.ts'
import { reloadPairs } from './pairs.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

test(`30 pairs under load: no connection is closed that need not be, nothing acknowledged is lost (seed ${SEED})`, async () => {
  const { failures, effects, acked, sentAway } = await reloadPairs(30, SEED)
  expect(failures).toEqual([])
  expect(effects['live']).toBeGreaterThan(50)
  expect(effects['replaced']).toBeGreaterThan(30)
  expect(sentAway).toBeGreaterThan(0)
  expect(acked).toBeGreaterThan(500)
}, 60_000)

test('a listener that drops its connections when its address moves is found', async () => {
  vi.spyOn(Listener.prototype, 'retire').mockImplementation(function (this: Listener) {
    void this.close()
  })
  const { failures } = await reloadPairs(40, SEED)
  expect(failures.join()).toContain('mover')
}, 60_000)

test('a stream that no sink drains after a reload is found', async () => {
  vi.spyOn(Drain.prototype, 'take').mockImplementation(() => undefined)
  const { failures } = await reloadPairs(10, SEED, 1_000)
  expect(failures.join()).toMatch(/at no sink|acks are missing/)
}, 90_000)
