/**
 * What a database is, as a new connection finds it: the tables with their columns, what this user
 * may do, and how durable a commit is there. Tables that do not fit are found before anything is
 * sent, so that a wrong configuration is held and no record is ever blamed for it (I8).
 */
import type { SinkPromise } from '../../../ports/sink.ts'
import type { PostgresSinkConfig } from '../config.ts'
import { quotedTable } from '../sql/identifiers.ts'
import { UnfitError } from './faults.ts'
import type { Link, StatementPatience } from './link.ts'

interface ColumnFacts {
  readonly name: string
  /** Without length or precision. */
  readonly type: string
  /** `N` a number, `B` a boolean, `D` a time, `S` a text, and more. */
  readonly category: string
  /** It must have a value, and nothing gives it one. */
  readonly isRequired: boolean
  /** It makes its own value, and takes none. */
  readonly isGenerated: boolean
}

export interface DatabaseFacts {
  readonly version: string
  readonly isReadOnly: boolean
  readonly ack: SinkPromise['ack']
  /** Why the ack is less than durable; null: it is. */
  readonly doubt: string | null
  /** Of the table, by name. */
  readonly columns: ReadonlyMap<string, ColumnFacts>
}

interface TableFacts {
  readonly exists: boolean
  readonly isUnlogged: boolean
  readonly mayInsert: boolean
  readonly maySelect: boolean
  readonly mayUpdate: boolean
  readonly columns: readonly ColumnFacts[]
}

const QUEUE_COLUMNS = ['gateway', 'spool', 'stream', 'highest', 'digest', 'refused']
const GAP_COLUMNS = ['gateway', 'spool', 'stream', 'first_seq', 'last_seq', 'reason']

const FACTS = `select json_build_object(
  'version', current_setting('server_version'),
  'readOnly', pg_is_in_recovery() or current_setting('transaction_read_only')::boolean,
  'synchronousCommit', current_setting('synchronous_commit'),
  'fsync', current_setting('fsync'),
  'tables', (select json_agg(json_build_object(
    'exists', c.oid is not null,
    'isUnlogged', coalesce(c.relpersistence = 'u', false),
    'mayInsert', coalesce(has_any_column_privilege(c.oid, 'insert'), false),
    'maySelect', coalesce(has_any_column_privilege(c.oid, 'select'), false),
    'mayUpdate', coalesce(has_any_column_privilege(c.oid, 'update'), false),
    'columns', coalesce((select json_agg(json_build_object(
      'name', a.attname,
      'type', format_type(a.atttypid, -1),
      'category', t.typcategory,
      'isRequired', a.attnotnull and not a.atthasdef and a.attidentity = '',
      'isGenerated', a.attgenerated <> '' or a.attidentity = 'a'))
      from pg_attribute a join pg_type t on t.oid = a.atttypid
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]')
  ) order by w.n) from unnest($1::text[]) with ordinality as w(name, n)
  left join pg_class c on c.oid = to_regclass(w.name))
)::text as facts`

/** @throws UnfitError for what an operator has to see to, and what the connection throws */
export async function readFacts(
  link: Link,
  config: PostgresSinkConfig,
  patience: StatementPatience,
): Promise<DatabaseFacts> {
  const names = [config.table, config.queueTable, config.gapTable].filter((name) => name !== null)
  const [row] = await link.run({ text: FACTS, values: [names.map(quotedTable)] }, patience)
  const said = JSON.parse(row?.['facts'] ?? '{}') as {
    readonly version: string
    readonly readOnly: boolean
    readonly synchronousCommit: string
    readonly fsync: string
    readonly tables: readonly TableFacts[]
  }
  const [table, queue, gaps] = said.tables
  // A standby has the tables of its primary, or soon will: only where records go they must fit.
  if (!said.readOnly) {
    checkTable(config, table)
    checkOwn(config.queueTable, queue, QUEUE_COLUMNS, 'select, insert and update')
    if (config.gapTable !== null) checkOwn(config.gapTable, gaps, GAP_COLUMNS, 'insert')
  }
  const doubt = doubtOf(said, [table, queue])
  return {
    version: said.version,
    isReadOnly: said.readOnly,
    ack: doubt === null ? 'durable' : 'in memory',
    doubt,
    columns: new Map(table?.columns.map((column) => [column.name, column])),
  }
}

function checkTable(config: PostgresSinkConfig, facts: TableFacts | undefined): void {
  const name = config.table
  if (facts?.exists !== true) throw missing(name)
  if (!facts.mayInsert) throw forbidden(name, 'insert')
  const mapped = Object.keys(config.columns)
  for (const column of mapped) {
    const found = facts.columns.find((one) => one.name === column)
    if (found === undefined)
      throw new UnfitError(
        `${name} has no column ${column}; add it, or remove it from columns`,
        '42703',
      )
    if (found.isGenerated)
      throw new UnfitError(
        `column ${column} of ${name} makes its own value; remove it from columns`,
        '428C9',
      )
  }
  const bare = facts.columns.find((one) => one.isRequired && !mapped.includes(one.name))
  if (bare !== undefined)
    throw new UnfitError(
      `column ${bare.name} of ${name} must have a value, and columns gives none; map it, or give it a default`,
      '23502',
    )
}

function checkOwn(
  name: string,
  facts: TableFacts | undefined,
  columns: readonly string[],
  rights: string,
): void {
  if (facts?.exists !== true) throw missing(name)
  const mayAll = facts.mayInsert && (rights === 'insert' || (facts.maySelect && facts.mayUpdate))
  if (!mayAll) throw forbidden(name, rights)
  const lacking = columns.find((column) => facts.columns.every((one) => one.name !== column))
  if (lacking !== undefined)
    throw new UnfitError(
      `${name} has no column ${lacking}; \`sluice sinks ddl\` prints what it must be`,
      '42703',
    )
}

function missing(name: string): UnfitError {
  const words = `there is no table ${name}; create it: \`sluice sinks ddl\` prints it`
  return new UnfitError(words, '42P01')
}

function forbidden(name: string, rights: string): UnfitError {
  return new UnfitError(`the user may not ${rights} in ${name}; grant it`, '42501')
}

function doubtOf(
  said: { readonly synchronousCommit: string; readonly fsync: string },
  tables: ReadonlyArray<TableFacts | undefined>,
): string | null {
  if (said.synchronousCommit === 'off') return 'synchronous_commit is off'
  if (said.fsync === 'off') return 'fsync is off'
  return tables.some((one) => one?.isUnlogged === true) ? 'a table is unlogged' : null
}
