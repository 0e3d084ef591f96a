/** Numbers, times and tables for people. Pure. */

/**
 * Text from outside (a sink's answer, a topic) without what a terminal would obey: control
 * characters, direction marks.
 */
export function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) =>
    char === '\n' ? char : '\uFFFD',
  )
}

/** The same on one line. */
export function plainLine(text: string): string {
  return plain(text).replaceAll('\n', ' ')
}

/** `1,234,567`. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

/** `1 record`, `2,000 records`. */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${noun}${Math.round(value) === 1 ? '' : 's'}`
}

/** `120 expired, 3 dropped-oldest`, of counts by reason; null: nothing. */
export function reasonsText(byReason: Readonly<Record<string, number>>): string | null {
  const entries = Object.entries(byReason).filter(([, times]) => times > 0)
  if (entries.length === 0) return null
  return entries.map(([reason, times]) => `${count(times)} ${reason}`).join(', ')
}

/** `1.5 GiB`. */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let index = 0
  let scaled = value
  while (scaled >= 1024 && index < units.length - 1) {
    scaled /= 1024
    index++
  }
  return `${index === 0 || scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)} ${units[index]}`
}

/** Of a limit: `12.0 of 64.0 MiB`, `400 B of 64.0 MiB`. */
export function bytesOf(part: number, whole: number): string {
  const [of = '', unit = ''] = bytes(part).split(' ')
  const limit = bytes(whole)
  return limit.endsWith(` ${unit}`) ? `${of} of ${limit}` : `${of} ${unit} of ${limit}`
}

/** `3 d 4 h`, `12 s`: the two largest units. */
export function span(seconds: number): string {
  const whole = Math.floor(seconds)
  const parts: Array<readonly [number, string]> = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3_600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'],
    [whole % 60, 's'],
  ]
  const first = parts.findIndex(([value]) => value > 0)
  if (first < 0) return '0 s'
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ')
}

/** Hours as `9.9 h`, `47 h`, `14 d`; rounded down. */
export function hours(value: number): string {
  if (value >= 48) return `${count(Math.floor(value / 24))} d`
  return value >= 10
    ? `${count(Math.floor(value))} h`
    : `${(Math.floor(value * 10) / 10).toFixed(1)} h`
}

/** Columns side by side; numbers to the right. The last column is not padded. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows)
    for (const [index, cell] of row.entries())
      widths[index] = Math.max(widths[index] ?? 0, cell.length)
  const body = rows.slice(1)
  const toTheRight = widths.map((_, index) =>
    body.every((row) => /^[\d-]/.test(row[index] ?? '') || row[index] === ''),
  )
  return rows
    .map((row) =>
      row
        .map((cell, index) =>
          toTheRight[index] ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
