/** `sluice config`: the configuration as such, without a gateway. */
import { Command } from 'commander'
import type { CliContext } from '../context.ts'
import { type Done, EXIT } from '../exit.ts'

export function configCommand(context: CliContext, done: Done): Command {
  return new Command('config').description('what a configuration may hold').addCommand(
    new Command('schema')
      .description('print its JSON Schema, by which an editor completes and checks keys')
      .action(async () => {
        context.stdout.write(`${JSON.stringify(await context.configSchema(), null, 2)}\n`)
        done(EXIT.ok)
      }),
  )
}
