/** How a spool is opened under a configuration: by a gateway that starts, or by a command. */
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from './configuration.ts'
import { REOPEN_INTERVAL_MS } from './spool/commit/committer.ts'
import { describeError, isPassing, isReadFailure } from './spool/disk/disk-errors.ts'
import type { EmitSpoolEvent } from './spool/events.ts'
import { Spool, type SpoolOptions } from './spool/spool.ts'
import { Patience } from './spool/store/patient-reads.ts'

export function spoolOptions(config: Config, emit: EmitSpoolEvent): SpoolOptions {
  return {
    dataDir: config.gateway.dataDir,
    gatewayId: config.gateway.id,
    hostName: hostname(),
    streams: config.streams,
    sinks: config.sinks,
    config: config.spool,
    emit,
  }
}

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
