/**
 * The keys of a sink as the rules that its answers are read by, and what these keys may not say.
 * Pure.
 *
 * Three rules keep what a portal, a proxy or a login page says from deleting anything (I8): 207 acks
 * through its body alone; outside of 2xx only 409 and 422 ack; redirects and statuses that speak of
 * who asks or of the service never refuse records.
 */
import type { Report } from '../../../config/problems.ts'
import type { AnswerTable } from './answer-table.ts'
import { type AnswerConfig, USUAL_ACK_STATUS } from './config.ts'
import {
  ANSWER_MEANINGS,
  type AnswerMeaning,
  MAY_ACK,
  meaningByContract,
  meaningIn,
  NOT_OF_RECORDS,
  type StatusMeanings,
} from './statuses.ts'
import { ANSWER_TABLES, type AnswerTableName, TABLES_OF_FORMATS } from './tables.ts'

export interface AnswerRules {
  readonly table: AnswerTable
  readonly ack: AnswerConfig['ack']
  readonly maxRetryAfter: number
  meaningOf(status: number): AnswerMeaning
  /** Does its body decide what it says? */
  decidesByBody(status: number): boolean
  /** One whose end did not come says nothing: it might ack something. */
  needsWhole(status: number): boolean
}

/** The same meaning as a word over a list of statuses. */
const BY_MEANING: Readonly<Record<string, AnswerMeaning>> = {
  ack: 'acked',
  retry: 'retry',
  hold: 'hold',
  refuse: 'refused',
  tooLarge: 'too-large',
}

type WrittenAnswers = AnswerConfig['answers']

interface WrittenStatus {
  /** Below `answers`. */
  readonly path: readonly [string, ...number[]]
  readonly pattern: string
  readonly meaning: AnswerMeaning
}

/** The keys of a sink, and the format of what it sends. */
type AnsweredSink = AnswerConfig & { readonly format?: { readonly kind: string } }

export function answerRules(
  config: AnsweredSink & { readonly maxRetryAfter: number },
): AnswerRules {
  const { ack, ackStatus, maxRetryAfter } = config
  const table = ANSWER_TABLES[tableOf(config)]
  const written = meanings(config.answers)
  const tablesAcks = Object.entries(table.statuses).some(acksOfSuccess)
  const listed = Object.entries(written).some(acksOfSuccess) || tablesAcks ? [] : ackStatus
  const meaningOf = (status: number): AnswerMeaning =>
    meaningIn(written, status) ??
    meaningIn(table.statuses, status) ??
    (listed.includes(status) ? 'acked' : meaningByContract(status))
  const decidesByBody = (status: number): boolean => {
    const isAck = status >= 200 && status <= 299 && meaningOf(status) === 'acked'
    // Whose meaning is written out has it, whatever the table makes of its body.
    const isWritten = !isAck && meaningIn(written, status) !== undefined
    return (isAck && ack !== 'any-body') || (!isWritten && table.reads(status, isAck))
  }
  const needsWhole = (status: number): boolean =>
    decidesByBody(status) || meaningOf(status) === 'acked'
  return { table, ack, maxRetryAfter, meaningOf, decidesByBody, needsWhole }
}

/** The table that the answers of a sink are read by. */
export function tableOf({ answers, format }: AnsweredSink): AnswerTableName {
  const name = answers['table']
  if (typeof name === 'string' && name in ANSWER_TABLES) return name as AnswerTableName
  return TABLES_OF_FORMATS[format?.kind ?? ''] ?? 'contract'
}

function meanings(answers: WrittenAnswers): StatusMeanings {
  return Object.fromEntries(statusesIn(answers).map(({ pattern, meaning }) => [pattern, meaning]))
}

function statusesIn(answers: WrittenAnswers): WrittenStatus[] {
  return Object.entries(answers).flatMap(([key, value]): WrittenStatus[] => {
    const listed = BY_MEANING[key]
    if (listed !== undefined && Array.isArray(value))
      return value.map((pattern: string, n) => ({ path: [key, n], pattern, meaning: listed }))
    const meaning = ANSWER_MEANINGS.find((one) => one === value)
    return key === 'table' || meaning === undefined ? [] : [{ path: [key], pattern: key, meaning }]
  })
}

function acksOfSuccess([pattern, meaning]: readonly [string, AnswerMeaning]): boolean {
  return pattern.startsWith('2') && meaning === 'acked'
}

type Complaint = Parameters<Report['complain']>[1]

interface AnswerFault {
  /** Below the sink. */
  readonly path: ReadonlyArray<string | number>
  readonly complaint: Complaint
}

