/**
 * Records and dead letters as CSV (RFC 4180, UTF-8, a line ends with LF): a header, then a row each.
 * Payloads stay as they were written: a number keeps its digits. Pure.
 */
import type { DeadLetter } from '../../ports/operator.ts'

/** Members of a record that have a column; what else there is stands in `more`, as JSON. */
const RECORD_COLUMNS = [
  'id',
  'seq',
  'device',
  'topic',
  'qos',
  'receivedAt',
  'requeuedFrom',
  'dup',
  'retain',
  'will',
] as const

export const RECORD_HEADER = row([...RECORD_COLUMNS, 'more', 'payload', 'payloadBase64'])

const PAYLOAD = ',"payload":'
const BASE64 = ',"payloadBase64":"'

/** `line`: one of the ingest contract, without its LF. */
export function recordRow(line: string): string {
  // The payload is the last member. Before it the name stands in no text: quotes are escaped there.
  const at = line.indexOf(PAYLOAD)
  const base64At = at < 0 ? line.indexOf(BASE64) : -1
  const end = at < 0 ? base64At : at
  const members = JSON.parse(`${line.slice(0, end)}}`) as Record<string, unknown>
  const known = RECORD_COLUMNS.map((key) => members[key])
  for (const key of RECORD_COLUMNS) delete members[key]
  const more = Object.keys(members).length === 0 ? '' : JSON.stringify(members)
  const payload = at < 0 ? '' : line.slice(at + PAYLOAD.length, -1)
  const base64 = base64At < 0 ? '' : line.slice(base64At + BASE64.length, -2)
  return row([...known, more, payload, base64])
}

export const LETTER_HEADER = row([
  'id',
  'stream',
  'refusedBy',
  'status',
  'reason',
  'deadLetteredAt',
  'bytes',
  'truncated',
  'record',
])

export function letterRow(letter: DeadLetter): string {
  const { id, stream, origin, status, reason, deadLetteredAtMs, bytes, truncated, record } = letter
  const at = deadLetteredAtMs === null ? null : new Date(deadLetteredAtMs).toISOString()
  const by = origin === 'ingest' ? 'stream' : 'sink'
  return row([id, stream, by, status, reason, at, bytes, truncated, record])
}

function row(fields: readonly unknown[]): string {
  return `${fields.map(field).join(',')}\n`
}

function field(value: unknown): string {
  if (value === null || value === undefined) return ''
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
