/**
 * Which mapping a record that the database refused has broken, in the words of the mapping: the
 * database names no column where it cannot read a value. Pure; decides nothing.
 */
import type { SinkRecord } from '../../../ports/sink.ts'
import { parsePointer } from '../../mapping/pointer.ts'
import { RecordView, Unmappable } from '../../mapping/record-view.ts'
import type { BatchTry } from './context.ts'

/** Categories of PostgreSQL's types, and what of JSON they read. */
const READS: Readonly<Record<string, { readonly words: string; readonly test: RegExp }>> = {
  N: { words: 'a number', test: /^[-+\s]*(?:\d|\.\d|nan|inf)/i },
  B: { words: 'true or false', test: /^\s*(?:t|f|y|n|on|off|0|1)/i },
  D: { words: 'a time', test: /\d|now|today|infinity|epoch/i },
}

/** null: it is none of that. */
export function whyNot(
  record: SinkRecord,
  { form, batch }: Pick<BatchTry, 'form' | 'batch'>,
): string | null {
  const view = new RecordView(batch).at(record)
  for (const { name, source, type, category } of form.columns) {
    const reads = READS[category]
    if (source.kind !== 'pointer' || reads === undefined) continue
    const found = fieldOf(view, source.text)
    if (found === null || found.type === 'missing' || found.type === 'null') continue
    if (!reads.test.test(found.text))
      return `unmappable: ${source.text} is not ${reads.words}, as column ${name} (${type}) wants`
  }
  return null
}

function fieldOf(view: RecordView, pointer: string) {
  try {
    return view.field(parsePointer(pointer))
  } catch (error) {
    if (error instanceof Unmappable) return null
    throw error
  }
}
