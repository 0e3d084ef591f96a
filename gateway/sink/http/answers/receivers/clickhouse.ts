/**
 * What ClickHouse answers to an insert. Pure. It acks with 200 and nothing in the body, and says
 * what went wrong as `Code: 27. DB::Exception: …` in the body, since 19.16 also by the header
 * `X-ClickHouse-Exception-Code`. The code decides and not the status: older ones answer 500 to
 * everything, 404 also to a setting that they do not know, and an exception that comes when the
 * head is out stands behind a 200.
 *
 * A block that cannot be read stores nothing of the insert: a batch is one block. A code that is
 * not listed here is held, since nobody knows whether it speaks of the records.
 */
import { excerpt, type HttpAnswer, headerOf, printable } from '../answer.ts'
import type { AnswerTable, Reading } from '../answer-table.ts'
import type { AnswerBody } from '../body.ts'

export const clickhouse: AnswerTable = {
  statuses: { 400: 'hold', 413: 'too-large', 422: 'hold' },
  reads: (status, isAck) => isAck || status === 400 || status === 404 || status === 500,
  read: readClickHouse,
}

/** By `ErrorCodes.cpp`: a row does not fit its table, or cannot be read. */
const OF_RECORDS: readonly number[] = [
  6, // CANNOT_PARSE_TEXT
  26, // CANNOT_PARSE_QUOTED_STRING
  27, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
  33, // CANNOT_READ_ALL_DATA
  38, // CANNOT_PARSE_DATE
  41, // CANNOT_PARSE_DATETIME
  53, // TYPE_MISMATCH
  69, // ARGUMENT_OUT_OF_BOUND
  70, // CANNOT_CONVERT_TYPE
  72, // CANNOT_PARSE_NUMBER
  117, // INCORRECT_DATA
  131, // TOO_LARGE_STRING_SIZE
  321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
  349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
  376, // CANNOT_PARSE_UUID
  407, // DECIMAL_OVERFLOW
  441, // CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING
  469, // VIOLATED_CONSTRAINT
  636, // CANNOT_EXTRACT_TABLE_STRUCTURE
  675, // CANNOT_PARSE_IPV4
  676, // CANNOT_PARSE_IPV6
]

/** The service is busy, full, or has lost one of its own. */
const LATER: readonly number[] = [
  3, // UNEXPECTED_END_OF_FILE: the request was cut off
  159, // TIMEOUT_EXCEEDED
  160, // TOO_SLOW
  164, // READONLY: a replica that is starting, or a user that may not write
  202, // TOO_MANY_SIMULTANEOUS_QUERIES
  203, // NO_FREE_CONNECTION
  209, // SOCKET_TIMEOUT
  210, // NETWORK_ERROR
  225, // NO_ZOOKEEPER
  236, // ABORTED
  241, // MEMORY_LIMIT_EXCEEDED
  242, // TABLE_IS_READ_ONLY
  243, // NOT_ENOUGH_SPACE
  252, // TOO_MANY_PARTS
  254, // NO_ACTIVE_REPLICAS
  279, // ALL_CONNECTION_TRIES_FAILED
  285, // TOO_FEW_LIVE_REPLICAS
  286, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
  289, // REPLICA_IS_NOT_IN_QUORUM
  319, // UNKNOWN_STATUS_OF_INSERT
  394, // QUERY_WAS_CANCELLED
  415, // ALL_REPLICAS_ARE_STALE
  439, // CANNOT_SCHEDULE_TASK
  473, // DEADLOCK_AVOIDED
  999, // KEEPER_EXCEPTION
]

/** What an operator does about what is held. */
const HINTS: ReadonlyMap<number, string> = new Map([
  [16, 'add the column to the table, or take it out of format.columns'],
  [60, 'create the table, or correct it in format.table'],
  [81, 'create the database, or correct it in format.table'],
  [115, 'this server does not know a setting of the url or of format; remove it, or upgrade'],
])

const CODE = /(?:^|\n)\s*Code: (\d{1,5})[.,]/

function readClickHouse(answer: HttpAnswer, { text }: AnswerBody): Reading | null {
  const { status } = answer
  const code = codeOf(answer, text)
  if (code === null) {
    if (status >= 300 || text === '') return null
    return { kind: 'hold', why: `with a body, where an insert has none${excerpt(answer)}` }
  }
  const why = `code ${code} (${printable(text.slice(text.indexOf('Code:')), MAX_WORDS)})`
  const hint = HINTS.get(code)
  if (hint !== undefined) return { kind: 'hold', why: `${why}: ${hint}` }
  // 117 as well, but which columns there are is for an operator to say.
  if (/Unknown field/.test(text)) return { kind: 'hold', why }
  if (OF_RECORDS.includes(code)) return { kind: 'refused', why }
  return { kind: LATER.includes(code) ? 'retry' : 'hold', why }
}

/** Of what it says, in characters. The row and the column stand behind the first hundred. */
const MAX_WORDS = 300

function codeOf(answer: HttpAnswer, text: string): number | null {
  const said = headerOf(answer, 'x-clickhouse-exception-code') ?? CODE.exec(text)?.[1] ?? ''
  return /^\d{1,5}$/.test(said) && Number(said) !== 0 ? Number(said) : null
}
