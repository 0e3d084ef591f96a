/**
 * `sluice status`: how the gateway stands, for a person (or a script with --json), running or
 * stopped.
 */
import { Command } from 'commander'
import type { CliContext } from '../context.ts'
import { type Done, EXIT } from '../exit.ts'
import { type OperatorFlags, withGateway, withOperator } from '../find-gateway.ts'
import { statusText } from '../text/status-text.ts'

interface StatusFlags extends OperatorFlags {
  readonly json?: boolean
}

export function statusCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('status'))
    .description('show how the gateway stands, running or stopped')
    .option('--json', 'as JSON')
    .action(async (flags: StatusFlags) => {
      const status = await withGateway(flags, context, ({ operator }) => operator.status())
      context.stdout.write(
        flags.json === true ? `${JSON.stringify(status, null, 2)}\n` : statusText(status),
      )
      done(EXIT.ok)
    })
}
