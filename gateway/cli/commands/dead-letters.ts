/**
 * `sluice dead-letters`: what the sink or a stream's rules refused for good. Works on the running
 * gateway and on the folder of a stopped one. Ids are those of the records; they carry the name of
 * their stream.
 */
import { Command } from 'commander'
import type {
  DeadLetter,
  DeadLetterChange,
  DeadLetterOperator,
  DeadLetterSelection,
  Operator,
} from '../../ports/operator.ts'
import { bytes, count, counted, plain, plainLine, table } from '../../shared/text/words.ts'
import type { CliContext } from '../context.ts'
import { CliError, type Done, EXIT, type ExitCode } from '../exit.ts'
import { LETTER_HEADER, letterRow } from '../export/csv.ts'
import { type ExportFlags, withExport, writeExport } from '../export/destination.ts'
import { type OperatorFlags, withGateway, withOperator } from '../find-gateway.ts'
import { wholeNumber } from '../options.ts'

/** Dead letters of one request: each comes with its record. */
const PAGE = 100

interface ListFlags extends OperatorFlags {
  readonly stream?: string
  readonly limit: number
  readonly json?: boolean
}

interface ShowFlags extends OperatorFlags {
  readonly json?: boolean
}

interface LetterExportFlags extends OperatorFlags, ExportFlags {
  readonly stream?: string
}

interface ChangeFlags extends OperatorFlags {
  readonly stream?: string
  readonly all?: boolean
  readonly yes?: boolean
}

export function deadLettersCommand(context: CliContext, done: Done): Command {
  const letters = new Command('dead-letters').description(
    'what the sink or a stream refused for good',
  )
  letters.addCommand(
    withOperator(new Command('list'))
      .description('list them, oldest first')
      .option('-s, --stream <name>', 'of this stream only')
      .option('-n, --limit <n>', 'at most this many per stream', wholeNumber(1, 1_000_000), 100)
      .option('--json', 'one JSON object a line, with the record')
      .action(async (flags: ListFlags) => {
        await list(flags, context)
        done(EXIT.ok)
      }),
  )
  letters.addCommand(
    withOperator(new Command('show'))
      .description('show one with its record')
      .argument('<id>')
      .option('--json', 'as JSON, with the record')
      .action(async (id: string, flags: ShowFlags) => {
        await show(id, flags, context)
        done(EXIT.ok)
      }),
  )
  letters.addCommand(
    withExport(withOperator(new Command('export')))
      .description('write all of them with their records; nothing is removed')
      .option('-s, --stream <name>', 'of this stream only')
      .action(async (flags: LetterExportFlags) => {
        await exportLetters(flags, context)
        done(EXIT.ok)
      }),
  )
  letters.addCommand(
    withSelection(new Command('requeue'), 'put them back as new records of their stream').action(
      async (ids: string[], flags: ChangeFlags) =>
        done(
          await change(ids, flags, context, 'requeued', (admin, chosen) => admin.requeue(chosen)),
        ),
    ),
  )
  letters.addCommand(
    withSelection(new Command('purge'), 'remove them for good')
      .option('-y, --yes', 'yes, for good')
      .action(async (ids: string[], flags: ChangeFlags) => {
        if (flags.yes !== true)
          throw new CliError(
            EXIT.usage,
            'this deletes data that was not delivered; add --yes to confirm',
          )
        done(await change(ids, flags, context, 'purged', (admin, chosen) => admin.purge(chosen)))
      }),
  )
  return letters
}

function withSelection(command: Command, description: string): Command {
  return withOperator(command)
    .description(description)
    .argument('[ids...]', 'their ids')
    .option('-s, --stream <name>', 'with --all: of this stream')
    .option('--all', 'all of the stream')
}

async function list(
  { stream, limit, json, ...flags }: ListFlags,
  context: CliContext,
): Promise<void> {
  await withGateway(flags, context, async ({ operator }) => {
    let shown = 0
    for (const name of await streamsOf(operator, stream)) {
      const found: DeadLetter[] = []
      for await (const letter of pages(operator.deadLetters, name)) {
        if (found.length === limit) break
        found.push(letter)
      }
      shown += found.length
      if (json === true)
        for (const letter of found) context.stdout.write(`${JSON.stringify(letter)}\n`)
      else if (found.length > 0) context.stdout.write(`${letterTable(found)}\n`)
    }
    if (shown === 0 && json !== true) context.stdout.write('there are no dead letters\n')
  })
}

async function streamsOf(
  operator: Operator,
  stream: string | undefined,
): Promise<readonly string[]> {
  return stream === undefined ? (await operator.status()).streams.map(({ name }) => name) : [stream]
}

async function exportLetters(
  { stream, format, out, ...flags }: LetterExportFlags,
  context: CliContext,
): Promise<void> {
  await withGateway(flags, context, async ({ operator }) => {
    const total = { letters: 0 }
    const texts = lettersOf(operator, stream, format, total)
    const { path } = await writeExport({ format, ...(out && { out }) }, context, texts)
    const where = path === null ? '' : ` to ${path}`
    context.stderr.write(
      `exported ${counted(total.letters, 'dead letter')}${where}; nothing was removed\n`,
    )
  })
}

