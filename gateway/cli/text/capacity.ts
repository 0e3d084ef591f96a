/**
 * How long an outage the limits can bridge: an estimate on the safe side, with its assumptions.
 * Pure.
 *
 * A record on disk is its line (payload and envelope), compressed with its neighbors of the same
 * commit. Measured on realistic readings: 0.25 in large blocks, 0.48 in blocks of five; a record
 * alone is hardly compressed at all.
 */

import { bytes } from '../../shared/text/words.ts'
import type { CliConfig } from '../config.ts'

export const RATES_PER_SECOND = [1, 10, 100] as const
export const MESSAGE_BYTES = 300
/**
 * Id, device, topic, time and punctuation of a line: 170 in the contract's example, more with long
 * topics.
 */
export const ENVELOPE_BYTES = 200
/** Header of a block (about 80) and its share of the index. */
const BLOCK_OVERHEAD_BYTES = 100
const SMALL_BLOCK_RECORDS = 5
const COMPRESSED_SHARE = 0.5

/** Bytes of `maxBytes` that one message takes at a steady rate. */
export function storedBytesPerMessage(ratePerSecond: number, commitIntervalMs: number): number {
  const records = Math.max(1, (ratePerSecond * commitIntervalMs) / 1_000)
  const share = records >= SMALL_BLOCK_RECORDS ? COMPRESSED_SHARE : 1
  return (MESSAGE_BYTES + ENVELOPE_BYTES) * share + BLOCK_OVERHEAD_BYTES / records
}

export interface StreamCapacity {
  readonly stream: string
  /** One per rate of {@link RATES_PER_SECOND}. */
  readonly hours: readonly number[]
  /** True: `maxAge` ends it before `maxBytes` does, at some rate. */
  readonly limitedByAge: boolean
  /** True: the disk is full before `maxBytes` is reached. */
  readonly limitedByDisk: boolean
}

/** What the disk has for the limits: a spool that holds much has taken that much of it already. */
export interface DiskRoom {
  readonly freeBytes: number
  /** By the data folder. */
  readonly usedBytes: number
}

/** From an empty spool on. `disk`: null: not known. */
export function outageCapacity(
  { streams, spool }: CliConfig,
  disk: DiskRoom | null = null,
): StreamCapacity[] {
  const room =
    disk === null
      ? Number.POSITIVE_INFINITY
      : Math.max(0, disk.freeBytes + disk.usedBytes - spool.minFreeBytes)
  return Object.entries(streams).map(([stream, config]) => {
    const maxBytes = Math.min(config.maxBytes, room)
    const bySize = RATES_PER_SECOND.map((rate) => hoursBySize(maxBytes, rate, spool.commitInterval))
    const byAge = config.maxAge === null ? Number.POSITIVE_INFINITY : config.maxAge / 3_600_000
    return {
      stream,
      hours: bySize.map((hours) => Math.min(hours, byAge)),
      limitedByAge: bySize.some((hours) => byAge < hours),
      limitedByDisk: maxBytes < config.maxBytes,
    }
  })
}

function hoursBySize(maxBytes: number, rate: number, commitIntervalMs: number): number {
  return maxBytes / storedBytesPerMessage(rate, commitIntervalMs) / rate / 3_600
}

/** What the streams may take all together: their records, and both kinds of dead letters. */
export function reservedBytes({ streams }: CliConfig): number {
  return Object.values(streams).reduce(
    (sum, { maxBytes, deadLetters }) => sum + maxBytes + 2 * deadLetters.maxBytes,
    0,
  )
}

/** What the limits want of the disk and it has not. */
export function roomWarnings(config: CliConfig, { freeBytes, usedBytes }: DiskRoom): string[] {
  const { minFreeBytes } = config.spool
  const reserved = reservedBytes(config)
  const room = freeBytes + usedBytes
  const warnings: string[] = []
  if (freeBytes < minFreeBytes)
    warnings.push(
      `spool.minFreeBytes: ${bytes(freeBytes)} of disk are free, less than ${bytes(minFreeBytes)}: no message would be accepted`,
    )
  const has = `${bytes(freeBytes)}${usedBytes === 0 ? '' : `, and ${bytes(usedBytes)} that the data folder holds`}`
  if (reserved > room)
    warnings.push(
      `streams: the sum of maxBytes (${bytes(reserved)}, dead letters included) exceeds the free disk (${has}); the disk would be full before the limits are reached. Lower maxBytes, or give the spool a larger disk`,
    )
  else if (reserved + minFreeBytes > room)
    warnings.push(
      `streams: the sum of maxBytes (${bytes(reserved)}, dead letters included) and spool.minFreeBytes exceed the free disk (${has}); ingest would close before the limits are reached`,
    )
  return warnings
}
