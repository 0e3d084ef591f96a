/**
 * What Elasticsearch and OpenSearch answer to `_bulk`: 200, and an item for each action, in the
 * order of the request. Pure.
 *
 * | item | meaning |
 * |---|---|
 * | 200, 201 | stored |
 * | 409 `version_conflict_engine_exception` | a document with that id is there: stored before |
 * | 429, 5xx | later, with all behind it |
 * | 401, 403, 404 (`index_not_found_exception`, `cluster_block_exception`, `security_exception`) | held: the index, its state or its rights are an operator's matter |
 * | other 4xx (`mapper_parsing_exception`, `document_parsing_exception`, …) | refused |
 *
 * The request as a whole: 413 is too large, 429 and 5xx are tried again, and 400 is held, since no
 * document can cause it.
 */
import type { Listed } from '../../../../ports/sink.ts'
import { excerpt, type HttpAnswer, MAX_REASON_CHARS, printable, type Sent } from '../answer.ts'
import type { AnswerTable, Reading } from '../answer-table.ts'
import { type AnswerBody, parseObject } from '../body.ts'

export const esBulk: AnswerTable = {
  statuses: { 400: 'hold', 409: 'hold', 413: 'too-large', 422: 'hold' },
  reads: (_, isAck) => isAck,
  read: readBulk,
}

function readBulk(answer: HttpAnswer, body: AnswerBody, { seqs }: Sent): Reading {
  const items = parseObject(body.text)?.['items']
  if (!Array.isArray(items)) return { kind: 'hold', why: `its body has no items${excerpt(answer)}` }
  if (seqs === undefined || items.length !== seqs.length) {
    const sent = seqs === undefined ? 'no' : seqs.length
    return { kind: 'malformed', why: `${items.length} items for ${sent} actions` }
  }
  const listed: Listed[] = []
  for (const [i, seq] of seqs.entries()) {
    const item = readItem(items[i])
    if (item === null)
      return { kind: 'malformed', why: `item ${i} has no status${excerpt(answer)}` }
    const verdict = verdictOf(item)
    if (verdict === 'acked') continue
    const reason = printable(`${item.type}: ${item.reason}`, MAX_REASON_CHARS)
    if (verdict === 'hold') {
      // What comes before it is settled first; then it is the first of its batch.
      if (i === 0) return { kind: 'hold', why: `the first item is ${item.status} (${reason})` }
      listed.push({ seq, verdict: 'retry', code: String(item.status), reason })
      break
    }
    listed.push({ seq, verdict, code: String(item.status), reason })
    if (verdict === 'retry') break
  }
  return { kind: 'verdicts', ackedThrough: null, listed }
}

interface Item {
  readonly status: number
  readonly type: string
  readonly reason: string
}

/** `{"create":{"status":400,"error":{"type":"…","reason":"…"}}}`; null: it is none. */
function readItem(value: unknown): Item | null {
  if (typeof value !== 'object' || value === null) return null
  const [said] = Object.values(value) as unknown[]
  if (typeof said !== 'object' || said === null) return null
  const { status, error } = said as Readonly<Record<string, unknown>>
  if (typeof status !== 'number') return null
  const about = typeof error === 'object' && error !== null ? error : {}
  const { type, reason } = about as Readonly<Record<string, unknown>>
  return { status, type: wordOf(type), reason: wordOf(reason) }
}

function wordOf(value: unknown): string {
  return typeof value === 'string' ? value : 'it does not say why'
}

const IS_THERE = 'version_conflict_engine_exception'
/** Of an index that is closed, blocked or full, of rights, of a name: nothing is wrong with a record. */
const NOT_OF_RECORDS =
  /^(?:index_not_found|cluster_block|index_closed|security|invalid_index_name|no_such_shard|authorization|authentication|validation|illegal_state|unavailable_shards)_?\w*exception$/

function verdictOf({ status, type }: Item): Listed['verdict'] | 'hold' {
  if (status === 200 || status === 201) return 'acked'
  if (status === 409) return type === IS_THERE ? 'acked' : 'hold'
  if (status === 429 || status >= 500) return 'retry'
  const isOfRecord = status >= 400 && ![401, 403, 404].includes(status)
  return isOfRecord && !NOT_OF_RECORDS.test(type) ? 'refused' : 'hold'
}