async function* lettersOf(
  operator: Operator,
  stream: string | undefined,
  format: ExportFlags['format'],
  total: { letters: number },
): AsyncGenerator<string> {
  yield format === 'csv' ? LETTER_HEADER : ''
  for (const name of await streamsOf(operator, stream)) {
    for await (const letter of pages(operator.deadLetters, name)) {
      total.letters += 1
      yield format === 'csv' ? letterRow(letter) : `${JSON.stringify(letter)}\n`
    }
  }
}

async function* pages(admin: DeadLetterOperator, stream: string): AsyncGenerator<DeadLetter> {
  let after: string | null = null
  do {
    const page = await admin.list({ stream, after, limit: PAGE })
    yield* page.deadLetters
    after = page.next
  } while (after !== null)
}

function letterTable(letters: readonly DeadLetter[]): string {
  const header = ['ID', 'SINCE', 'BY', 'STATUS', 'SIZE', 'REASON']
  const rows = letters.map((letter) => [
    plainLine(letter.id),
    since(letter),
    letter.origin === 'ingest' ? 'stream' : 'sink',
    letter.status === null ? '-' : String(letter.status),
    bytes(letter.bytes) + (letter.truncated ? ' (cut)' : ''),
    plainLine(letter.reason),
  ])
  return table([header, ...rows])
}

function since({ deadLetteredAtMs }: DeadLetter): string {
  return deadLetteredAtMs === null ? '-' : new Date(deadLetteredAtMs).toISOString()
}

async function show(id: string, { json, ...flags }: ShowFlags, context: CliContext): Promise<void> {
  const stream = streamOfId(id)
  await withGateway(flags, context, async ({ operator }) => {
    for await (const letter of pages(operator.deadLetters, stream)) {
      if (letter.id !== id) continue
      if (json === true) {
        context.stdout.write(`${JSON.stringify(letter, null, 2)}\n`)
        return
      }
      const by = letter.origin === 'ingest' ? 'the stream' : 'the sink'
      const status = letter.status === null ? '' : `, status ${letter.status}`
      context.stdout.write(
        [
          `id      ${plainLine(letter.id)}`,
          `since   ${since(letter)}`,
          `refused by ${by}${status}: ${plainLine(letter.reason)}`,
          `size    ${bytes(letter.bytes)}${letter.truncated ? '; only the first KiB was kept, it cannot be requeued' : ''}`,
          '',
          plain(letter.record),
          '',
        ].join('\n'),
      )
      return
    }
    throw new CliError(EXIT.failed, `there is no dead letter ${plainLine(id)}`)
  })
}

type Act = (admin: DeadLetterOperator, selection: DeadLetterSelection) => Promise<DeadLetterChange>

async function change(
  ids: readonly string[],
  { stream, all, ...flags }: ChangeFlags,
  context: CliContext,
  did: string,
  act: Act,
): Promise<ExitCode> {
  const selections = select(ids, stream, all === true)
  return withGateway(flags, context, async ({ operator }) => {
    let skippedAny = false
    for (const selection of selections) {
      const { changed, skipped } = await act(operator.deadLetters, selection)
      context.stdout.write(`${did} ${count(changed)} of ${selection.stream}\n`)
      for (const { id, why } of skipped)
        context.stderr.write(`not ${did}: ${plainLine(id)}: ${plainLine(why)}\n`)
      skippedAny ||=
        skipped.length > 0 || (selection.ids !== 'all' && changed < selection.ids.length)
    }
    return skippedAny ? EXIT.failed : EXIT.ok
  })
}

/** One selection per stream. */
function select(
  ids: readonly string[],
  stream: string | undefined,
  all: boolean,
): DeadLetterSelection[] {
  if (all) {
    if (stream === undefined || ids.length > 0)
      throw new CliError(EXIT.usage, '--all needs --stream NAME and takes no ids')
    return [{ stream, ids: 'all' }]
  }
  if (ids.length === 0) throw new CliError(EXIT.usage, 'name ids, or --stream NAME --all')
  const byStream = new Map<string, string[]>()
  for (const id of new Set(ids)) {
    const name = stream ?? streamOfId(id)
    byStream.set(name, [...(byStream.get(name) ?? []), id])
  }
  return [...byStream].map(([name, chosen]) => ({ stream: name, ids: chosen }))
}

/**
 * `<gateway>:<spool id>:<stream>:<seq>`, or `d<n>` for the last part (ingest contract;
 * architecture, "dead letter").
 */
function streamOfId(id: string): string {
  const match = /^[^:]+:[^:]+:([a-z0-9][a-z0-9-]{0,62}):d?\d+$/.exec(id)
  if (match?.[1] === undefined)
    throw new CliError(
      EXIT.usage,
      `${JSON.stringify(id)} is not an id; ids look like edge-01:k3f9x2m7q4w8z:telemetry:42`,
    )
  return match[1]
}
