/** Hostile bytes of MQTT 5: the fast selection. `SLUICE_SEED` repeats a run. */
import { afterEach, describe, expect, test } from 'vitest'
import { MosquittoServer } from '../../../support/mosquitto.ts'
import { SEED } from '../../../support/seed.ts'
import { testWithTool } from '../../../support/tool-tests.ts'
import { FuzzedGate, LIMITS } from '../fuzzed-gate.ts'
import { compareVerdicts } from './beside-mosquitto.ts'
import { newTotals5, runBatch5 } from './fuzzer.ts'

let gate: FuzzedGate | null = null

afterEach(async () => {
  await gate?.stop()
  gate = null
})

describe(`hostile bytes of MQTT 5 (SLUICE_SEED=${SEED})`, () => {
  test.each([
    ['memory', 20_000],
    ['tcp', 3_000],
  ] as const)(
    'I1, I2, I6, I9: broken sessions end or live by the rules and harm nobody (%s, %i packets)',
    async (transport, packets) => {
      gate = await FuzzedGate.start()
      const totals = newTotals5()
      for (let batch = 0; totals.packets < packets; batch += 1) {
        await runBatch5(gate, `${SEED}-${transport}-${batch}`, transport, totals)
        expect(totals.failures).toEqual([])
      }
      for (const count of Object.values(totals.mutations)) expect(count).toBeGreaterThan(3)
      for (const ending of ['lives', 'closed', 'CONNACK 0x81', 'CONNACK 0x82'])
        expect([...totals.endings.keys()]).toContain(ending)
      for (const ending of ['DISCONNECT 0x81', 'DISCONNECT 0x82', 'DISCONNECT 0x94'])
        expect([...totals.endings.keys()]).toContain(ending)
    },
  )

  testWithTool(
    'mosquitto',
    'what is valid lives with Mosquitto, too, and what it ends, ends',
    async () => {
      gate = await FuzzedGate.start()
      const server = await MosquittoServer.start([`max_packet_size ${LIMITS.maxPacketBytes}`])
      try {
        const ports = { gateway: gate.broker.addresses[0]!.port, mosquitto: server.port }
        const differences = await compareVerdicts(String(SEED), 640, ports)
        const told = differences.map(
          ({ plan, gateway, mosquitto }) =>
            `${plan.mutation}: gateway ${gateway}, Mosquitto ${mosquitto}`,
        )
        expect(told.filter((line) => line.startsWith('none: '))).toEqual([])
        // A bit can make a control character, which a server may take [section 1.5.4].
        const isLaxer = / lives, Mosquitto ends$/
        expect(told.filter((line) => isLaxer.test(line) && !line.startsWith('bits: '))).toEqual([])
        // Mosquitto takes acks with flags, and packets that are a server's.
        expect(told).toContain('flags of the header: gateway ends, Mosquitto lives')
      } finally {
        await server.stop()
      }
    },
  )
})
