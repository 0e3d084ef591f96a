/** The operator's view of dead letters (admin server, command line) on top of the spool's. */
import { AdminError, type DeadLetterAdmin } from './admin/actions.ts'
import { type DeadLetters, UnknownStreamError } from './spool/operations/dead-letters.ts'

export function deadLetterAdmin(letters: DeadLetters): DeadLetterAdmin {
  return {
    list: async ({ stream, after, limit }) => {
      const found = await typed(() => letters.list(stream, after, limit))
      return {
        deadLetters: found.map((l) => ({
          id: l.id,
          stream,
          origin: l.origin,
          status: l.status,
          reason: l.reason,
          deadLetteredAtMs: Date.parse(l.deadLetteredAt),
          bytes: l.bytes,
          truncated: l.truncated !== null,
          record: l.line.trimEnd(),
        })),
        next: found.length < limit ? null : (found.at(-1)?.cursor ?? null),
      }
    },
    requeue: async ({ stream, ids }) => {
      const { requeued, skipped } = await typed(() => letters.requeue(stream, ids))
      const why = 'only its first KiB was kept'
      return { changed: requeued, skipped: skipped.map((id) => ({ id, why })) }
    },
    purge: async ({ stream, ids }) => {
      return { changed: await typed(() => letters.purge(stream, ids)), skipped: [] }
    },
  }
}

/** What the operator can mend becomes an answer with a reason. */
async function typed<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    if (error instanceof UnknownStreamError) throw new AdminError('ADMIN_NOT_FOUND', error.message)
    if (error instanceof TypeError) throw new AdminError('ADMIN_BAD_REQUEST', error.message)
    throw error
  }
}
