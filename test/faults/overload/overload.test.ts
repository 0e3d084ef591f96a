/**
 * Fault 10, overload: the fast selection, against real gateway processes. The long campaign is
 * campaign.ts.
 */
import { rmSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { measureBacklog } from '../../bench/measures.ts'
import { reapProcesses } from '../../support/process.ts'
import { SEED } from '../../support/seed.ts'
import { testWithTool } from '../../support/tool-tests.ts'
import { overloadFolder } from './campaign.ts'
import { describeIdle, idleConnections } from './idle.ts'
import { backlogFaults, describeBacklog } from './limits.ts'
import { describeShares, measureShares } from './shares.ts'
import { describeSlowDisk, slowDisk } from './slow-disk.ts'
import { describeSlowSink, slowSink } from './slow-sink.ts'

const TIMEOUT_MS = 150_000

afterAll(reapProcesses)

async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = overloadFolder()
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

describe('overload', () => {
  testWithTool(
    'gcc',
    'I1, I6: publishers faster than the disk: acks wait for their fsync, memory is bounded, nothing is lost',
    async () => {
      const report = await inFolder((folder) => slowDisk(folder, 4_000))
      console.log(describeSlowDisk(report))
      expect(report.faults).toEqual([])
    },
    TIMEOUT_MS,
  )

  test(
    'I5, I6, I9: a sink slower than the publishers: backlogs grow to maxBytes, then whenFull holds, all is accounted for',
    async () => {
      const options = { maxBytesMib: 1, linkBytesPerSecond: 150_000, fullMs: 500 }
      const report = await inFolder((folder) => slowSink({ folder, ...options }))
      console.log(describeSlowSink(report))
      expect(report.faults).toEqual([])
    },
    TIMEOUT_MS,
  )

  test(
    'live readings flow while backlogs of lower priority drain, and the lowest gets its share',
    async () => {
      const options = { bytesPerSecond: 40_000, lastsMs: 13_000 }
      const report = await inFolder((folder) => measureShares({ folder, ...options }))
      console.log(describeShares(report))
      expect(report.faults).toEqual([])
    },
    TIMEOUT_MS,
  )

  test(
    'I6: a thousand idle connections hold 28 KiB each at most, besides what the heap grows by once, and others are acknowledged beside them',
    async () => {
      const report = await inFolder((folder) => idleConnections(folder, 1_000))
      console.log(describeIdle(report))
      expect(report.faults).toEqual([])
    },
    TIMEOUT_MS,
  )

  test(
    'I6, I7: a large backlog takes no memory, and no time at the start',
    async () => {
      const figures = await measureBacklog(200_000, SEED, 1_000)
      console.log(describeBacklog(figures))
      expect(backlogFaults(figures)).toEqual([])
    },
    TIMEOUT_MS,
  )
})
