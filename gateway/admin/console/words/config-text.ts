/** The configuration in effect as YAML for a person to read. Pure; nothing reads it back. */

/** Of what JSON can hold. */
export function configText(value: unknown): string {
  return typeof value === 'string' ? value : linesOf(value, '').join('\n')
}

function linesOf(value: unknown, indent: string): readonly string[] {
  if (Array.isArray(value))
    return value.flatMap((item: unknown) => {
      const [first = '', ...rest] = nested(item) ? linesOf(item, `${indent}  `) : [scalar(item)]
      return [`${indent}- ${first.trimStart()}`, ...rest]
    })
  return Object.entries(value as object).flatMap(([key, item]: [string, unknown]) =>
    nested(item)
      ? [`${indent}${key}:`, ...linesOf(item, `${indent}  `)]
      : [`${indent}${key}: ${scalar(item)}`],
  )
}

/** Has lines of its own. */
function nested(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0
}

/** Quoted where YAML would read something else. */
function scalar(value: unknown): string {
  if (
    typeof value === 'string' &&
    /^[A-Za-z/][\w ./:@%+~-]*$/.test(value) &&
    !/: |^(true|false|null|yes|no|on|off)$/i.test(value)
  )
    return value
  return JSON.stringify(value)
}
