/** One run of a gateway over its backlog, and one of the bare program over the same batches. */
import { setTimeout as sleep } from 'node:timers/promises'
import { builtFile, runToEnd } from '../../support/process.ts'
import { withSystem } from '../group.ts'
import { pending } from '../measures.ts'
import { cpuSeconds, OWN_NODE } from '../processes.ts'
import { startSluice } from '../systems.ts'
import type { Backlog } from './backlog.ts'
import type { BareResult, BareRun } from './bare/task.ts'
import type { Place, Rate } from './contest.ts'

/** Before the clock runs: connections, and code that is cold. A batch of the bare one. */
const WARM_UP_RECORDS = 10_000
const POLL_MS = 10
const RUN_TIMEOUT_MS = 180_000

interface Moment {
  readonly ms: number
  readonly cpu: number
  readonly sent: number
}

/** Of a gateway, which finds the backlog in its spool and the receiver there. */
export async function gatewayRate(backlog: Backlog, place: Place, records: number): Promise<Rate> {
  return await backlog.withCopy((folder) =>
    withSystem(
      () => startSluice({ folder, sink: place.sink, node: place.node ?? OWN_NODE }),
      async (system) => {
        const { pid } = system.process
        const total = backlog.records
        const endsMs = performance.now() + RUN_TIMEOUT_MS
        const sentAtLeast = async (count: number): Promise<Moment> => {
          for (;;) {
            const sent = total - (await pending(system))
            const ms = performance.now()
            if (sent >= count) return { ms, cpu: cpuSeconds(pid), sent }
            if (ms > endsMs)
              throw new Error(`only ${sent} records were sent: ${system.process.output()}`)
            await sleep(POLL_MS)
          }
        }
        const began = await sentAtLeast(WARM_UP_RECORDS)
        const ended = await sentAtLeast(records)
        return rateOf(ended.sent - began.sent, (ended.ms - began.ms) / 1000, ended.cpu - began.cpu)
      },
    ),
  )
}

/** Of a program that has the batches in memory. */
export async function bareRate(backlog: Backlog, place: Place, records: number): Promise<Rate> {
  const run: BareRun = { task: place.bare, batches: backlog.batches, records }
  const program = builtFile('test/bench/sinks/bare/main.js')
  const node = place.node ?? OWN_NODE
  const { exit, stdout, stderr } = await runToEnd(node.path, [program, JSON.stringify(run)], {
    timeoutMs: RUN_TIMEOUT_MS,
    env: { UV_THREADPOOL_SIZE: '8', ...node.env },
  })
  if (exit.code !== 0) throw new Error(`the bare program ended with ${exit.code}: ${stderr}`)
  const result = JSON.parse(stdout) as BareResult
  return rateOf(result.records, result.seconds, result.cpuSeconds)
}

function rateOf(records: number, seconds: number, cpu: number): Rate {
  return { recordsPerSecond: records / seconds, cpuMicrosPerRecord: (cpu * 1e6) / records }
}
