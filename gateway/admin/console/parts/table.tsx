/**
 * A table with headers that a screen reader reads; on a narrow screen each row is a card whose cells
 * carry their header's text. Roles are written out, since a browser takes them from a table that is
 * not laid out as one.
 */
import type { ComponentChildren } from 'preact'

export interface Column<Row> {
  readonly head: string
  /** null is "none". */
  readonly cell: (row: Row) => ComponentChildren
  /** To the right, digits under digits. */
  readonly isNumber?: boolean
}

interface TableProps<Row> {
  readonly caption: string
  readonly columns: readonly Column<Row>[]
  readonly rows: readonly Row[]
  readonly keyOf: (row: Row) => string
  /** Said when there are no rows. */
  readonly empty: string
}

export function Table<Row>({ caption, columns, rows, keyOf, empty }: TableProps<Row>) {
  if (rows.length === 0) return <p class="empty">{empty}</p>
  return (
    <table role="table">
      <caption class="unseen">{caption}</caption>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map(({ head, isNumber }) => (
            <th key={head} role="columnheader" scope="col" class={isNumber ? 'number' : ''}>
              {head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr key={keyOf(row)} role="row">
            {columns.map((column, index) => (
              <Cell key={column.head} column={column} row={row} isFirst={index === 0} />
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  )
}

interface CellProps<Row> {
  readonly column: Column<Row>
  readonly row: Row
  readonly isFirst: boolean
}

function Cell<Row>({ column, row, isFirst }: CellProps<Row>) {
  const content = <div>{column.cell(row) ?? <span class="quiet">none</span>}</div>
  const style = column.isNumber ? 'number' : ''
  if (isFirst)
    return (
      <th role="rowheader" scope="row" class={style} data-head={column.head}>
        {content}
      </th>
    )
  return (
    <td role="cell" class={style} data-head={column.head}>
      {content}
    </td>
  )
}
