/** Fault 8, the network: the fast selection. The long campaign is campaign.ts. */
import { afterEach, describe, expect, test } from 'vitest'
import { reapProcesses } from '../../support/process.ts'
import { SEED } from '../../support/seed.ts'
import { FuzzedGate } from '../fuzz/fuzzed-gate.ts'
import { CUT_KINDS, type CutTotals, cutEveryState } from './cuts.ts'
import { halfOpen, oneByteSegments, slowConnects } from './slow-peers.ts'
import { describeStorm, measureStorms } from './storm.ts'
import { absences, floods, takeovers } from './version-5.ts'

afterEach(reapProcesses)

describe('links that are cut', () => {
  test.each(CUT_KINDS)(
    'I1, I2, I3: at QoS $qos of protocol level $level, by $cut, behind each byte of either side',
    async (kind) => {
      const gate = await FuzzedGate.start()
      try {
        const totals: CutTotals = { cuts: 0, interrupted: 0, acked: 0, failures: [] }
        await cutEveryState(gate, kind, totals)
        expect(totals.failures).toEqual([])
        expect(totals.interrupted).toBeGreaterThan(totals.cuts / 3)
        await gate.bystander.publish(4)
        expect(gate.takeFaults()).toEqual([])
      } finally {
        await gate.stop()
      }
    },
  )
})

describe('devices of MQTT 5', () => {
  test.each([
    ['I3: a device that takes over its own connection: 0x8E, its session, one record', takeovers],
    ['a session lives as long as it was asked to, and no longer [MQTT-4.1.0-2]', absences],
    ['I6: beyond Receive Maximum: 0x93, and who keeps to it is acknowledged', floods],
  ])('%s', async (_, run) => {
    expect((await run(12)).devices).toBe(12)
  })
})

describe('slow peers', () => {
  test.each([
    [
      'CONNECTs that come a byte at a time are closed by connectTimeout',
      () => slowConnects(100, SEED),
    ],
    [
      'half-open devices are closed by their keepalive, and their wills published',
      () => halfOpen(50, SEED),
    ],
    [
      'I2: segments of one byte: every message is taken in order, and nothing piles up',
      () => oneByteSegments(10, 40, SEED),
    ],
  ])('%s', async (_, run) => {
    const { peers, ended } = await run()
    expect(ended).toBe(peers)
  })
})

const MAX_STORM_ACK_MS = 250

test('a reconnect storm of hundreds does not hold up the acks of those that publish', async () => {
  const storms = await measureStorms({ devices: 300, withinMs: 120, quietMs: 800, seed: SEED })
  const what = storms.reports.map(describeStorm).join('; ')
  for (const { connected } of storms.reports) expect(connected, what).toBe(300)
  // The ratio is the campaign's, on a quiet machine. Beside other tests 15 ms became 80 and 32
  // became 123.
  const leastMs = Math.min(...storms.reports.map(({ storm }) => storm.p99Ms))
  expect(storms.isHarmlessAtBest || leastMs <= MAX_STORM_ACK_MS, what).toBe(true)
}, 60_000)
