/** `sluice-sim verify`: the ledger of a run against what the cloud stored. */
import { statSync } from 'node:fs'
import { Command } from 'commander'
import { readLedger } from '../ledger/ledger.ts'
import { verdictRows } from '../ledger/report.ts'
import { verifyStore } from '../ledger/verify-store.ts'
import { table } from '../table.ts'

interface Flags {
  readonly ledger: string
  readonly store: string
  readonly json?: boolean
}

export function verifyCommand(): Command {
  return new Command('verify')
    .description('compare the ledger of a run with what the cloud stored')
    .requiredOption('--ledger <file>', 'ledger that `run --ledger` wrote')
    .requiredOption('--store <folder>', "the cloud's folder (`cloud --store`)")
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Reports readings that were acknowledged and are lost, QoS 2 readings that are stored twice, first occurrences out of
order (per stream, device and QoS), and stored bytes that were never published. QoS 1 repeats are counted apart: the
device itself sent them again. Missing QoS 0 readings and readings that were never acknowledged are no loss.

Exit code: 0 when every promise was kept, 1 when one was broken, 2 when a file cannot be read.`,
    )
    .action(async (flags: Flags) => {
      if (statSync(flags.store, { throwIfNoEntry: false })?.isDirectory() !== true) {
        throw new Error(
          `--store: ${flags.store} is no folder; it is the one that \`cloud --store\` names`,
        )
      }
      const verdict = await verifyStore(await readLedger(flags.ledger), flags.store)
      if (flags.json === true) process.stdout.write(`${JSON.stringify(verdict, null, 2)}\n`)
      else {
        process.stdout.write(`${table(verdictRows(verdict))}\n`)
        for (const example of verdict.examples) process.stdout.write(`  ! ${example}\n`)
        process.stdout.write(verdict.ok ? 'OK\n' : 'BROKEN\n')
      }
      process.exitCode = verdict.ok ? 0 : 1
    })
}
