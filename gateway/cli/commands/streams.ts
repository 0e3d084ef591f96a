/**
 * `sluice streams`: the queues, those that no configuration names any more, and what to do about
 * these.
 */
import { Command } from 'commander'
import type { StreamStatus } from '../../ports/status.ts'
import { bytes, count, span, table } from '../../shared/text/words.ts'
import type { CliContext } from '../context.ts'
import { CliError, type Done, EXIT } from '../exit.ts'
import { exportCommand } from '../export/records.ts'
import { type OperatorFlags, withGateway, withOperator } from '../find-gateway.ts'

export function streamsCommand(context: CliContext, done: Done): Command {
  return new Command('streams')
    .description('the queues in the spool')
    .addCommand(listCommand(context, done))
    .addCommand(orphansCommand(context, done))
    .addCommand(drainCommand(context, done))
    .addCommand(parkCommand(context, done))
    .addCommand(exportCommand(context, done, '<name>'))
}

interface ListFlags extends OperatorFlags {
  readonly json?: boolean
}

function listCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('list'))
    .description('all of them')
    .option('--json', 'as JSON, as in the status')
    .action(async ({ json, ...flags }: ListFlags) => {
      const { streams } = await withGateway(flags, context, ({ operator }) => operator.status())
      if (json === true) context.stdout.write(`${JSON.stringify(streams, null, 2)}\n`)
      else showStreams(context, streams, 'there are no streams')
      done(EXIT.ok)
    })
}

function orphansCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('orphans'))
    .description(
      'those that hold records but are not in the configuration; drain or export them, or configure them again',
    )
    .option('--json', 'as JSON, as in the status')
    .action(async ({ json, ...flags }: ListFlags) => {
      const { streams } = await withGateway(flags, context, ({ operator }) => operator.status())
      const orphans = streams.filter(({ orphaned }) => orphaned)
      if (json === true) context.stdout.write(`${JSON.stringify(orphans, null, 2)}\n`)
      else showStreams(context, orphans, 'no stream is orphaned')
      done(EXIT.ok)
    })
}

function drainCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('drain'))
    .description('deliver what an orphaned stream holds through a sink; its records keep their ids')
    .argument('<name>', 'name of the stream')
    .requiredOption('-s, --sink <sink>', 'name of a sink in the configuration')
    .action(async (name: string, flags: DrainFlags) => {
      const how = await withGateway(flags, context, async ({ kind, operator }) => {
        await operator.streams.drainTo(name, flags.sink)
        return kind === 'running' ? 'is being drained' : 'will be drained from the next start on'
      })
      context.stdout.write(
        `stream ${name} ${how}, to sink ${flags.sink}; sluice streams list shows what is left\n`,
      )
      done(EXIT.ok)
    })
}

function parkCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('park'))
    .description(
      'set the first waiting record aside, as if its sink had refused it; delivery goes on with the next',
    )
    .argument('<name>', 'name of the stream')
    .argument('<seq>', "the record's number", parseSeq)
    .action(async (name: string, seq: number, flags: OperatorFlags) => {
      await withGateway(flags, context, ({ operator }) => operator.streams.park(name, seq))
      context.stdout.write(
        `record ${seq} of stream ${name} is parked; it becomes a dead letter once the sink has taken a later one\n`,
      )
      done(EXIT.ok)
    })
}

function parseSeq(input: string): number {
  const seq = Number(input)
  if (/^[1-9]\d{0,15}$/.test(input) && Number.isSafeInteger(seq)) return seq
  throw new CliError(EXIT.usage, `<seq> wants a number from 1, got ${JSON.stringify(input)}`)
}

interface DrainFlags extends OperatorFlags {
  readonly sink: string
}

function showStreams({ stdout }: CliContext, streams: readonly StreamStatus[], none: string): void {
  stdout.write(streams.length === 0 ? `${none}\n` : `${streamTable(streams)}\n`)
}

function streamTable(streams: readonly StreamStatus[]): string {
  const header = ['STREAM', 'RECORDS', 'BYTES', 'OLDEST', 'HEAD SEQ', 'NEXT SEQ', 'SINK']
  const rows = streams.map((stream) => [
    stream.name,
    count(stream.backlogRecords),
    bytes(stream.storedBytes),
    stream.oldestAgeSeconds === null ? '-' : span(stream.oldestAgeSeconds),
    String(stream.headSeq),
    String(stream.nextSeq),
    stream.orphaned ? `${stream.sink ?? 'none'} (orphaned)` : (stream.sink ?? 'none'),
  ])
  return table([header, ...rows])
}
