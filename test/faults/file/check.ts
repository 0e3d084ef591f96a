/**
 * What must be true of a file sink's folder: what was acked is there and whole, nothing else is
 * seen, gaps are there before their data, and at the end each batch is there once, alone.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { batchAt, textOf } from './plan.ts'

/** Behind a slash, or at the beginning: no hidden ones. */
const DATA = /(^|\/)[^./][^/]*\.ndjson(\.gz)?$/
const GAPS = /(^|\/)[^./][^/]*\.gaps\.json$/

export interface Expected {
  readonly seed: string
  /** Batches that were acked, by number. */
  readonly acked: readonly number[]
  /** There may be files of batches up to this one. */
  readonly last: number
  /** Nothing may be left but the files of `acked`. */
  readonly complete: boolean
}

export function checkFolder(folder: string, { seed, acked, last, complete }: Expected): string[] {
  const faults: string[] = []
  const names = new Set(
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.includes('.')),
  )
  const seen = new Map<string, string>()
  for (const name of names) {
    if (DATA.test(name)) seen.set(rangeOf(name), name)
    else if (complete && !GAPS.test(name)) faults.push(`left behind: ${name}`)
  }
  for (let n = 1; n <= last; n++) {
    const batch = batchAt(seed, n)
    const range = [batch.firstSeq, batch.lastSeq].map((seq) => String(seq).padStart(16, '0'))
    const name = seen.get(range.join('-'))
    seen.delete(range.join('-'))
    if (name === undefined) {
      if (acked.includes(n)) faults.push(`I1: batch ${n} was acked and is not there`)
      continue
    }
    if (readText(join(folder, name)) !== textOf(batch))
      faults.push(`I4: ${name} is not what batch ${n} is`)
    const gaps = name.replace(/\.ndjson(\.gz)?$/, '.gaps.json')
    if (batch.gaps.length > 0 !== names.has(gaps))
      faults.push(`I9: ${gaps} is ${batch.gaps.length === 0 ? 'there' : 'missing'}`)
    if (complete && !acked.includes(n)) faults.push(`batch ${n} was not acked`)
  }
  for (const name of seen.values()) faults.push(`nobody sent ${name}`)
  return faults
}

function rangeOf(name: string): string {
  return /\.(\d{16}-\d{16})\./.exec(name)?.[1] ?? name
}

function readText(path: string): string {
  const bytes = readFileSync(path)
  try {
    return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString()
  } catch (error) {
    return String(error)
  }
}
