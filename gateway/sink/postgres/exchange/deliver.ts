/**
 * One try of a batch: exactly once, by the number of its queue that moves in the transaction that
 * stores the records. Nothing of an earlier try is remembered but that number: what became of it is
 * read back from the database, after a lost answer, after a kill, in another form.
 *
 * Usually one statement. If the number is not where it was left: what the row says decides. If the
 * database does not take what a record holds: piecemeal.ts finds which.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Batch, Listed, SinkAnswer } from '../../../ports/sink.ts'
import type { PostgresSinkConfig } from '../config.ts'
import { parseSource } from '../sql/columns.ts'
import { quotedTable } from '../sql/identifiers.ts'
import { openQueue, type QueueName, type RowForm, readQueue, storeSql } from '../sql/statements.ts'
import { type DatabaseFacts, readFacts } from '../wire/facts.ts'
import { ChangedTableError, faultOf } from '../wire/faults.ts'
import { type BatchRows, rowsOf } from './batch-rows.ts'
import { type BatchTry, keyOf, tellGaps } from './context.ts'
import { storePiecemeal } from './piecemeal.ts'
import { digestOf, isComparable, type QueueRow, queueRowOf, standingOf } from './standing.ts'

/** How often the number may be found moved in one try: others that move it are a clone. */
const MAX_ROUNDS = 4
const SAID = { code: null, sinkDateMs: null } as const

export function formOf(config: PostgresSinkConfig, facts: DatabaseFacts): RowForm {
  const columns = Object.entries(config.columns).map(([name, source]) => ({
    name,
    source: parseSource(source),
    type: facts.columns.get(name)?.type ?? 'text',
    category: facts.columns.get(name)?.category ?? 'S',
  }))
  const { table, queueTable, gapTable, time, onConflict } = config
  return { table, queueTable, gapTable, columns, time, onConflict }
}

/** @throws what the connection throws */
export async function deliver(attempt: BatchTry): Promise<SinkAnswer> {
  const { batch, config, form, known } = attempt
  const queue = { gateway: batch.gateway, spoolId: batch.spoolId, stream: batch.stream }
  const key = keyOf(queue)
  const rows = await rowsOf(batch, config)
  const last = known.get(key) ?? null
  // Some of the batch is stored: its row says what of that was refused.
  let begun: Begun | null =
    last === null || last >= batch.firstSeq ? null : { after: last, refused: rows.refused }
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (begun === null) {
      const row = await rowOf(attempt, queue)
      const standing = standingOf(row, batch, last)
      if (standing.kind === 'rolled-back') return rolledBack(queue, row, standing.known, config)
      const other = await otherRecord(batch, row)
      if (other !== null) return other
      known.set(key, row.highest)
      begun = { after: row.highest, refused: refusedOf(batch, row, rows.refused) }
      if (standing.kind === 'settled') {
        await tellGaps(attempt, queue)
        // Beyond the batch: whether this spool ever sent that much is the drain's to judge.
        return verdicts(row.highest > batch.lastSeq ? row.highest : null, begun.refused)
      }
    }
    const answer = await store(attempt, queue, begun, rows)
    if (answer !== null) return answer
    await checkForm(attempt)
    begun = null
  }
  const detail = `the number of queue ${key} in ${form.queueTable} moves on while records are stored: another gateway has this id`
  return { ...SAID, kind: 'retry', scope: 'stream', retryAfterMs: null, answered: true, detail }
}

/** What is known of the batch before records of it are sent. */
interface Begun {
  /** Everything up to here was judged: it is stored, or among the refused. */
  readonly after: number
  /** Then, and now before anything was sent. */
  readonly refused: readonly Listed[]
}

