/**
 * What the row of a queue says of a batch: one number, which moves in the transaction that stores.
 * Pure. A spool that was rolled back or cloned deals numbers once more; only here it shows, by the
 * digest of the record at that number.
 */
import { createHash } from 'node:crypto'
import type { QueueMove } from '../sql/statements.ts'
import type { Row } from '../wire/link.ts'

/** As the database has it; `digest` is null when an operator set the number. */
export type QueueRow = Omit<QueueMove, 'digest'> & { readonly digest: string | null }

type Standing =
  /** All that is behind `after` is new. */
  | { readonly kind: 'send'; readonly after: number }
  /** Everything is stored, but for those that were refused. */
  | { readonly kind: 'settled' }
  /** The database does not know any more what it acked. */
  | { readonly kind: 'rolled-back'; readonly known: number }

interface BatchBounds {
  readonly firstSeq: number
  readonly lastSeq: number
}

const DIGEST_CHARS = 16

/** @param known the number as this process saw it last; null: it did not yet */
export function standingOf(row: QueueRow, batch: BatchBounds, known: number | null): Standing {
  if (known !== null && row.highest < known) return { kind: 'rolled-back', known }
  return row.highest >= batch.lastSeq ? { kind: 'settled' } : { kind: 'send', after: row.highest }
}

/** Can the batch show that it is the one that was stored? */
export function isComparable(row: QueueRow, { firstSeq, lastSeq }: BatchBounds): boolean {
  return row.digest !== null && row.highest >= firstSeq && row.highest <= lastSeq
}

export function digestOf(line: Uint8Array): string {
  return createHash('sha256').update(line).digest('hex').slice(0, DIGEST_CHARS)
}

/** null: the queue has no row yet. */
export function queueRowOf([row]: readonly Row[]): QueueRow | null {
  if (row === undefined) return null
  const refused = row['refused'] as unknown as string | null
  return {
    highest: Number(row['highest']),
    digest: row['digest'] ?? null,
    refused: (refused ?? '{}').slice(1, -1).split(',').filter(Boolean).map(Number),
  }
}
