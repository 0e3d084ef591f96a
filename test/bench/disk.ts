/** The disk below a folder: what Linux counts of it, and how long one fsync takes. */
import { closeSync, fsyncSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const SECTOR_BYTES = 512

/**
 * What was written to the block device below a folder, by everybody; null: it has no statistics of
 * its own.
 */
export function deviceWrittenBytes(folder: string): number | null {
  const { dev } = statSync(folder, { bigint: true })
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn)
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn)
  try {
    const stat = readFileSync(`/sys/dev/block/${major}:${minor}/stat`, 'utf8').trim().split(/\s+/)
    return Number(stat[6]) * SECTOR_BYTES
  } catch {
    return null
  }
}

/**
 * Times of so many appends of 4 KiB with an fsync each, ms, one every `everyMs` (0: back to back).
 */
export async function fsyncTimesMs(
  folder: string,
  count: number,
  everyMs: number,
): Promise<number[]> {
  const file = join(folder, 'fsync-probe')
  const descriptor = openSync(file, 'a')
  const page = Buffer.alloc(4096, 0xa5)
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    if (everyMs > 0) await sleep(everyMs)
    const began = performance.now()
    writeSync(descriptor, page)
    fsyncSync(descriptor)
    times.push(performance.now() - began)
  }
  closeSync(descriptor)
  rmSync(file)
  return times
}