/** null: the number of the queue is not `after`, or the table is another. */
async function store(
  attempt: BatchTry,
  queue: QueueName,
  { after, refused }: Begun,
  { lines, last }: BatchRows,
): Promise<SinkAnswer | null> {
  const { batch, link, form, patience, known, onSent } = attempt
  if (last === null || last.seq <= after) {
    await tellGaps(attempt, queue)
    return verdicts(null, refused)
  }
  const move = { highest: last.seq, digest: last.digest, refused: refused.map(({ seq }) => seq) }
  onSent(lines.byteLength)
  try {
    const statement = storeSql(form, queue, after, move, { lines, gaps: batch.gaps })
    const moved = (await link.run(statement, patience)).length > 0
    if (moved) known.set(keyOf(queue), move.highest)
    return moved ? verdicts(null, refused) : null
  } catch (error) {
    if (faultOf(error).kind !== 'record') throw error
    await checkForm(attempt)
    return await storePiecemeal({ ...attempt, queue, previous: after, refused, error })
  }
}

/**
 * No record is to blame for a table that was changed since the connection was opened (I8).
 * @throws UnfitError, ChangedTableError
 */
async function checkForm({ link, config, form, patience }: BatchTry): Promise<void> {
  const now = formOf(config, await readFacts(link, config, patience))
  if (!isDeepStrictEqual(now, form))
    throw new ChangedTableError(
      `${config.table} was changed since the connection was opened; tried again over a new one`,
    )
}

/**
 * Of what is stored the row alone tells which records were refused beside it: I9, or those whose
 * answer was lost would pass for delivered. Of the rest those that cannot be sent.
 */
function refusedOf(batch: Batch, row: QueueRow, unmappable: readonly Listed[]): Listed[] {
  const reason = 'refused by the database in an earlier try'
  const then = row.refused
    .filter((seq) => seq >= batch.firstSeq && seq <= Math.min(batch.lastSeq, row.highest))
    .map((seq): Listed => {
      const same = unmappable.find((one) => one.seq === seq)
      return same ?? { seq, verdict: 'refused', code: null, reason }
    })
  return [...then, ...unmappable.filter(({ seq }) => seq > row.highest)]
}

/** The row of the queue, which is made if it is not there. */
async function rowOf({ link, form, patience }: BatchTry, queue: QueueName): Promise<QueueRow> {
  const row = queueRowOf(await link.run(readQueue(form, queue), patience))
  if (row !== null) return row
  await link.run(openQueue(form, queue), patience)
  return (
    queueRowOf(await link.run(readQueue(form, queue), patience)) ?? {
      highest: 0,
      digest: null,
      refused: [],
    }
  )
}

/** The record at the number is another one than this spool has under it; null: it is not. */
async function otherRecord(batch: Batch, row: QueueRow): Promise<SinkAnswer | null> {
  if (!isComparable(row, batch)) return null
  for await (const { seq, line } of batch.records()) {
    if (seq < row.highest) continue
    if (seq > row.highest || digestOf(line.subarray(0, -1)) === row.digest) return null
    return {
      ...SAID,
      kind: 'hold',
      scope: 'stream',
      cloned: true,
      detail: `the database has another record ${seq} of ${batch.gateway}:${batch.spoolId}:${batch.stream}: another gateway has this id, or this spool was rolled back; run \`sluice spool new-id\` here`,
    }
  }
  return null
}

function rolledBack(
  { gateway, spoolId, stream }: QueueName,
  { highest }: QueueRow,
  known: number,
  { queueTable }: PostgresSinkConfig,
): SinkAnswer {
  const where = `gateway = '${gateway}' and spool = '${spoolId}' and stream = '${stream}'`
  return {
    ...SAID,
    kind: 'hold',
    scope: 'stream',
    detail: `the database was rolled back: it acked this queue through ${known} and knows it through ${highest} now; records between are gone there, and were deleted here; restore them, then: update ${quotedTable(queueTable)} set highest = ${known}, digest = null where ${where}`,
  }
}

function verdicts(ackedThrough: number | null, listed: readonly Listed[]): SinkAnswer {
  return { ...SAID, kind: 'verdicts', ackedThrough, listed }
}
