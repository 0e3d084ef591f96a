/** The bare server of reference-server.ts as a system that a load can be measured on. */
import { tmpdir } from 'node:os'
import { freePort } from '../../device-sim/free-ports.ts'
import type { LoadFigures } from './load.ts'
import { listening, startNode } from './processes.ts'
import { COMMIT_INTERVAL_MS, type System } from './systems.ts'

/** Acknowledges at an interval, ms, or behind each fsync of a file. */
export async function startReference(intervalOrFile: number | string): Promise<System> {
  const port = await freePort()
  const process = startNode('test/bench/reference-server.js', [
    String(port),
    String(intervalOrFile),
  ])
  await listening(port, process)
  return {
    name: 'bare server',
    version: '',
    port,
    process,
    folder: tmpdir(),
    delivered: async () => null,
    status: async () => null,
    stop: () => process.stop('SIGKILL'),
  }
}

/** As often as the gateway committed under this load. */
export function ackIntervalMs({ commitsPerSecond }: LoadFigures): number {
  return Math.round(1000 / (commitsPerSecond ?? 1000 / COMMIT_INTERVAL_MS))
}
