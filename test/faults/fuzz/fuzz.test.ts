/**
 * Fault 12, hostile bytes: the fast selection. `SLUICE_SEED` repeats a run; the long campaign is
 * campaign.ts.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { SEED } from '../../support/seed.ts'
import { cutEverywhere } from './boundaries.ts'
import { newChaosTotals, runChaos, startTightGate } from './chaos.ts'
import { compareCodecs, newCodecTotals } from './codec.ts'
import { FuzzedGate } from './fuzzed-gate.ts'
import { type FuzzTotals, newTotals, runBatch } from './fuzzer.ts'

const ENDINGS = ['open', 'closed malformed', 'closed packet-too-large', 'closed client-disconnect']

/** What a run has to have met before its verdict counts, and has not. */
function notMet(totals: FuzzTotals): string[] {
  const often = Object.entries({ ...totals.mutations, ...totals.splits }).filter(
    ([, count]) => count <= 5,
  )
  return [
    ...often.map(([what]) => what),
    ...ENDINGS.filter((ending) => !totals.endings.has(ending)),
  ]
}

let gate: FuzzedGate | null = null

afterEach(async () => {
  await gate?.stop()
  gate = null
})

describe(`hostile bytes (SLUICE_SEED=${SEED})`, () => {
  test.each([
    ['memory', 12_000],
    ['tcp', 2_500],
  ] as const)(
    'I2, I3, I6, I9: broken sessions end or live by the rules and harm nobody (%s, %i packets)',
    async (transport, packets) => {
      gate = await FuzzedGate.start()
      const totals = newTotals()
      // A seed meets what is rare early or late: on until all of it was met, within a bound that no
      // seed needs.
      for (let batch = 0; totals.packets < packets || notMet(totals).length > 0; batch += 1) {
        expect(totals.packets, `still not met: ${notMet(totals).join(', ')}`).toBeLessThan(
          packets * 10,
        )
        await runBatch(gate, `${SEED}-${transport}-${batch}`, transport, totals)
        expect(totals.failures).toEqual([])
      }
    },
  )

  test('I6: connections that race, are cut and do not read leave nothing behind', async () => {
    gate = await startTightGate()
    const totals = newChaosTotals()
    const isMet = (): boolean => totals.takeovers > 5 && totals.heldCommits * totals.fullStreams > 0
    for (let round = 0; round < 24 || !isMet(); round += 1) {
      expect(round, `still not met: ${JSON.stringify(totals)}`).toBeLessThan(240)
      await runChaos(gate, `${SEED}-${round}`, round % 4 === 0 ? 'tcp' : 'memory', totals)
      expect(totals.failures).toEqual([])
    }
  })

  test('a session means the same wherever its bytes are cut', async () => {
    gate = await FuzzedGate.start()
    expect(await cutEverywhere(gate, 'memory')).toBeGreaterThan(400)
    expect(gate.takeFaults()).toEqual([])
  })

  test('whatever the gateway takes, mqtt-packet reads the same', () => {
    const totals = newCodecTotals()
    for (let session = 0; session < 400; session += 1) compareCodecs(`${SEED}-${session}`, totals)
    for (const same of Object.values(totals.same)) expect(same).toBeGreaterThan(50)
    expect(totals.refused).toBeGreaterThan(100)
  })
})
