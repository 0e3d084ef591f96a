/**
 * Makes strings that outsiders chose (client ids, topics, answers of a sink) fit for a log: no
 * control characters that a terminal would obey or that would forge a line, no text without end,
 * and no credentials in URLs.
 */

export const MAX_FIELD_CHARACTERS = 512

const MAX_DEPTH = 3
const MAX_LIST = 50

// Controls (C0, DEL, C1), line and paragraph separators, bidirectional overrides.
const UNSAFE = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu

const URL_CREDENTIALS = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#@]+@/gi

const SECRET_NAME =
  /^(authorization|password|passphrase|token|bearertoken|secret|cookie|privatekey)$/i

export function cleanText(text: string): string {
  const cut = text.length > MAX_FIELD_CHARACTERS ? `${text.slice(0, MAX_FIELD_CHARACTERS)}…` : text
  return cut
    .replace(URL_CREDENTIALS, '$1***@')
    .replace(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/**
 * The same for plain data of any form: strings cleaned, numbers cut to thousandths, members with a
 * secret's name hidden, depth and length bounded.
 */
export function cleanValue(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return cleanText(value)
  if (typeof value === 'bigint') return value.toString()
  // What a monotonic clock measured has fifteen digits.
  if (typeof value === 'number') return Math.round(value * 1_000) / 1_000
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Error) return cleanText(value.message)
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`
  if (depth >= MAX_DEPTH) return '…'
  if (Array.isArray(value)) {
    const items = value.slice(0, MAX_LIST).map((item) => cleanValue(item, depth + 1))
    return value.length > MAX_LIST ? [...items, `… ${value.length - MAX_LIST} more`] : items
  }
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      cleanText(name),
      SECRET_NAME.test(name) ? '***' : cleanValue(member, depth + 1),
    ]),
  )
}
