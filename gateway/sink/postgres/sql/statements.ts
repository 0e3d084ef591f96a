/**
 * The statements of an exchange. `storeSql` is the one that matters: rows, gaps and the queue's
 * number are one statement, so one transaction and one round trip, behind a pooler as well. The
 * number moves from `previous` or nothing happens at all; who comes second finds it moved.
 */
import type { Gap } from '../../../ports/sink.ts'
import { type ColumnSource, columnSql, Parameters, ROWS, type TimeSource } from './columns.ts'
import { quoted, quotedTable } from './identifiers.ts'

export interface Statement {
  readonly text: string
  readonly values: readonly unknown[]
}

/** Where rows go, and how they are made. */
export interface RowForm {
  readonly table: string
  readonly queueTable: string
  /** null: gaps are not told. */
  readonly gapTable: string | null
  readonly columns: ReadonlyArray<{
    readonly name: string
    readonly source: ColumnSource
    /** As the database writes it, without length or precision: those are checked by the table. */
    readonly type: string
    /** `N` a number, `B` a boolean, `D` a time, `S` a text, and more. */
    readonly category: string
  }>
  readonly time: TimeSource
  readonly onConflict: 'refuse' | 'skip'
}

/** A queue, as the row of `queueTable` names it. */
export interface QueueName {
  readonly gateway: string
  readonly spoolId: string
  readonly stream: string
}

/** What the row of a queue says. */
export interface QueueMove {
  /** Seq of the last record that is stored. */
  readonly highest: number
  /** Of that record's line. */
  readonly digest: string
  /** Those that were refused beside what was stored last. */
  readonly refused: readonly number[]
}

/**
 * Gives one row if the number moved; none if it was not `previous`, or if a column is of another
 * type than `form` says: what is of the former type would be rounded into it without a word.
 */
export function storeSql(
  form: RowForm,
  queue: QueueName,
  previous: number,
  move: QueueMove,
  rows: { readonly lines: Uint8Array; readonly gaps: readonly Gap[] },
): Statement {
  const parameters = new Parameters()
  const moved = moveSql(form, queue, previous, move, parameters)
  const told =
    form.gapTable === null || rows.gaps.length === 0
      ? ''
      : `, told as (${gapsSql(form.gapTable, queue, rows.gaps, parameters)} where exists \
(select from moved) on conflict do nothing)`
  const put = insertSql(form, queue, rows.lines, parameters, {
    where: `exists (select from moved) and r.seq > ${parameters.add(previous, 'bigint')}`,
  })
  const text = `with moved as (${moved} and ${sameTypesSql(form, parameters)} returning 1)${told}, put as (${put}) select 1 from moved`
  return { text, values: parameters.values }
}

/** The number and what goes with it, alone; gives no row. */
export function moveStatement(
  form: RowForm,
  queue: QueueName,
  previous: number,
  move: QueueMove,
): Statement {
  const parameters = new Parameters()
  const text = moveSql(form, queue, previous, move, parameters)
  return { text, values: parameters.values }
}

/** Some rows, alone. */
export function insertStatement(form: RowForm, queue: QueueName, lines: Uint8Array): Statement {
  const parameters = new Parameters()
  return { text: insertSql(form, queue, lines, parameters), values: parameters.values }
}

/** Gaps, alone: none twice. null: there is nothing to tell. */
export function gapsStatement(
  { gapTable }: RowForm,
  queue: QueueName,
  gaps: readonly Gap[],
): Statement | null {
  if (gapTable === null || gaps.length === 0) return null
  const parameters = new Parameters()
  const text = `${gapsSql(gapTable, queue, gaps, parameters)} on conflict do nothing`
  return { text, values: parameters.values }
}

export function readQueue(form: RowForm, queue: QueueName, isLocked = false): Statement {
  const { gateway, spoolId, stream } = queue
  return {
    text: `select highest::text, digest, refused::text[] from ${quotedTable(form.queueTable)} \
where gateway = $1 and spool = $2 and stream = $3${isLocked ? ' for update' : ''}`,
    values: [gateway, spoolId, stream],
  }
}

export function openQueue(form: RowForm, { gateway, spoolId, stream }: QueueName): Statement {
  return {
    text: `insert into ${quotedTable(form.queueTable)} (gateway, spool, stream, highest) \
values ($1, $2, $3, 0) on conflict do nothing`,
    values: [gateway, spoolId, stream],
  }
}

function moveSql(
  { queueTable }: RowForm,
  { gateway, spoolId, stream }: QueueName,
  previous: number,
  { highest, digest, refused }: QueueMove,
  parameters: Parameters,
): string {
  const add = (value: unknown, type: string): string => parameters.add(value, type)
  return `update ${quotedTable(queueTable)} set highest = ${add(highest, 'bigint')}, \
digest = ${add(digest, 'text')}, refused = ${add(refused, 'bigint[]')} \
where gateway = ${add(gateway, 'text')} and spool = ${add(spoolId, 'text')} \
and stream = ${add(stream, 'text')} and highest = ${add(previous, 'bigint')}`
}

function sameTypesSql({ table, columns }: RowForm, parameters: Parameters): string {
  const names = parameters.add(
    columns.map(({ name }) => name),
    'text[]',
  )
  const types = parameters.add(
    columns.map(({ type }) => type),
    'text[]',
  )
  return `not exists (select from unnest(${names}, ${types}) as f(name, type) \
left join pg_attribute a on a.attrelid = to_regclass(${parameters.add(quotedTable(table), 'text')}) \
and a.attname = f.name and not a.attisdropped \
where format_type(a.atttypid, -1) is distinct from f.type)`
}

function insertSql(
  form: RowForm,
  { gateway, stream }: QueueName,
  lines: Uint8Array,
  parameters: Parameters,
  { where = 'true' } = {},
): string {
  const scope = { parameters, gateway, stream, time: form.time }
  const names = form.columns.map(({ name }) => quoted(name)).join(', ')
  const values = form.columns.map(({ source, type }) => columnSql(source, type, scope)).join(', ')
  const conflict = form.onConflict === 'skip' ? ' on conflict do nothing' : ''
  return `insert into ${quotedTable(form.table)} (${names}) select ${values} \
from unnest(string_to_array(${parameters.add(lines, 'text')}, E'\\n')) with ordinality \
as l(line, n), lateral ${ROWS} where ${where} order by l.n${conflict}`
}

function gapsSql(
  gapTable: string,
  { gateway, stream }: QueueName,
  gaps: readonly Gap[],
  parameters: Parameters,
): string {
  const list = (of: (gap: Gap) => unknown, type: string): string =>
    parameters.add(gaps.map(of), `${type}[]`)
  return `insert into ${quotedTable(gapTable)} \
(gateway, spool, stream, first_seq, last_seq, reason) \
select ${parameters.add(gateway, 'text')}, g.spool, ${parameters.add(stream, 'text')}, \
g.first_seq, g.last_seq, g.reason from unnest(${list(({ spoolId }) => spoolId, 'text')}, \
${list(({ firstSeq }) => firstSeq, 'bigint')}, ${list(({ lastSeq }) => lastSeq, 'bigint')}, \
${list(({ reason }) => reason, 'text')}) as g(spool, first_seq, last_seq, reason)`
}
