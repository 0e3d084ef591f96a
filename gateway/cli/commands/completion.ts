/** `sluice completion`, and `sluice complete`, which its scripts ask at each Tab. */
import { Argument, Command } from 'commander'
import { plainLine } from '../../shared/text/words.ts'
import { type Candidates, candidates } from '../completion/candidates.ts'
import { FILES_LINE, SCRIPTS, SHELLS } from '../completion/scripts.ts'
import type { CliContext } from '../context.ts'
import { type Done, EXIT } from '../exit.ts'
import { loadFlagged } from '../options.ts'

export function completionCommand(context: CliContext, done: Done): Command {
  return new Command('completion')
    .description('print the script by which a shell completes commands, options and names')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .action((shell: (typeof SHELLS)[number]) => {
      context.stdout.write(SCRIPTS[shell])
      done(EXIT.ok)
    })
}

/** Hidden: for the scripts alone. Never fails: a shell has no place for an error at its prompt. */
export function completeCommand(context: CliContext, done: Done): Command {
  return new Command('complete')
    .argument('[words...]', 'those behind the name of the program, up to the cursor')
    .action(async (words: string[], _flags: object, command: Command) => {
      const program = command.parent
      if (program !== null) {
        const lines = await linesOf(candidates(program, words), words, context)
        context.stdout.write(lines.map((line) => `${line}\n`).join(''))
      }
      done(EXIT.ok)
    })
}

async function linesOf(
  found: Candidates,
  words: readonly string[],
  context: CliContext,
): Promise<string[]> {
  switch (found.kind) {
    case 'words':
      return found.words.map(({ word, description }) => `${word}\t${plainLine(description)}`)
    case 'files':
      return [FILES_LINE]
    case 'none':
      return []
    default: {
      const names = await configuredNames(found.kind, words, context)
      return names.map((name) => `${name}\t`)
    }
  }
}

/** Of the configuration that the command line names so far; none if it cannot be read. */
async function configuredNames(
  kind: 'streams' | 'sinks',
  words: readonly string[],
  context: CliContext,
): Promise<readonly string[]> {
  const at = words.findIndex((word) => word === '-c' || word === '--config')
  const config = at < 0 ? undefined : words[at + 1]
  try {
    const loaded = await loadFlagged(config === undefined ? {} : { config }, context)
    return kind === 'streams'
      ? Object.keys(loaded.config.streams)
      : loaded.sinkPromises().map(({ name }) => name)
  } catch {
    return []
  }
}
