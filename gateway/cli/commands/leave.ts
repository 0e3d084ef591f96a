/**
 * `sluice leave`: takes a running gateway out of service. It takes no more connections, sends its
 * devices away, and delivers what it holds; the command waits for that and says what is left.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Command, Option } from 'commander'
import { formatDuration, parseDuration } from '../../config/units.ts'
import type { RunningOperator } from '../../ports/operator.ts'
import type { Status, StreamStatus } from '../../ports/status.ts'
import { count, counted, plainLine } from '../../shared/text/words.ts'
import type { CliContext } from '../context.ts'
import { CliError, type Done, EXIT, type ExitCode } from '../exit.ts'
import { type OperatorFlags, runningGateway, withOperator } from '../find-gateway.ts'
import { NotRunningError } from '../http-operator.ts'

/** A minute's readings of a busy box, over a link that is up. */
const DEFAULT_TIMEOUT_MS = 60_000
const POLL_MS = 200
const ENDED =
  'the gateway was ended while it left: what it had not delivered is on its disk, and delivered after its next start\n'

interface LeaveFlags extends OperatorFlags {
  readonly timeout: number
}

export function leaveCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('leave'))
    .description(
      'take the gateway out of service: not ready, devices are sent away, what it holds is delivered',
    )
    .addOption(
      new Option('--timeout <duration>', 'how long to wait for that')
        .argParser(parseTimeout)
        .default(DEFAULT_TIMEOUT_MS, formatDuration(DEFAULT_TIMEOUT_MS)),
    )
    .action(async (flags: LeaveFlags) => {
      const gateway = await runningGateway(flags, context)
      try {
        done(await leave(gateway, flags.timeout, context))
      } catch (error) {
        if (!(error instanceof NotRunningError)) throw error
        throw new CliError(EXIT.failed, `${error.message}; only a running gateway can leave`, error)
      }
    })
}

async function leave(
  gateway: RunningOperator,
  timeoutMs: number,
  { stdout }: CliContext,
): Promise<ExitCode> {
  const endMs = performance.now() + timeoutMs
  await gateway.leave()
  for (;;) {
    const status = await statusOf(gateway)
    if (status === null) {
      stdout.write(ENDED)
      return EXIT.failed
    }
    if (isDone(status)) {
      stdout.write('the gateway has left: no device is connected, and every record is delivered\n')
      return EXIT.ok
    }
    if (performance.now() >= endMs) {
      stdout.write(leftOver(status, timeoutMs))
      return EXIT.failed
    }
    await sleep(POLL_MS)
  }
}

/** null: it has ended since the command spoke with it. */
async function statusOf(gateway: RunningOperator): Promise<Status | null> {
  try {
    return await gateway.status()
  } catch (error) {
    if (error instanceof NotRunningError) return null
    throw error
  }
}

function isDone(status: Status): boolean {
  const isEmpty = (status.broker?.connections ?? 0) === 0 && undelivered(status).length === 0
  return status.leaving && isEmpty
}

/** An orphaned stream has no sink that could take it: `sluice streams drain` gives it one. */
function undelivered({ streams }: Status): readonly StreamStatus[] {
  return streams.filter(({ backlogRecords, sink }) => sink !== null && backlogRecords > 0)
}

/** What is not done after the time, and why. */
function leftOver(status: Status, timeoutMs: number): string {
  const lines = undelivered(status).map(({ backlogRecords, delivery, name, sink }) => {
    const why = delivery.why === null ? '' : `: ${plainLine(delivery.why)}`
    return `  ${counted(backlogRecords, 'record')} of stream ${name} for sink ${sink ?? ''}, ${delivery.state}${why}`
  })
  const connections = status.broker?.connections ?? 0
  const total = undelivered(status).reduce((sum, { backlogRecords }) => sum + backlogRecords, 0)
  return [
    `after ${formatDuration(timeoutMs)} ${counted(connections, 'device')} connected, ${count(total)} records not delivered`,
    ...lines,
    'the gateway takes no devices and goes on delivering while it runs; run sluice leave again to wait longer',
    '',
  ].join('\n')
}

function parseTimeout(input: string): number {
  const parsed = parseDuration(input)
  if ('value' in parsed) return parsed.value
  throw new CliError(EXIT.usage, `--timeout wants a duration such as 60s: ${parsed.fix}`)
}
