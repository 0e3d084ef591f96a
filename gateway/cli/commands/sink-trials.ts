/**
 * `sluice sinks preview`, `test` and `ddl`: a message through a sink before devices send any, and
 * what has to be made at its receiver. None of them opens the spool or asks a running gateway.
 */
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import type { TrialMessage, TrialOutcome } from '../../ports/trials.ts'
import { errorCode } from '../../shared/errors.ts'
import { plain } from '../../shared/text/words.ts'
import type { CliContext } from '../context.ts'
import { CliError, type Done, EXIT } from '../exit.ts'
import { type ConfigFlag, loadFlagged, withConfig } from '../options.ts'

interface TrialFlags extends ConfigFlag {
  readonly message?: string
  readonly stream?: string
  readonly topic?: string
  readonly device?: string
}

/** What a try sends if nothing else is given: marked, for whoever finds it there. */
const TEST_MESSAGE = '{"sluice":"test"}'

export function sinkTrialCommands(context: CliContext, done: Done): readonly Command[] {
  const preview = withMessage(new Command('preview'))
    .description('show what a message would become in a sink; sends nothing')
    .action(async (name: string, flags: TrialFlags) => {
      const { message } = flags
      if (message === undefined)
        throw new CliError(EXIT.usage, 'add --message FILE: the message as a device sends it')
      const configured = await loadFlagged(flags, context)
      const shown = await configured.previewSink(trialOf(name, message, flags))
      context.stdout.write(shown.endsWith('\n') ? plain(shown) : `${plain(shown)}\n`)
      done(EXIT.ok)
    })
  const test = withMessage(new Command('test'))
    .description('send one marked record to a sink, beside the spool, and explain the answer')
    .option('--json', 'the answer as JSON')
    .action(async (name: string, { json, ...flags }: TrialFlags & { readonly json?: boolean }) => {
      const configured = await loadFlagged(flags, context)
      const outcome = await configured.trySink(trialOf(name, flags.message ?? null, flags))
      const taken = outcome.taken
      context.stdout.write(
        json === true
          ? `${JSON.stringify({ sink: name, ...outcome }, null, 2)}\n`
          : `${plain(explain(name, outcome))}\n`,
      )
      done(taken ? EXIT.ok : EXIT.failed)
    })
  const ddl = withConfig(new Command('ddl'))
    .description("print what has to be made at a sink's receiver, such as tables")
    .argument('<name>', 'name of the sink')
    .action(async (name: string, flags: ConfigFlag) => {
      const configured = await loadFlagged(flags, context)
      const text = await configured.sinkDdl(name)
      context.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
      done(EXIT.ok)
    })
  return [preview, test, ddl]
}

function withMessage(command: Command): Command {
  return withConfig(command)
    .argument('<name>', 'name of the sink')
    .option('-m, --message <file>', 'the message as a device sends it; - is standard input')
    .option('-t, --topic <topic>', "its topic (default: one that the stream's first filter takes)")
    .option('-d, --device <id>', "the record's device (default: by the stream, or example)")
    .option('-s, --stream <name>', 'its stream (default: the first that goes to the sink)')
}

function trialOf(sink: string, file: string | null, flags: TrialFlags): TrialMessage {
  const { stream = null, topic = null, device = null } = flags
  const message = file === null ? Buffer.from(TEST_MESSAGE) : readMessage(file)
  return { sink, stream, topic, device, message }
}

function readMessage(file: string): Uint8Array {
  try {
    return readFileSync(file === '-' ? 0 : file)
  } catch (error) {
    const code = errorCode(error) ?? 'unknown error'
    throw new CliError(EXIT.usage, `--message: ${file} cannot be read (${code})`, error)
  }
}

/** What it said, and what a gateway would do about it. */
function explain(name: string, { answer, id, target, meaning }: TrialOutcome): string {
  const code = answer.code === null ? '' : ` [${answer.code}]`
  return `sink ${name} (${target}), record ${id}:\n${meaning}${howToSay(meaning)}${code}`
}

/** The message that is sent unless one is given fits few mappings. */
function howToSay(meaning: string): string {
  return meaning.startsWith('refused: unmappable: ')
    ? '\n--message FILE and --topic TOPIC say what a device sends, and where'
    : ''
}