/** What is wrong with the keys that say how answers are read. */
export function answerFaults(config: AnsweredSink): AnswerFault[] {
  const { answers } = config
  const faults: AnswerFault[] = []
  const seen = new Map<string, AnswerMeaning>()
  for (const [key, value] of Object.entries(answers)) {
    const complaint = keyFault(key, value)
    if (complaint !== null) faults.push({ path: ['answers', key], complaint })
  }
  for (const { path, pattern, meaning } of statusesIn(answers)) {
    const fault =
      statusFault(pattern, meaning) ?? contradiction(pattern, meaning, seen.get(pattern))
    if (fault !== null)
      faults.push({
        path: ['answers', ...path],
        complaint: { got: `${pattern}: ${meaning}`, ...fault },
      })
    seen.set(pattern, meaning)
  }
  return [...faults, ...keysAgainstEachOther(config)]
}

function keysAgainstEachOther(config: AnsweredSink): AnswerFault[] {
  const { ack, ackStatus, answers } = config
  const faults: AnswerFault[] = []
  const table = tableOf(config)
  const isUsual = ackStatus.join() === USUAL_ACK_STATUS.join()
  if (!isUsual && Object.entries(meanings(answers)).some(acksOfSuccess)) {
    const fix = 'remove ackStatus: answers says which of 2xx ack'
    const got = 'ackStatus beside answers that ack'
    faults.push({ path: ['ackStatus'], complaint: { got, wanted: 'one of the two', fix } })
  }
  if (ack === 'body' && table !== 'contract') {
    const wanted = 'ack: status, since only the contract has members that ack'
    faults.push({
      path: ['ack'],
      complaint: { got: `body beside answers: ${table}`, wanted, fix: 'remove ack' },
    })
  }
  if (ack === 'any-body' && table !== 'status') {
    const got = `any-body beside answers: ${table}, which reads bodies`
    const fix = 'write answers: status, or { table: status, … }, or remove ack'
    faults.push({ path: ['ack'], complaint: { got, wanted: 'answers: status', fix } })
  }
  return faults
}

type Fault = Omit<Complaint, 'got'>

/** A key of one form over a value of another. */
function keyFault(key: string, value: AnswerConfig['answers'][string]): Complaint | null {
  const got = `${key}: ${typeof value === 'string' ? value : `[${value.join(', ')}]`}`
  const isTable = typeof value === 'string' && value in ANSWER_TABLES
  if (key === 'table') {
    const names = Object.keys(ANSWER_TABLES)
    const fix = `write ${names.join(' or ')}`
    return isTable ? null : { got, wanted: `one of ${names.join(', ')}`, fix }
  }
  if (key in BY_MEANING) {
    if (typeof value !== 'string') return null
    const wanted = 'a list of statuses'
    return { got, wanted, fix: `write ${key}: [409], or 409: ${BY_MEANING[key]}` }
  }
  if (typeof value === 'string' && !isTable) return null
  const wanted = `one of ${ANSWER_MEANINGS.join(', ')}`
  return { got, wanted, fix: 'write what this status means, for example hold' }
}

function contradiction(
  pattern: string,
  meaning: AnswerMeaning,
  before: AnswerMeaning | undefined,
): Fault | null {
  if (before === undefined) return null
  const words = before === meaning ? 'is there already' : `is ${before} as well`
  return { wanted: `one meaning for ${pattern}, which ${words}`, fix: 'remove one of the two' }
}

function statusFault(pattern: string, meaning: AnswerMeaning): Fault | null {
  if (!/^[2-5](?:\d\d|xx)$/.test(pattern)) {
    const fix = 'write the status of an answer, such as 409, or a class, such as 5xx'
    return { wanted: 'a status from 200 to 599, or 2xx, 3xx, 4xx, 5xx', fix }
  }
  if (pattern === '207')
    return { wanted: 'not 207: it acks through its body alone', fix: 'remove it' }
  const isSuccess = pattern.startsWith('2')
  const status = Number(pattern)
  const keep = 'write retry or hold: both keep the records'
  if (meaning === 'acked' && !isSuccess && !MAY_ACK.includes(status)) {
    const others = 'others come from portals and proxies, too'
    return { wanted: `acked for 2xx, ${MAY_ACK.join(', ')} alone: ${others}`, fix: keep }
  }
  const judges = meaning === 'refused' || meaning === 'too-large'
  const isOfRecords = pattern.startsWith('4') || /^5\d\d$/.test(pattern)
  if (judges && (!isOfRecords || NOT_OF_RECORDS.includes(status)))
    return { wanted: `a status that speaks of the records, not ${pattern}`, fix: keep }
  return null
}
