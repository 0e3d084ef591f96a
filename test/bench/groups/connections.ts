/** What a connection that sends nothing takes of memory. */
import { setTimeout as sleep } from 'node:timers/promises'
import { judged } from '../goals.ts'
import { type Group, withSluice } from '../group.ts'
import { type Memory, memoryMb, runPublisher } from '../processes.ts'

const CONNECTIONS = 5000
const SETTLE_MS = 3000
/** Long enough for garbage of the connects to be collected. */
const HELD_MS = 8000

export const connections: Group = {
  name: 'connections',
  about: `${CONNECTIONS} idle connections: memory of each`,
  run: async ({ seed, say }) =>
    withSluice({}, async (system) => {
      await sleep(SETTLE_MS)
      const { pid } = system.process
      const before = memoryMb(pid)
      let held: Memory | null = null
      const idle = { firstDevice: 0, window: 1, qos: 1, warmupMs: 0, messagesPerSecond: 0 } as const
      await runPublisher(
        { ...idle, port: system.port, devices: CONNECTIONS, measureMs: HELD_MS, seed },
        {
          ended: () => {
            held = memoryMb(pid)
          },
        },
      )
      const after: Memory = held ?? before
      say(
        `  RssAnon ${before.rssAnon.toFixed(0)} MB without, ${after.rssAnon.toFixed(0)} MB with ${CONNECTIONS} connections`,
      )
      const each = (of: (m: Memory) => number): number =>
        ((of(after) - of(before)) * 1024) / CONNECTIONS
      return [
        judged(
          {
            measure: `RssAnon per idle connection (${CONNECTIONS})`,
            atMost: 28,
            unit: 'KiB',
            digits: 1,
            note: `VmRSS ${each((m) => m.rss).toFixed(1)} KiB`,
          },
          [each((m) => m.rssAnon)],
        ),
      ]
    }),
}
