/**
 * `sluice doctor`: what could keep a gateway from its work on this machine, each with what to do.
 * Beside a running gateway or without one; changes nothing.
 */
import { Command } from 'commander'
import type { CliContext } from '../context.ts'
import { examine, runningFacts } from '../doctor/examine.ts'
import { reportText } from '../doctor/report.ts'
import { type Done, EXIT } from '../exit.ts'
import { foundRunning, type OperatorFlags, withOperator } from '../find-gateway.ts'
import { locateFlagged } from '../options.ts'

interface DoctorFlags extends OperatorFlags {
  readonly json?: boolean
  readonly quiet?: boolean
}

export function doctorCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('doctor'))
    .description('examine disk, clock, certificates, ports, limits and sinks, and say what to do')
    .option('--json', 'as JSON')
    .option('-q, --quiet', 'findings alone')
    .action(async (flags: DoctorFlags) => {
      const located = await locateFlagged(flags, context)
      const { configured, refusal } = located
      const gateway = await foundRunning(flags, located)
      // What is in force is judged then, and the file's fault is a finding.
      if (gateway === null && refusal !== null) throw refusal.error
      const running = await runningFacts(gateway)
      const report = await examine(configured, context, running)
      context.stdout.write(
        flags.json === true
          ? `${JSON.stringify(report, null, 2)}\n`
          : reportText(report, flags.quiet === true),
      )
      done(report.problems === 0 ? EXIT.ok : EXIT.failed)
    })
}
