/** `sluice spool export` and `sluice spool peek`: what waits in a stream, as it would be sent. */
import { Command } from 'commander'
import type { StreamOperator } from '../../ports/operator.ts'
import { bytes, count, counted, plainLine, table } from '../../shared/text/words.ts'
import type { CliContext } from '../context.ts'
import { type Done, EXIT, type ExitCode } from '../exit.ts'
import { type OperatorFlags, withGateway, withOperator } from '../find-gateway.ts'
import { wholeNumber } from '../options.ts'
import { RECORD_HEADER, recordRow } from './csv.ts'
import { type ExportFlags, withExport, writeExport } from './destination.ts'

type RecordExportFlags = OperatorFlags & ExportFlags

/** @param argument names the stream in the usage */
export function exportCommand(context: CliContext, done: Done, argument: string): Command {
  return withExport(withOperator(new Command('export')))
    .description('write what a stream holds, in order; nothing is removed')
    .argument(argument, 'name of the stream')
    .action(async (name: string, flags: RecordExportFlags) => {
      done(await exportStream(name, flags, context))
    })
}

async function exportStream(
  name: string,
  { format, out, ...flags }: RecordExportFlags,
  context: CliContext,
): Promise<ExitCode> {
  return withGateway(flags, context, async ({ operator }) => {
    const total = { records: 0, unreadable: 0 }
    const texts = pagesOf(operator.streams, name, format, total)
    const { path } = await writeExport({ format, ...(out && { out }) }, context, texts)
    const where = path === null ? '' : ` to ${path}`
    context.stderr.write(
      `exported ${counted(total.records, 'record')} of stream ${name}${where}; nothing was removed from the spool\n`,
    )
    if (total.unreadable === 0) return EXIT.ok
    context.stderr.write(`${count(total.unreadable)} more are damaged and cannot be read\n`)
    return EXIT.failed
  })
}

async function* pagesOf(
  streams: StreamOperator,
  name: string,
  format: ExportFlags['format'],
  total: { records: number; unreadable: number },
): AsyncGenerator<string> {
  const text = format === 'csv' ? recordRow : (line: string) => `${line}\n`
  let after: string | null = null
  do {
    const page = await streams.records(name, after)
    const header = format === 'csv' && after === null ? RECORD_HEADER : ''
    yield header + page.records.map(text).join('')
    total.records += page.records.length
    total.unreadable += page.unreadable
    after = page.next
  } while (after !== null)
}

interface PeekFlags extends OperatorFlags {
  readonly limit: number
  readonly json?: boolean
}

export function peekCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('peek'))
    .description('show the records that a stream sends next; nothing is removed')
    .argument('<stream>', 'name of the stream')
    .option('-n, --limit <n>', 'at most this many', wholeNumber(1, 1_000_000), 10)
    .option('--json', 'the lines as they would be sent')
    .action(async (name: string, { limit, json, ...flags }: PeekFlags) => {
      const lines = await withGateway(flags, context, ({ operator }) =>
        firstLines(operator.streams, name, limit),
      )
      if (json === true) context.stdout.write(lines.map((line) => `${line}\n`).join(''))
      else context.stdout.write(lines.length === 0 ? 'nothing waits\n' : `${peekTable(lines)}\n`)
      done(EXIT.ok)
    })
}

async function firstLines(
  streams: StreamOperator,
  name: string,
  limit: number,
): Promise<readonly string[]> {
  const lines: string[] = []
  let after: string | null = null
  do {
    const page = await streams.records(name, after)
    lines.push(...page.records.slice(0, limit - lines.length))
    after = page.next
  } while (after !== null && lines.length < limit)
  return lines
}

/** What fits beside the other columns on a usual terminal; the size says how much there is. */
const SHOWN_PAYLOAD = 40

interface ShownRecord {
  readonly seq: number
  readonly receivedAt: string
  readonly device: string
  readonly topic: string
  readonly payload?: unknown
  readonly payloadBase64?: string
}

function peekTable(lines: readonly string[]): string {
  const header = ['SEQ', 'RECEIVED', 'DEVICE', 'TOPIC', 'SIZE', 'PAYLOAD']
  const rows = lines.map((line) => {
    const { seq, receivedAt, device, topic, payload, payloadBase64 } = JSON.parse(
      line,
    ) as ShownRecord
    const shown =
      payload === undefined
        ? `base64 ${plainLine(payloadBase64 ?? '')}`
        : plainLine(JSON.stringify(payload))
    return [
      String(seq),
      receivedAt,
      plainLine(device),
      plainLine(topic),
      bytes(Buffer.byteLength(line)),
      shown.length > SHOWN_PAYLOAD ? `${shown.slice(0, SHOWN_PAYLOAD)}…` : shown,
    ]
  })
  return table([header, ...rows])
}
