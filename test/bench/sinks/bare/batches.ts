/** The batches that a gateway sends, read into memory before the clock runs. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

export interface BareRecord {
  readonly id: string
  readonly seq: number
  readonly device: string
  readonly topic: string
  readonly receivedAt: string
  readonly payload: Readonly<Record<string, unknown>>
}

export interface BareBatch {
  readonly name: string
  /** NDJSON, as the spool has it compressed. */
  readonly stored: Buffer
  readonly records: readonly BareRecord[]
  /** Of each record. */
  readonly payloads: readonly Buffer[]
}

/** @param records at least so many, in whole batches */
export function readBatches(folder: string, records: number): BareBatch[] {
  const batches: BareBatch[] = []
  let count = 0
  for (const name of readdirSync(folder).toSorted()) {
    if (count >= records) break
    const stored = readFileSync(join(folder, name))
    const lines = gunzipSync(stored).toString().trimEnd().split('\n')
    const parsed = lines.map((line) => JSON.parse(line) as BareRecord)
    const payloads = parsed.map(({ payload }) => Buffer.from(JSON.stringify(payload)))
    batches.push({ name, stored, records: parsed, payloads })
    count += lines.length
  }
  if (count < records) throw new Error(`only ${count} of ${records} records are in ${folder}`)
  return batches
}
