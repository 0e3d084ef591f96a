/** What the steps of one try share, and the two that several of them take. */
import type { Batch } from '../../../ports/sink.ts'
import type { PostgresSinkConfig } from '../config.ts'
import { gapsStatement, type QueueName, type RowForm } from '../sql/statements.ts'
import type { Link, StatementPatience } from '../wire/link.ts'

export interface BatchTry {
  readonly batch: Batch
  readonly link: Link
  readonly config: PostgresSinkConfig
  readonly form: RowForm
  readonly patience: StatementPatience
  /** The number of each queue as this process saw it last. */
  readonly known: Map<string, number>
  /** From here on nobody knows whether it arrived. */
  readonly onSent: (bytes: number) => void
}

/** Of a batch that stores nothing now. Each is told once, whatever is repeated. */
export async function tellGaps(
  { batch, link, form, patience }: BatchTry,
  queue: QueueName,
): Promise<void> {
  const statement = gapsStatement(form, queue, batch.gaps)
  if (statement !== null) await link.run(statement, patience)
}

export function keyOf({ gateway, spoolId, stream }: QueueName): string {
  return `${gateway}:${spoolId}:${stream}`
}
