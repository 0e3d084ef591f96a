/**
 * What the gateway is held to under overload (fault 10), and how its memory is read while it lasts.
 */

import type { Status } from '../../../gateway/ports/status.ts'
import type { BacklogFigures } from '../../bench/measures.ts'
import { memoryMb } from '../../bench/processes.ts'

/**
 * Above what it was before the load: unacknowledged messages and held-back bytes at their defaults,
 * and a commit.
 */
export const MAX_OVERLOAD_GROWTH_MB = 160
/** RssAnon with a backlog of any size. */
export const MAX_BACKLOG_RSS_ANON_MB = 150
/** From the start of the process to a PUBACK, whatever the backlog ... */
export const MAX_START_MS = 2_000
/**
 * ... or so many times what an empty spool takes in the same run: a busy machine measures itself.
 */
export const MAX_START_RATIO = 1.5
export const MAX_IDLE_CONNECTION_KIB = 28
/** Once, however many connect: the young generation of the heap grows to its maximum. */
export const HEAP_GROWTH_MB = 16
/** For what no backlog explains, after an overload: waits between tries, a busy machine. */
const SETTLING_MS = 60_000
/** What a sink without a slow link takes at the least, raw NDJSON. */
const LEAST_DRAIN_BYTES_PER_SECOND = 250_000
/**
 * p99 of the acks of slow devices while others publish faster than the disk takes it, against the
 * quiet one.
 */
export const MAX_ACK_RATIO = 3
/**
 * The same p99 where the disk keeps up and the others take all of the processor: no ratio holds
 * there.
 */
export const MAX_BUSY_ACK_MS = 250

/**
 * How long the drain may take behind an overload: what waits goes at least as fast as the link was
 * while it was slow.
 *
 * @param bytesPerSecond of a slow link, raw NDJSON
 */
export function drainTimeoutMs(
  { streams }: Status,
  bytesPerSecond = LEAST_DRAIN_BYTES_PER_SECOND,
): number {
  const waiting = streams.reduce((sum, { backlogBytes }) => sum + backlogBytes, 0)
  return SETTLING_MS + Math.ceil((waiting / bytesPerSecond) * 1000)
}

const SAMPLE_EVERY_MS = 100

export interface MemoryPeak {
  /** Before the load, MB. */
  readonly baseRssAnon: number
  readonly rssAnon: number
  readonly rss: number
}

/** The most that a process holds while `during` lasts. */
export async function peakOf(
  pid: number | undefined,
  during: () => Promise<void>,
): Promise<MemoryPeak> {
  if (pid === undefined) throw new Error('the gateway has no pid')
  const base = memoryMb(pid)
  let { rssAnon, rss } = base
  const sampler = setInterval(() => {
    const now = memoryMb(pid)
    rssAnon = Math.max(rssAnon, now.rssAnon)
    rss = Math.max(rss, now.rss)
  }, SAMPLE_EVERY_MS)
  try {
    await during()
  } finally {
    clearInterval(sampler)
  }
  return { baseRssAnon: base.rssAnon, rssAnon, rss }
}

export function describePeak({ baseRssAnon, rssAnon, rss }: MemoryPeak): string {
  return `RssAnon ${baseRssAnon.toFixed(0)} -> ${rssAnon.toFixed(0)} MB at most, VmRSS ${rss.toFixed(0)} MB`
}

export function memoryFaults(what: string, peak: MemoryPeak): string[] {
  const growth = peak.rssAnon - peak.baseRssAnon
  return growth <= MAX_OVERLOAD_GROWTH_MB
    ? []
    : [`I6: ${what}: ${describePeak(peak)}, ${MAX_OVERLOAD_GROWTH_MB} more are allowed`]
}

export function backlogFaults(figures: BacklogFigures): string[] {
  const { fullRssAnonMb, fullStartMs, emptyStartMs } = figures
  const faults: string[] = []
  // Not above: NaN is a fault, too.
  if (!(fullRssAnonMb <= MAX_BACKLOG_RSS_ANON_MB))
    faults.push(`I6: ${describeBacklog(figures)}: ${MAX_BACKLOG_RSS_ANON_MB} MB are allowed`)
  if (!(fullStartMs <= Math.max(MAX_START_MS, MAX_START_RATIO * emptyStartMs)))
    faults.push(`${describeBacklog(figures)}: ${MAX_START_MS} ms are allowed`)
  return faults
}

export function describeBacklog(figures: BacklogFigures): string {
  const { records, fullRssAnonMb, emptyRssAnonMb, fullStartMs, emptyStartMs } = figures
  return (
    `backlog of ${records} records: RssAnon ${emptyRssAnonMb.toFixed(0)} MB empty, ${fullRssAnonMb.toFixed(0)} MB full; ` +
    `start to PUBACK ${emptyStartMs.toFixed(0)} ms empty, ${fullStartMs.toFixed(0)} ms full`
  )
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
