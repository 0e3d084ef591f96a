/**
 * Rows for ClickHouse, `FORMAT JSONEachRow`: an object a line. The statement and the token by which
 * a table drops a batch that it has go into the url. What ClickHouse answers:
 * ../answers/receivers/clickhouse.ts.
 */
import { choice, flag, text } from '../../../config/fields.ts'
import { leaf, map } from '../../../config/schema.ts'
import { mappedKey } from '../../mapping/keys.ts'
import type { RecordView } from '../../mapping/record-view.ts'
import { compileMapped, type Mapped } from '../../mapping/template.ts'
import { type Compression, encodedFormat, type FormatTarget, type FormatType } from './format.ts'

interface JsonEachRowConfig {
  readonly kind: 'json-each-row'
  readonly table: string
  readonly columns: Readonly<Record<string, string>>
  readonly objects: 'text' | 'nested'
  readonly token: boolean
}

/** Names in plain letters need no quotes, so that a table cannot say more than its name. */
const TABLE = /^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?$/

export const jsonEachRow = {
  keys: {
    table: leaf(
      text('The table, such as plant.readings.', {
        wanted: 'table or database.table, of letters, digits and _',
        check: (input) => (TABLE.test(input) ? null : 'write a name such as plant.readings'),
      }),
    ).prefault('readings'),
    columns: map(
      'What goes into each column. Without any a row is the record: id, seq, device, topic, ….',
      'column',
      leaf(mappedKey('Value of the column.')),
    ).prefault({}),
    objects: leaf(
      choice('text: an object or a list goes as a string of JSON; nested: as it is.', [
        'text',
        'nested',
      ]),
    ).prefault('text'),
    token: leaf(
      flag(
        'The table drops a batch that it has, by insert_deduplication_token: it is Replicated, or has non_replicated_deduplication_window. ClickHouse 22.2 or newer.',
      ),
    ).prefault(false),
  },
  promise: ({ token }: JsonEachRowConfig, { url }: FormatTarget) => {
    const { searchParams } = new URL(url)
    const isAsync = searchParams.get('async_insert') === '1'
    const waits = searchParams.get('wait_for_async_insert') !== '0'
    // A part is in the page cache when it is acked, unless fsync_after_insert.
    const ack = isAsync && !waits ? 'in memory' : 'received'
    if (!token) return { delivery: 'at least once', by: 'with ids', ack }
    const by = 'by insert_deduplication_token, within the window of the table'
    return { delivery: 'exactly once', by, ack }
  },
  check: (path, { columns }, { url }, report) => {
    const { searchParams } = new URL(url)
    for (const key of ['query', 'insert_deduplication_token'])
      if (searchParams.has(key))
        report.complain([...path, 'kind'], {
          got: `${key} in the url`,
          wanted: 'none there: it is made of table and token',
          fix: `remove ${key} from url`,
        })
    if (Object.keys(columns).length === 0 && !searchParams.has('input_format_skip_unknown_fields'))
      report.warn(
        [...path, 'columns'],
        'without columns the table needs one for each member of a record, payload among them',
      )
  },
  create: ({ kind, ...config }: JsonEachRowConfig, compression: Compression) => {
    const { table, token, columns, objects } = config
    return encodedFormat(
      {
        kind,
        version: 1,
        config,
        contentType: 'application/x-ndjson',
        compression,
        // The table knows a batch by its token, and its pieces would have others.
        ...(token ? { keepsWhole: true as const } : {}),
        query: (key) => ({
          query: `INSERT INTO ${table} FORMAT JSONEachRow`,
          ...(token ? { insert_deduplication_token: key } : {}),
        }),
      },
      () => ({ prefix: '', separator: '', suffix: '', each: compileRow(columns, objects) }),
    )
  },
} satisfies FormatType<JsonEachRowConfig>

/** With its line break. */
export function compileRow(
  columns: JsonEachRowConfig['columns'],
  objects: JsonEachRowConfig['objects'],
): (view: RecordView) => string {
  const all = Object.entries(columns).map(
    ([name, source]) => [`${JSON.stringify(name)}:`, compileMapped(source)] as const,
  )
  if (all.length === 0) return (view) => `${view.line}\n`
  return (view) => {
    let row = ''
    for (const [key, of] of all) {
      const value = valueOf(of, view, objects)
      if (value !== null) row += `${row === '' ? '' : ','}${key}${value}`
    }
    return `{${row}}\n`
  }
}

/** null: the column has its default. */
function valueOf(
  of: Mapped,
  view: RecordView,
  objects: JsonEachRowConfig['objects'],
): string | null {
  const { type, text: value } = of(view)
  if (type === 'missing') return null
  const isText = type === 'text' || (type === 'json' && objects === 'text')
  return isText ? JSON.stringify(value) : value
}
