/**
 * `sluice spool new-id`: new records start under a fresh spool id, and what waits in streams whose sink has other records under
 * its numbers goes on under it, too.
 */
import { systemClock } from './drain/clock.ts'
import { DrainNotes } from './drain/notes.ts'
import type { Spool } from './spool/spool.ts'

export async function startNewIdentity(spool: Spool): Promise<string> {
  const notes = new DrainNotes(spool.notes, systemClock(), () => undefined)
  const isCloned = (sink: string, stream: string): boolean =>
    notes.hold(sink, stream)?.reason === 'clone'
  const cloned = spool.queues.filter(({ sink, stream }) => isCloned(sink, stream))
  const spoolId = await spool.newId('it was asked for')
  for (const { stream } of cloned) await spool.renumber(stream)
  return spoolId
}
