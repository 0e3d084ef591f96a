/** Text for people: two-column tables, counts, durations. Pure. */

export type Row = readonly [label: string, value: string | number, note?: string]

/** Labels left, values right-aligned, notes behind them; a blank label begins a new group. */
export function table(rows: readonly Row[]): string {
  const texts = rows.map(([label, value, note]) => [
    label,
    typeof value === 'number' ? count(value) : value,
    note ?? '',
  ])
  const labelWidth = Math.max(...texts.map(([label]) => label?.length ?? 0))
  const valueWidth = Math.max(...texts.map(([, value]) => value?.length ?? 0))
  return texts
    .map(([label = '', value = '', note = '']) =>
      `  ${label.padEnd(labelWidth)}  ${value.padStart(valueWidth)}  ${note}`.trimEnd(),
    )
    .join('\n')
}

/** 1234567 as 1,234,567. */
export function count(value: number): string {
  return Number.isInteger(value) ? value.toLocaleString('en-US') : String(value)
}

export function milliseconds(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}
