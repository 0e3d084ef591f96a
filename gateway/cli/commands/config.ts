/** `sluice config`: the configuration as such, without a gateway. */
import { resolve } from 'node:path'
import { Command } from 'commander'
import type { CliContext } from '../context.ts'
import { CliError, type Done, EXIT } from '../exit.ts'
import { writeNewFile } from '../files/new-file.ts'

export function configCommand(context: CliContext, done: Done): Command {
  return new Command('config')
    .description('a first configuration, and what one may hold')
    .addCommand(initCommand(context, done))
    .addCommand(
      new Command('schema')
        .description('print its JSON Schema, by which an editor completes and checks keys')
        .action(async () => {
          context.stdout.write(`${JSON.stringify(await context.configSchema(), null, 2)}\n`)
          done(EXIT.ok)
        }),
    )
}

function initCommand(context: CliContext, done: Done): Command {
  return new Command('init')
    .description('write a first configuration to edit, with the keys of a sink and what they mean')
    .argument('[file]', 'a file that does not exist yet (default: standard output)')
    .option('-s, --sink <type>', 'type of its sink', 'http')
    .action(async (file: string | undefined, flags: { readonly sink: string }) => {
      const text = await textFor(flags.sink, context)
      if (file === undefined) context.stdout.write(text)
      else {
        writeNewFile(resolve(context.cwd, file), text)
        context.stderr.write(`${file} is written; edit it, then: sluice check --config ${file}\n`)
      }
      done(EXIT.ok)
    })
}

async function textFor(sink: string, context: CliContext): Promise<string> {
  try {
    return await context.firstConfig(sink)
  } catch (error) {
    throw new CliError(EXIT.usage, `--sink: ${(error as Error).message}`, error)
  }
}
