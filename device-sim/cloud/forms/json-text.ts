/**
 * JSON taken apart without changing a byte: the reference cloud stores what was sent, and a number
 * that went through JSON.parse may have lost digits. Expects valid JSON: callers parse first.
 */

/** The texts of an array's items; null: it is no array. */
export function itemsOf(json: string): string[] | null {
  const start = skipSpace(json, 0)
  if (json[start] !== '[') return null
  const items: string[] = []
  for (let at = skipSpace(json, start + 1); json[at] !== ']' && at < json.length; ) {
    const end = valueEnd(json, at)
    items.push(json.slice(at, end))
    at = skipSpace(json, end)
    if (json[at] === ',') at = skipSpace(json, at + 1)
  }
  return items
}

/** The texts of an object's values by name; null: it is no object. */
export function membersOf(json: string): Map<string, string> | null {
  const start = skipSpace(json, 0)
  if (json[start] !== '{') return null
  const members = new Map<string, string>()
  for (let at = skipSpace(json, start + 1); json[at] === '"'; ) {
    const nameEnd = stringEnd(json, at)
    const name = JSON.parse(json.slice(at, nameEnd)) as string
    at = skipSpace(json, skipSpace(json, nameEnd) + 1)
    const end = valueEnd(json, at)
    members.set(name, json.slice(at, end))
    at = skipSpace(json, end)
    if (json[at] === ',') at = skipSpace(json, at + 1)
  }
  return members
}

function skipSpace(json: string, from: number): number {
  let at = from
  while (' \t\r\n'.includes(json[at] ?? '.')) at += 1
  return at
}

function stringEnd(json: string, from: number): number {
  let at = from + 1
  while (at < json.length && json[at] !== '"') at += json[at] === '\\' ? 2 : 1
  return at + 1
}

function valueEnd(json: string, from: number): number {
  let at = from
  for (let depth = 0; at < json.length; ) {
    const char = json[at] ?? ''
    if (depth === 0 && ' \t\r\n,]}'.includes(char)) break
    if (char === '"') at = stringEnd(json, at)
    else {
      if (char === '[' || char === '{') depth += 1
      else if (char === ']' || char === '}') depth -= 1
      at += 1
    }
    if (depth === 0 && (char === '"' || char === ']' || char === '}')) break
  }
  return at
}
