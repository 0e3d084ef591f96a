/**
 * What InfluxDB 1, 2 and 3, VictoriaMetrics and QuestDB answer to line protocol. Pure.
 *
 * All of them ack with 204 and no body. In no other answer do versions agree on what was stored:
 *
 * - InfluxDB 1, 400 `{"error":"partial write: … dropped=2"}`: all but two points were stored, and
 *   which two is not said (of several reasons one is named). `{"error":"unable to parse '…'"}`: the
 *   lines that can be parsed were stored, except where none could.
 *   A disk that is full is said in the same way.
 * - InfluxDB 2, 400 `{"code":"invalid",…}`: nothing was stored. 422 `{"code":"unprocessable
 *   entity",…}`: "Some or all of the data has been rejected. Data that has not been rejected is
 *   ingested and queryable." Which is not said.
 * - InfluxDB 3, 400 `{"error":"partial write of line protocol occurred","data":[{"original_line":
 *   "…","line_number":2,"error_message":"…"}]}`: the lines that are listed were not stored, the
 *   others were. With `accept_partial=false`, `"data":{…}`: nothing was.
 * - QuestDB, 400 `{"code":"invalid","message":"…","line":3,"errorId":"…"}`: what stood before that
 *   line in the request was rolled back with it.
 *
 * A point that is written again overwrites itself. So where nobody says which record it is, the
 * answer is `refused`: the drain halves the batch until it knows, whatever was stored meanwhile.
 */
import type { Listed } from '../../../../ports/sink.ts'
import { excerpt, type HttpAnswer, MAX_REASON_CHARS, printable, type Sent } from '../answer.ts'
import type { AnswerTable, Reading } from '../answer-table.ts'
import { type AnswerBody, parseObject } from '../body.ts'

export const influx: AnswerTable = {
  statuses: { 400: 'refused', 404: 'hold', 413: 'too-large', 422: 'refused' },
  reads: (status, isAck) => isAck || status === 400 || status === 422 || status === 500,
  read: readInflux,
}

/** Where a list ends that has more to say: it lists so many at most. */
const MAX_LISTED = 100

/**
 * They speak of the request, the database or its limits, and not of a record: I8. By their words,
 * since all of them come as 400, 422 or 500.
 */
const NOT_OF_RECORDS = new RegExp(
  [
    'database (?:is required|not found)',
    'retention policy not found',
    'bucket .*not found|(?:org|organization|bucket|db|database).* (?:is )?(?:missing|required)',
    '(?:invalid|unsupported|unknown) precision|precision .*(?:invalid|not supported)',
    'max-(?:series-per-database|values-per-tag) limit exceeded',
    'limit reached|would exceed .*limit|adding a new (?:database|table)',
    'error parsing query|missing field `db`',
  ].join('|'),
  'i',
)

/**
 * Its disk: InfluxDB 1 says of a full one `partial write: write …: no space left on device
 * dropped=N`, and after it, until it is started again.
 */
const OF_ITS_DISK =
  /no space left on device|disk quota exceeded|input\/output error|read-only file system/i

function readInflux(answer: HttpAnswer, body: AnswerBody, sent: Sent): Reading | null {
  const { status } = answer
  if (status < 300) {
    if (body.text === '') return null
    return { kind: 'hold', why: `with a body, where 204 without one acks${excerpt(answer)}` }
  }
  const members = parseObject(body.text)
  const listed = members === null ? null : readPartial(members, sent)
  if (listed !== null) return { kind: 'verdicts', ackedThrough: null, listed }
  const words = wordsOf(members)
  if (status < 500 && OF_ITS_DISK.test(words)) {
    const fix = 'make room there; InfluxDB 1 has to be started again then'
    return { kind: 'hold', why: `its disk takes nothing: ${fix}${excerpt(answer)}` }
  }
  if (NOT_OF_RECORDS.test(words))
    return { kind: 'hold', why: `it speaks of the request, not of a record${excerpt(answer)}` }
  return null
}

/** InfluxDB and QuestDB put them into different members. */
function wordsOf(members: Readonly<Record<string, unknown>> | null): string {
  const words = members?.['error'] ?? members?.['message']
  return typeof words === 'string' ? words : ''
}

/** InfluxDB 3: the lines that it did not store. null: it does not say which they are. */
function readPartial(members: Readonly<Record<string, unknown>>, { seqs }: Sent): Listed[] | null {
  const { error, data } = members
  if (typeof error !== 'string' || !/^partial write of line protocol/i.test(error)) return null
  if (seqs === undefined || !Array.isArray(data)) return null
  if (data.length === 0 || data.length >= MAX_LISTED) return null
  const bySeq = new Map<number, Listed>()
  for (const one of data as readonly unknown[]) {
    const listed = readLine(one, seqs)
    if (listed === null) return null
    bySeq.set(listed.seq, listed)
  }
  return [...bySeq.values()].toSorted((a, b) => a.seq - b.seq)
}

function readLine(one: unknown, seqs: readonly number[]): Listed | null {
  if (typeof one !== 'object' || one === null) return null
  const { line_number: line, error_message: message } = one as Readonly<Record<string, unknown>>
  const seq = typeof line === 'number' ? seqs[line - 1] : undefined
  if (seq === undefined) return null
  const reason = typeof message === 'string' ? printable(message, MAX_REASON_CHARS) : null
  return { seq, verdict: 'refused', code: '400', reason }
}
