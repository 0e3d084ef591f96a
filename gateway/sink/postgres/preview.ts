/** What a batch would become, for people. Pure. */
import type { Batch, SinkRecord } from '../../ports/sink.ts'
import { RecordView, Unmappable } from '../mapping/record-view.ts'
import { compileMapped } from '../mapping/template.ts'
import { compileTime, inUnit } from '../mapping/time.ts'
import type { PostgresSinkConfig } from './config.ts'
import { unmappable } from './exchange/batch-rows.ts'
import { quoted, quotedTable } from './sql/identifiers.ts'

/** The rows, column by column: what the database makes of their texts is its own. */
export async function previewRows(config: PostgresSinkConfig, batch: Batch): Promise<string> {
  let text = ''
  const view = new RecordView(batch)
  for await (const record of batch.records()) {
    const reason = unmappable(record, config)
    if (reason !== null) {
      text += `${record.id} is refused: ${reason}\n`
      continue
    }
    text += `insert into ${quotedTable(config.table)}\n`
    for (const [column, source] of Object.entries(config.columns))
      text += `  ${quoted(column)}: ${valueOf(config, source, view.at(record), record)}\n`
  }
  return text
}

function valueOf(
  { time }: PostgresSinkConfig,
  source: string,
  view: RecordView,
  record: SinkRecord,
): string {
  try {
    if (source === '${time}' || source === '${timeIsArrival}') {
      const { nanoseconds, fellBack } = compileTime(time)(view)
      if (source === '${timeIsArrival}') return String(fellBack || time.at === null)
      if (fellBack || time.at === null) return new Date(record.receivedAtMs).toISOString()
      return new Date(Number(inUnit(nanoseconds, 'ms'))).toISOString()
    }
    const { type, text } = compileMapped(source)(view)
    return type === 'missing' || type === 'null' ? 'null' : text
  } catch (error) {
    if (error instanceof Unmappable) return 'null'
    throw error
  }
}
