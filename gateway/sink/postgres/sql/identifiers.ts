/** Names of tables and columns as SQL wants them: quoted, so that no name is ever read as SQL. */

/** What PostgreSQL keeps of a name, bytes; it cuts longer ones without a word. */
const MAX_NAME_BYTES = 63

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** `schema.table`, or `table` of the search path. */
export function quotedTable(table: string): string {
  return table.split('.').map(quoted).join('.')
}

/** What to do about a name that cannot be one; null: nothing. */
export function columnFix(name: string): string | null {
  if (name === '' || name.includes('\0')) return 'write the name of a column'
  return Buffer.byteLength(name) > MAX_NAME_BYTES
    ? `write a name of at most ${MAX_NAME_BYTES} bytes`
    : null
}

export function tableFix(table: string): string | null {
  const parts = table.split('.')
  if (parts.length > 2 || parts.includes('')) return 'write schema.table, or table'
  return parts.map(columnFix).find((fix) => fix !== null) ?? null
}
