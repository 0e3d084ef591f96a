/**
 * `sluice reload`: the running gateway reads its configuration file and applies it, all of it or
 * nothing. `sluice log-level`: what its log says until then.
 */
import { Argument, Command, Option } from 'commander'
import { parseDuration } from '../../config/units.ts'
import {
  LOG_LEVELS,
  PROBATION_MS,
  type ReloadOptions,
  type RunningOperator,
  type WrittenLevel,
} from '../../ports/operator.ts'
import type { CliContext } from '../context.ts'
import { CliError, type Done, EXIT, type ExitCode } from '../exit.ts'
import { type OperatorFlags, runningGateway, withOperator } from '../find-gateway.ts'
import { NotRunningError } from '../http-operator.ts'
import { reloadText, writeWarnings } from '../text/reload-text.ts'

interface ReloadFlags extends OperatorFlags {
  readonly dryRun: boolean
  readonly probation: number
  readonly json: boolean
}

export function reloadCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('reload'))
    .description('apply the configuration file to the running gateway, all of it or nothing')
    .option('--dry-run', 'say what would change, and change nothing', false)
    .addOption(
      new Option(
        '--probation <time>',
        'go back by itself if a listener fails or a sink that was fine is held within it; 0s: never',
      )
        .default(PROBATION_MS, '30s')
        .argParser(probationMs),
    )
    .option('--json', 'print the outcome as JSON', false)
    .action(async (flags: ReloadFlags) => done(await reload(flags, context)))
}

export function logLevelCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('log-level'))
    .description("set the level of the running gateway's log, until a reload or restart")
    .addArgument(new Argument('<level>').choices(LOG_LEVELS))
    .action(async (level: WrittenLevel, flags: OperatorFlags) => {
      await asked(flags, context, (gateway) => gateway.setLogLevel(level))
      context.stdout.write(`the log's level is ${level}, until a reload or restart\n`)
      done(EXIT.ok)
    })
}

async function reload(
  { dryRun, probation, json, ...flags }: ReloadFlags,
  context: CliContext,
): Promise<ExitCode> {
  const options: ReloadOptions = { dryRun, probationMs: probation }
  const outcome = await asked(flags, context, (gateway) => gateway.reload(options))
  context.stdout.write(
    json ? `${JSON.stringify(outcome, null, 2)}\n` : reloadText(outcome, options),
  )
  const { plan, problems, warnings } = outcome
  writeWarnings(warnings, context.stderr)
  return problems.length + plan.refused.length === 0 ? EXIT.ok : EXIT.failed
}

async function asked<T>(
  flags: OperatorFlags,
  context: CliContext,
  work: (gateway: RunningOperator) => Promise<T>,
): Promise<T> {
  const gateway = await runningGateway(flags, context)
  try {
    return await work(gateway)
  } catch (error) {
    if (!(error instanceof NotRunningError)) throw error
    const message = `${error.message}; a gateway that is started reads its configuration by itself`
    throw new CliError(EXIT.failed, message, error)
  }
}

function probationMs(input: string): number {
  const parsed = parseDuration(input)
  if ('value' in parsed) return parsed.value
  throw new CliError(EXIT.usage, `--probation wants a time such as 30s: ${parsed.fix}`)
}
