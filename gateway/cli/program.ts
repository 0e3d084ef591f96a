/**
 * The command line: joins the commands, turns errors into a message and an exit code. Every
 * command's work is imported when it is called.
 */
import { Command, CommanderError, type Option } from 'commander'
import { ConfigError } from '../config/problems.ts'
import { plain } from '../shared/text/words.ts'
import { accessCommand } from './commands/access.ts'
import { checkCommand } from './commands/check.ts'
import { completeCommand, completionCommand } from './commands/completion.ts'
import { configCommand } from './commands/config.ts'
import { deadLettersCommand } from './commands/dead-letters.ts'
import { devicesCommand } from './commands/devices.ts'
import { doctorCommand } from './commands/doctor.ts'
import { leaveCommand } from './commands/leave.ts'
import { passwdCommand } from './commands/passwd.ts'
import { logLevelCommand, reloadCommand } from './commands/reload.ts'
import { sinksCommand } from './commands/sinks.ts'
import { spoolCommand } from './commands/spool.ts'
import { startCommand } from './commands/start.ts'
import { statusCommand } from './commands/status.ts'
import { streamsCommand } from './commands/streams.ts'
import { supportBundleCommand } from './commands/support-bundle.ts'
import type { CliContext } from './context.ts'
import { CliError, type Done, EXIT, type ExitCode } from './exit.ts'
import { withCode } from './text/error-text.ts'
import { ReaderGoneError } from './text/output.ts'

const HELP = `
Without --config the configuration is the file that SLUICE_CONFIG names,
./sluice.yaml, or /etc/sluice/sluice.yaml, the first that is there; else the
defaults are in effect. Variables SLUICE__… change single keys.
Exit codes: 0 done; 1 failed, or stopped the hard way; 2 wrong usage or
configuration.`

/**
 * Runs one command line. `args`: without node and script. Resolves with the exit code; never
 * rejects.
 */
export async function runCli(args: readonly string[], context: CliContext): Promise<ExitCode> {
  let code: ExitCode = EXIT.ok
  const program = new Command('sluice')
    .description(
      'IoT telemetry gateway: MQTT in, a durable store-and-forward spool, a sink for each receiver.',
    )
    .version(context.version)
    .addHelpText('after', HELP)
  const done = (result: ExitCode): void => {
    code = result
  }
  for (const make of COMMANDS) program.addCommand(make(context, done))
  program.addCommand(completeCommand(context, done), { hidden: true })
  confine(program, context)
  try {
    await program.parseAsync([...args], { from: 'user' })
    return code
  } catch (error) {
    return report(error, context)
  }
}

const COMMANDS: ReadonlyArray<(context: CliContext, done: Done) => Command> = [
  startCommand,
  checkCommand,
  configCommand,
  statusCommand,
  devicesCommand,
  doctorCommand,
  supportBundleCommand,
  reloadCommand,
  logLevelCommand,
  leaveCommand,
  passwdCommand,
  accessCommand,
  sinksCommand,
  deadLettersCommand,
  spoolCommand,
  streamsCommand,
  completionCommand,
]

/**
 * Commander ends the process and writes to it; here it throws and writes to the context, in every
 * subcommand.
 */
function confine(command: Command, context: CliContext): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => void context.stdout.write(text),
    writeErr: (text) => void context.stderr.write(text),
  })
  // A group has commands and nothing of its own.
  const isGroup = command.parent === null || command.options.length === 0
  command.showHelpAfterError(
    command.commands.length > 0 && isGroup
      ? `(${namesOf(command)} --help lists the commands)`
      : `usage: ${usageOf(command)}`,
  )
  for (const sub of command.commands) confine(sub, context)
}

/** Where the gateway is: said last. */
const isCommon = ({ long }: Option): boolean => long === '--config' || long === '--url'

/** `sluice dead-letters list [--stream <name>] [--json]`: of a command that does something. */
function usageOf(command: Command): string {
  const help = command.createHelp()
  const takes = command.registeredArguments.map((argument) => help.argumentTerm(argument))
  const options = command.options
    .filter(({ hidden }) => !hidden)
    .toSorted((a, b) => Number(isCommon(a)) - Number(isCommon(b)))
    .map(({ flags, mandatory }) => {
      const long = flags.slice(Math.max(0, flags.indexOf('--')))
      return mandatory ? long : `[${long}]`
    })
  const shown = command.registeredArguments.map((argument, n) =>
    argument.required ? `<${takes[n]}>` : `[${takes[n]}]`,
  )
  return [namesOf(command), ...shown, ...options].join(' ')
}

/** `sluice dead-letters list`. */
function namesOf(command: Command): string {
  const names = [command.name()]
  for (let above = command.parent; above !== null; above = above.parent) names.unshift(above.name())
  return names.join(' ')
}

function report(error: unknown, { stderr }: CliContext): ExitCode {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  if (error instanceof ConfigError) {
    stderr.write(`sluice: the configuration is refused\n${plain(error.message)}\n`)
    return EXIT.usage
  }
  if (error instanceof ReaderGoneError) return error.exitCode
  for (const each of faultsOf(error)) stderr.write(`sluice: ${plain(withCode(each))}\n`)
  return error instanceof CliError ? error.exitCode : EXIT.failed
}

/** Several of a start that was refused; else the error itself. */
function faultsOf(error: unknown): readonly unknown[] {
  return error instanceof Error && 'faults' in error && Array.isArray(error.faults)
    ? error.faults
    : [error]
}
