/** `sluice sinks`: what an operator does about sinks. */
import { Command } from 'commander'
import type { DeliveryState } from '../../ports/status.ts'
import type { CliContext } from '../context.ts'
import { CliError, type Done, EXIT } from '../exit.ts'
import { type OperatorFlags, runningGateway, withOperator } from '../find-gateway.ts'
import { NotRunningError } from '../http-operator.ts'
import { sinkTrialCommands } from './sink-trials.ts'

export function sinksCommand(context: CliContext, done: Done): Command {
  const sinks = new Command('sinks').description('what to do about sinks')
  sinks.addCommand(
    withOperator(new Command('retry'))
      .description('probe a held or retrying sink now, with one full round of halving')
      .argument('<name>', 'name of the sink')
      .action(async (name: string, flags: OperatorFlags) => {
        const gateway = await runningGateway(flags, context)
        let state: DeliveryState
        try {
          state = await gateway.retrySink(name)
        } catch (error) {
          if (!(error instanceof NotRunningError)) throw error
          const message = `${error.message}; a gateway that is started probes its sinks by itself`
          throw new CliError(EXIT.failed, message, error)
        }
        context.stdout.write(
          state === 'ok'
            ? `nothing of sink ${name} was held or waited for a retry: it is ok, and goes on\n`
            : `sink ${name} was ${state} and is being tried; sluice status shows the outcome\n`,
        )
        done(EXIT.ok)
      }),
  )
  for (const command of sinkTrialCommands(context, done)) sinks.addCommand(command)
  return sinks
}
