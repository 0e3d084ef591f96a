/**
 * What is read: an answer as it came, and what was sent that it speaks of. Words of a sink become
 * one line of printable characters here, because they end up in logs and terminals.
 */

/** Most of an answer's body that is looked at; a longer one is no answer of a sink. Bytes. */
export const MAX_ANSWER_BYTES = 1024 * 1024

/**
 * Most of a sink's words that is kept, in characters: details go into logs, reasons into dead
 * letters.
 */
export const MAX_REASON_CHARS = 500
export const MAX_EXCERPT_CHARS = 120

/** An answer as it came. Header names lower case; a header that came twice is a list. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  /** Its body, or its beginning. */
  readonly body: Uint8Array
  /** The body was longer than {@link MAX_ANSWER_BYTES}; what is in `body` counts for nothing. */
  readonly bodyTooLong: boolean
  /** Why nobody can say where its body ends; null: it is clear. */
  readonly fault?: string | null
  /**
   * It came when no more of the batch's body than that had been sent, bytes; null: all of it had.
   */
  readonly earlyAt?: number | null
}

/** What was sent: an answer can speak of nothing else. */
export interface Sent {
  readonly firstSeq: number
  readonly lastSeq: number
  /**
   * Of the records in the body, in its order: a receiver that answers item by item names them by
   * their index. Absent: the body was stitched, and its receiver names seqs.
   */
  readonly seqs?: readonly number[]
}

/** One line without control characters, at most `limit` characters. */
export function printable(text: string, limit: number): string {
  const line = text.replaceAll(/[\p{C}\s]+/gu, ' ').trim()
  return line.length <= limit ? line : `${line.slice(0, limit)}…`
}

export function headerOf(answer: HttpAnswer, name: string): string | null {
  const value = answer.headers[name]
  if (value === undefined) return null
  return typeof value === 'string' ? value : (value[0] ?? null)
}

/** The beginning of the body, for a person: sinks say there what they dislike. */
export function excerpt({ body }: Pick<HttpAnswer, 'body'>): string {
  const text = new TextDecoder().decode(body.subarray(0, 4 * MAX_EXCERPT_CHARS))
  const words = printable(text, MAX_EXCERPT_CHARS)
  return words === '' ? '' : ` (${words})`
}
