/**
 * Batch -> the lines that go to the database, as they lie in the spool: one buffer, joined by LF. A
 * record that cannot be stored anywhere is left out and refused; whether there is one is seen by a
 * search over the bytes, so that a batch without any costs nothing per record. Deterministic.
 */
import type { Batch, Listed, SinkRecord } from '../../../ports/sink.ts'
import type { PostgresSinkConfig } from '../config.ts'
import { digestOf } from './standing.ts'

export interface BatchRows {
  /** Without the last LF; empty: there is none. */
  readonly lines: Uint8Array
  /** Of the last line; null: there is none. */
  readonly last: { readonly seq: number; readonly digest: string } | null
  readonly refused: readonly Listed[]
}

const LF = 0x0a
const SEQ = /^\{"id":"[^"]*","seq":(\d+),/
const NUL = Buffer.from('\\u0000')
const BASE64 = Buffer.from(',"payloadBase64":"')
/** Of a line, until its seq: two names, an id. */
const HEAD_BYTES = 512

/** Columns that take a payload which is no JSON. */
const TAKES_BYTES = /\$\{(?:payloadBase64|record)\}/

type Mapping = Pick<PostgresSinkConfig, 'columns'>

export async function rowsOf(batch: Batch, mapping: Mapping): Promise<BatchRows> {
  const bytes = Buffer.concat((await batch.stitched('identity')).chunks)
  const lines = bytes.at(-1) === LF ? bytes.subarray(0, -1) : bytes
  const suspects = lines.includes(NUL) || (!takesBytes(mapping) && lines.includes(BASE64))
  return suspects ? await withoutUnmappable(batch, mapping) : rowsOfLines(lines, [])
}

async function withoutUnmappable(batch: Batch, mapping: Mapping): Promise<BatchRows> {
  const kept: Uint8Array[] = []
  const refused: Listed[] = []
  for await (const record of batch.records()) {
    const reason = unmappable(record, mapping)
    if (reason === null) kept.push(record.line)
    else refused.push({ seq: record.seq, verdict: 'refused', code: null, reason })
  }
  return rowsOfLines(Buffer.concat(kept).subarray(0, -1), refused)
}

function rowsOfLines(lines: Buffer, refused: readonly Listed[]): BatchRows {
  if (lines.length === 0) return { lines, last: null, refused }
  const line = lines.subarray(lines.lastIndexOf(LF) + 1)
  const seq = Number(SEQ.exec(line.subarray(0, HEAD_BYTES).toString('latin1'))?.[1])
  if (!Number.isSafeInteger(seq)) throw new Error('a line of the batch does not begin with its seq')
  return { lines, last: { seq, digest: digestOf(line) }, refused }
}

/** Why no table takes this record; null: one may. */
export function unmappable(record: SinkRecord, mapping: Mapping): string | null {
  if (record.payloadKind === 'bytes' && !takesBytes(mapping))
    return 'unmappable: the payload is not JSON, and no column takes ${payloadBase64}'
  // Behind an even number of backslashes it is the text \u0000, not the character.
  const line = Buffer.from(record.line).toString()
  return /(?<!\\)(?:\\\\)*\\u0000/.test(line)
    ? 'unmappable: the payload has a NUL character (\\u0000), which PostgreSQL cannot store'
    : null
}

function takesBytes({ columns }: Mapping): boolean {
  return Object.values(columns).some((source) => TAKES_BYTES.test(source))
}
