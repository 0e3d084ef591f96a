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

/** `free`: bytes of the disk that are; null: not known. */
export function outageCapacity(
  { streams, spool }: CliConfig,
  free: number | null = null,
): StreamCapacity[] {
  const room = free === null ? Number.POSITIVE_INFINITY : Math.max(0, free - spool.minFreeBytes)
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

/** What the limits want of the disk and it has not; `free`: its bytes that are. */
export function roomWarnings(config: CliConfig, free: number): string[] {
  const { minFreeBytes } = config.spool
  const reserved = reservedBytes(config)
  const warnings: string[] = []
  if (free < minFreeBytes)
    warnings.push(
      `spool.minFreeBytes: ${bytes(free)} of disk are free, less than ${bytes(minFreeBytes)}: no message would be accepted`,
    )
  if (reserved > free)
    warnings.push(
      `streams: the sum of maxBytes (${bytes(reserved)}, dead letters included) exceeds the free disk (${bytes(free)}); the disk would be full before the limits are reached. Lower maxBytes, or give the spool a larger disk`,
    )
  else if (reserved + minFreeBytes > free)
    warnings.push(
      `streams: the sum of maxBytes (${bytes(reserved)}, dead letters included) and spool.minFreeBytes exceed the free disk (${bytes(free)}); ingest would close before the limits are reached`,
    )
  return warnings
}
