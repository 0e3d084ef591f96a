/** Is the disk of the data folder large, fast and lasting enough? Pure. */

import { bytes, count } from '../../shared/text/words.ts'
import type { CliConfig } from '../config.ts'
import { type DiskRoom, roomWarnings } from '../text/capacity.ts'
import { type Diagnosis, problem, untold, warning, well } from './diagnosis.ts'
import type { FileSystemFacts } from './file-system.ts'

/** LevelDB alone has some dozens of files; a log folder beside it may have thousands. */
const LEAST_FREE_INODES = 1_000

/** Twice the usual commit interval: acks wait for the disk, and not for each other. */
const SLOW_SYNC_MS = 100
/** A stall of this length is seen by every device at once. */
const STALLED_SYNC_MS = 1_000

const IN_MEMORY: ReadonlyMap<number, string> = new Map([
  [0x0102_1994, 'tmpfs'],
  [0x8584_58f6, 'ramfs'],
])
const REMOTE: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0xff53_4d42, 'CIFS'],
  [0xfe53_4d42, 'SMB'],
])

export function diskDiagnoses(config: CliConfig, facts: FileSystemFacts | null): Diagnosis[] {
  if (facts === null) return [untold('disk-space', 'the free space cannot be told')]
  return [space(config, facts), inodes(facts), kind(facts)]
}

const SPACE_FIX = 'make room, or give the data folder a larger disk'

function space(config: CliConfig, room: DiskRoom): Diagnosis {
  const { minFreeBytes } = config.spool
  const is = `${bytes(room.freeBytes)} are free`
  if (room.freeBytes < minFreeBytes)
    return problem(
      'disk-space',
      `${is}, less than spool.minFreeBytes (${bytes(minFreeBytes)}): no message is accepted`,
      SPACE_FIX,
    )
  const [lacking] = roomWarnings(config, room)
  if (lacking !== undefined)
    return warning('disk-space', lacking, `${SPACE_FIX}, or lower maxBytes of the streams`)
  return well('disk-space', is)
}

function inodes({ inodes: all, freeInodes: free }: FileSystemFacts): Diagnosis {
  if (all === 0) return well('disk-inodes', 'the file system has no fixed number of inodes')
  if (free >= LEAST_FREE_INODES) return well('disk-inodes', `${count(free)} inodes are free`)
  return problem(
    'disk-inodes',
    `${count(free)} of ${count(all)} inodes are free: no file can be made soon, whatever room there is`,
    'remove small files (df -i shows where), or give the data folder a disk of its own',
  )
}

function kind({ type }: FileSystemFacts): Diagnosis {
  const memory = IN_MEMORY.get(type)
  if (memory !== undefined)
    return problem(
      'disk-kind',
      `the data folder is in memory (${memory}): a power cut loses what was acknowledged`,
      'set gateway.dataDir to a folder on a disk',
    )
  const remote = REMOTE.get(type)
  if (remote !== undefined)
    return warning(
      'disk-kind',
      `the data folder is on another machine (${remote}): without it no message is acknowledged`,
      'set gateway.dataDir to a folder on a disk of this machine',
    )
  return well('disk-kind', 'the data folder is on a disk of this machine')
}

/** `syncMs`: how long each of some writes took until it was durable; null: none was made. */
export function syncDiagnosis(syncMs: readonly number[] | null): Diagnosis {
  if (syncMs === null || syncMs.length === 0)
    return untold('disk-fsync', 'not measured: there is no data folder that takes a file')
  const sorted = syncMs.toSorted((a, b) => a - b)
  const usual = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0
  const longest = sorted.at(-1) ?? 0
  const said = `fsync takes ${shown(usual)} ms, at most ${shown(longest)} ms in ${sorted.length} tries`
  if (usual <= SLOW_SYNC_MS && longest <= STALLED_SYNC_MS) return well('disk-fsync', said)
  return warning(
    'disk-fsync',
    `${said}: every ack waits for one`,
    'use a faster disk (an SD card wears out this way), or end what else writes to it (iotop -o)',
  )
}

function shown(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : String(Math.round(ms))
}
