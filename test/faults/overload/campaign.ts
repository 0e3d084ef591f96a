/**
 * Fault 10, overload, the long campaign: disk, sink, backlog, connections, and who is heard
 * meanwhile. `runs` scales it.
 */

import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { measureBacklog } from '../../bench/measures.ts'
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { describeIdle, idleConnections } from './idle.ts'
import { backlogFaults, describeBacklog } from './limits.ts'
import { describeShares, measureShares } from './shares.ts'
import { describeSlowDevices, measureSlowDevices, slowDeviceFaults } from './slow-devices.ts'
import { describeSlowDisk, slowDisk } from './slow-disk.ts'
import { describeSlowSink, slowSink } from './slow-sink.ts'

/** At so many runs it has its full size. */
const FULL_RUNS = 1_000
const FULL_BACKLOG_RECORDS = 10_000_000
const FULL_IDLE_CONNECTIONS = 10_000
const FULL_SLOW_DISK_MS = 30_000
const FULL_SINK_MS = 60_000
const SHARES_MS = 30_000
/** A poor SD card: the disk is what is overloaded then, and the processors are not. */
const SLOW_CARD = { syncDelayMs: 100, loudWindow: 20 }
/** The processors are. */
const OWN_DISK = { syncDelayMs: 0, loudWindow: 100 }

interface Found {
  readonly line: string
  readonly faults: readonly string[]
  readonly counts: Readonly<Record<string, number>>
}

export async function campaign({ runs, seed, say }: CampaignOptions): Promise<CampaignResult> {
  const share = Math.min(1, runs / FULL_RUNS)
  const counts: Record<string, number> = {}
  const failures: string[] = []
  const steps = stepsOf(share, seed)
  for (const [name, step] of Object.entries(steps)) {
    const folder = overloadFolder()
    try {
      const found = await step(folder)
      say(`overload: ${found.line}`)
      failures.push(...found.faults.map((fault) => `seed ${seed}, ${name}: ${fault}`))
      Object.assign(counts, found.counts)
    } catch (error) {
      failures.push(`seed ${seed}, ${name}: ${String(error)}`)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  return { name: 'overload', runs: Object.keys(steps).length, faults: counts, failures }
}

function stepsOf(
  share: number,
  seed: number,
): Readonly<Record<string, (folder: string) => Promise<Found>>> {
  const slowDevices = async (folder: string, load: typeof SLOW_CARD): Promise<Found> => {
    const pairs = { windowMs: 5_000, windowPairs: 7 }
    const report = await measureSlowDevices({ folder, seed, ...pairs, ...load })
    const counts = {
      [`acks of slow devices timed, fsync + ${load.syncDelayMs} ms`]: report.samples,
    }
    return { line: describeSlowDevices(report), faults: slowDeviceFaults(report), counts }
  }
  return {
    'slow disk': async (folder) => {
      const report = await slowDisk(folder, Math.max(4_000, share * FULL_SLOW_DISK_MS))
      return {
        line: describeSlowDisk(report),
        faults: report.faults,
        counts: { 'fsyncs slowed': report.slowed },
      }
    },
    'slow sink': async (folder) => {
      const fullMs = share * FULL_SINK_MS
      const report = await slowSink({ folder, maxBytesMib: 4, linkBytesPerSecond: 250_000, fullMs })
      const dropped = report.streams.reduce((sum, one) => sum + one.dropped, 0)
      return {
        line: describeSlowSink(report),
        faults: report.faults,
        counts: { 'readings dropped by policy': dropped },
      }
    },
    shares: async (folder) => {
      const report = await measureShares({ folder, bytesPerSecond: 60_000, lastsMs: SHARES_MS })
      return {
        line: describeShares(report),
        faults: report.faults,
        counts: { 'batches over a slow link': report.batches },
      }
    },
    'slow devices, slow disk': (folder) => slowDevices(folder, SLOW_CARD),
    'slow devices': (folder) => slowDevices(folder, OWN_DISK),
    'idle connections': async (folder) => {
      const report = await idleConnections(
        folder,
        Math.max(1_000, Math.round(share * FULL_IDLE_CONNECTIONS)),
      )
      return {
        line: describeIdle(report),
        faults: report.faults,
        counts: { 'idle connections': report.connected },
      }
    },
    backlog: async () => {
      const figures = await measureBacklog(Math.max(200_000, share * FULL_BACKLOG_RECORDS), seed)
      const counts = { 'records of a backlog': figures.records }
      return { line: describeBacklog(figures), faults: backlogFaults(figures), counts }
    },
  }
}

/** As /proc shows it, with the data folder in it. */
export function overloadFolder(): string {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'sluice-overload-'))
  mkdirSync(join(folder, 'data'))
  return folder
}
