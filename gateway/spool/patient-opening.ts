/** Opening the spool of a gateway that starts: what may pass is waited for. */
import { setTimeout as sleep } from 'node:timers/promises'
import { REOPEN_INTERVAL_MS } from './commit/committer.ts'
import { describeError, isPassing, isReadFailure } from './disk/disk-errors.ts'
import { Spool, type SpoolOptions } from './spool.ts'
import { Patience } from './store/patient-reads.ts'

/**
 * A disk that is full or fails, or a machine without free descriptors or memory, may recover later,
 * when nobody is there to start the gateway again. So it waits (I6) and leaves every byte where it
 * is. Only a store that the disk cannot read for two minutes is left aside, untouched, and a new
 * one begins beside it: intake goes on. What waiting cannot change (permissions, a folder in use, a
 * file system without locks) is an error.
 */
export async function openWhenPossible(options: SpoolOptions): Promise<Spool> {
  const patience = new Patience()
  let besideUnreadable = false
  for (;;) {
    try {
      return await Spool.open({ ...options, besideUnreadable })
    } catch (error) {
      if (!isPassing(error)) throw error
      besideUnreadable = isReadFailure(error) && patience.isOver('store')
      options.emit({
        type: 'spool.storage-failed',
        detail: describeError(error),
        retryMs: REOPEN_INTERVAL_MS,
      })
      await sleep(REOPEN_INTERVAL_MS)
    }
  }
}
