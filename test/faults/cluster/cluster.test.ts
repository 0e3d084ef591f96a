/** The cluster's scenarios, short: what the long campaign (campaign.ts) does with 200 devices. */
import { expect } from 'vitest'
import { SEED } from '../../support/seed.ts'
import { testWithTool } from '../../support/tool-tests.ts'
import { runScenario } from './campaign.ts'
import { SCENARIOS } from './scenarios.ts'

const TOOLS = ['haproxy', 'nats-server'] as const
const TIMEOUT_MS = 120_000
const FLEET = { seed: SEED, gateways: 2, devices: 16, paceMs: 100 }
const OPTIONS = { seed: SEED, holdMs: 500, kills: 2 }

for (const name of Object.keys(SCENARIOS) as (keyof typeof SCENARIOS)[])
  testWithTool(
    [...TOOLS],
    `${name} (SLUICE_SEED=${SEED})`,
    async () => {
      expect((await runScenario(name, FLEET, OPTIONS)).faults).toEqual([])
    },
    TIMEOUT_MS,
  )

testWithTool(
  [...TOOLS],
  `T8 a gateway that acknowledges from the spool what has to be delivered is found out (SLUICE_SEED=${SEED})`,
  async () => {
    const planted = { ...FLEET, acksEarly: true as const }
    const name = 'T2 a gateway and its disk are destroyed'
    const { faults } = await runScenario(name, planted, OPTIONS)
    expect(faults.join()).toMatch(/acknowledged readings \(delivered\) are lost/)
  },
  TIMEOUT_MS,
)
