/** What this process wrote to disk, as the kernel counts it: the number that wears out flash. */
import { readFileSync } from 'node:fs'

/**
 * Bytes that this process caused to be sent to the storage layer since it began (`write_bytes`,
 * proc(5)); null where the system does not tell. Reads a file of the kernel's, not of a disk: it
 * does not block.
 */
export function readWrittenBytes(path = '/proc/self/io'): number | null {
  try {
    const match = /^write_bytes: (\d+)$/m.exec(readFileSync(path, 'utf8'))
    return match === null ? null : Number(match[1])
  } catch {
    return null
  }
}
