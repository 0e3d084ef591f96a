/**
 * How this type names what it makes of a batch, and what it promises. The records go as the lines
 * that they are; all that changes the rows is in the fingerprint. A batch is exactly once in pieces
 * and in another form as well, since the number of its queue says what is stored.
 */
import { createHash } from 'node:crypto'
import type { BatchEncoder, SinkPromise } from '../../ports/sink.ts'
import type { PostgresSinkConfig } from './config.ts'

/** Gaps of one batch: a row each, in its transaction. */
const MAX_GAPS = 10_000

export const POSTGRES_PROMISE: SinkPromise = {
  delivery: 'exactly once',
  by: 'by one number per queue, in the same transaction',
  ack: 'durable',
}

export function postgresEncoder(config: PostgresSinkConfig): BatchEncoder {
  const { table, columns, time, onConflict } = config
  const form = JSON.stringify([table, Object.entries(columns), time.at, time.unit, onConflict])
  return {
    fingerprint: `postgres:rows:${createHash('sha256').update(form).digest('hex').slice(0, 8)}`,
    stitches: 'identity',
    gapsThatFit: (gaps) => Math.min(gaps.length, MAX_GAPS),
  }
}
