/**
 * JSON Pointers (RFC 6901) into a payload: parsed once, followed per record. `rawAt` finds the text
 * of a value, so that numbers keep every digit. Pure. Differs from the RFC in one thing: `/` alone
 * means the whole payload, as `""` does; a member with an empty name cannot be pointed at alone.
 */
import { isMap } from '../../config/schema.ts'

export interface Pointer {
  /** As it was written. */
  readonly text: string
  readonly tokens: readonly string[]
}

/** What is wrong with a text that should be a pointer, as the fix; null: nothing. */
export function pointerFix(text: string): string | null {
  if (text !== '' && !text.startsWith('/')) return `write /${text}`
  if (/~(?![01])/.test(text)) return 'write ~0 for ~, and ~1 for a / inside a name'
  return null
}

/** @throws Error when {@link pointerFix} finds something */
export function parsePointer(text: string): Pointer {
  const fix = pointerFix(text)
  if (fix !== null) throw new Error(`${JSON.stringify(text)} is no JSON Pointer: ${fix}`)
  const parts = text === '' || text === '/' ? [] : text.slice(1).split('/')
  const tokens = parts.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
  return { text, tokens }
}

const INDEX = /^(?:0|[1-9]\d*)$/

/** The value there; undefined: there is none. */
export function follow(root: unknown, { tokens }: Pointer): unknown {
  let value = root
  for (const token of tokens) {
    if (Array.isArray(value)) value = INDEX.test(token) ? value[Number(token)] : undefined
    else value = isMap(value) && Object.hasOwn(value, token) ? value[token] : undefined
    if (value === undefined) return undefined
  }
  return value
}

/** The text of the value there, as it stands in valid JSON; null: there is none. */
export function rawAt(json: string, { tokens }: Pointer): string | null {
  let at = skipSpace(json, 0)
  for (const token of tokens) {
    const opening = json[at]
    const next =
      opening === '{'
        ? memberAt(json, at, token)
        : opening === '[' && INDEX.test(token)
          ? itemAt(json, at, Number(token))
          : -1
    if (next < 0) return null
    at = next
  }
  return json.slice(at, valueEnd(json, at))
}

/** Where the value of a member begins; of two with one name the last, as JSON.parse has it. */
function memberAt(json: string, open: number, name: string): number {
  let found = -1
  let at = skipSpace(json, open + 1)
  while (json.charCodeAt(at) === QUOTE) {
    const end = stringEnd(json, at)
    const isIt = isNamed(json.slice(at + 1, end - 1), name)
    at = skipSpace(json, skipSpace(json, end) + 1)
    if (isIt) found = at
    at = skipSpace(json, valueEnd(json, at))
    if (json.charCodeAt(at) !== COMMA) break
    at = skipSpace(json, at + 1)
  }
  return found
}

/** @param raw as it stands between the quotes */
function isNamed(raw: string, name: string): boolean {
  return raw.includes('\\') ? JSON.parse(`"${raw}"`) === name : raw === name
}

function itemAt(json: string, open: number, index: number): number {
  let at = skipSpace(json, open + 1)
  if (json.charCodeAt(at) === CLOSE_BRACKET) return -1
  for (let i = 0; i < index; i += 1) {
    at = skipSpace(json, valueEnd(json, at))
    if (json.charCodeAt(at) !== COMMA) return -1
    at = skipSpace(json, at + 1)
  }
  return at
}

const SPACE = 0x20
const QUOTE = 0x22
const COMMA = 0x2c
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

function skipSpace(json: string, from: number): number {
  let at = from
  while (json.charCodeAt(at) <= SPACE) at += 1
  return at
}

/** Behind the quote that ends the string which begins at `from`. */
function stringEnd(json: string, from: number): number {
  for (let at = json.indexOf('"', from + 1); at >= 0; at = json.indexOf('"', at + 1)) {
    let before = at
    while (json.charCodeAt(before - 1) === BACKSLASH) before -= 1
    if ((at - before) % 2 === 0) return at + 1
  }
  return json.length
}

/** Behind the value that begins at `from`. */
function valueEnd(json: string, from: number): number {
  const opening = json.charCodeAt(from)
  if (opening === QUOTE) return stringEnd(json, from)
  let at = from
  if (opening !== OPEN_BRACE && opening !== OPEN_BRACKET) {
    while (at < json.length && !endsScalar(json.charCodeAt(at))) at += 1
    return at
  }
  for (let depth = 0; at < json.length; ) {
    const char = json.charCodeAt(at)
    if (char === QUOTE) {
      at = stringEnd(json, at)
      continue
    }
    if (char === OPEN_BRACE || char === OPEN_BRACKET) depth += 1
    else if (char === CLOSE_BRACE || char === CLOSE_BRACKET) depth -= 1
    at += 1
    if (depth === 0) break
  }
  return at
}

function endsScalar(char: number): boolean {
  return char <= SPACE || char === COMMA || char === CLOSE_BRACKET || char === CLOSE_BRACE
}
