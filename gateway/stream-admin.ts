/**
 * The operator's view of streams (admin server, command line) on top of the spool's: orphans that
 * are drained or exported.
 */

import { AdminError, type StreamAdmin } from './admin/actions.ts'
import type { Drain } from './drain/drain.ts'
import { SetAsideError, setAside } from './drain/stream/set-aside.ts'
import { OrphanError } from './spool/operations/orphans.ts'
import type { Spool } from './spool/spool.ts'

/** `drain`: null while the gateway does not run; it joins them at its start. */
export function streamAdmin(spool: Spool, drain: Drain | null): StreamAdmin {
  return {
    drainTo: async (stream, sink) => {
      try {
        const queue = await spool.orphans.drainTo(stream, sink)
        drain?.join(queue, sink)
      } catch (error) {
        if (error instanceof OrphanError) throw new AdminError(error.code, error.message)
        throw error
      }
    },
    park: async (stream, seq) => {
      const queue = spool.queues.find((each) => each.stream === stream)
      if (!queue) throw new AdminError('ADMIN_NOT_FOUND', `there is no stream ${stream}`)
      try {
        const isDrained = (await drain?.setAside(stream, seq)) ?? false
        if (!isDrained) await setAside(queue, seq, 'gzip')
      } catch (error) {
        if (error instanceof SetAsideError) throw new AdminError(error.code, error.message)
        throw error
      }
    },
    records: async (stream, after) => {
      try {
        const page = await spool.records(stream, after)
        if (page === null) throw new AdminError('ADMIN_NOT_FOUND', `there is no stream ${stream}`)
        return page
      } catch (error) {
        if (error instanceof TypeError) throw new AdminError('ADMIN_BAD_REQUEST', error.message)
        throw error
      }
    },
  }
}
