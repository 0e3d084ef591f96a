/** `sluice spool`: what an operator does about the spool folder. */
import { Command } from 'commander'
import type { LeftAsideReport } from '../../ports/operator.ts'
import { count, counted, plainLine } from '../../shared/text/words.ts'
import type { CliContext } from '../context.ts'
import { type Done, EXIT } from '../exit.ts'
import { exportCommand, peekCommand } from '../export/records.ts'
import {
  type OperatorFlags,
  withGateway,
  withOperator,
  withStoppedGateway,
} from '../find-gateway.ts'
import { type ConfigFlag, withConfig } from '../options.ts'
import { backupCommands } from './backup.ts'

interface JsonFlags extends ConfigFlag {
  readonly json?: boolean
}

export function spoolCommand(context: CliContext, done: Done): Command {
  const spool = new Command('spool').description('what to do about the spool folder')
  spool.addCommand(
    withOperator(new Command('new-id'))
      .description(
        'number new records under a fresh spool id: after a rollback that only the sink could notice',
      )
      .action(async (flags: OperatorFlags) => {
        const id = await withGateway(flags, context, ({ operator }) => operator.newSpoolId())
        context.stdout.write(`new spool id ${id}; what waits under older ids is delivered first\n`)
        done(EXIT.ok)
      }),
  )
  spool.addCommand(peekCommand(context, done))
  spool.addCommand(exportCommand(context, done, '<stream>'))
  for (const command of backupCommands(context, done)) spool.addCommand(command)
  spool.addCommand(
    withOperator(new Command('verify'))
      .description('check every pending block; exit code 1 if something is missing')
      .option('--json', 'as JSON')
      .action(async ({ json, ...flags }: OperatorFlags & JsonFlags) => {
        const report = await withGateway(flags, context, ({ operator }) => operator.verify())
        const { blocks, missing, damage } = report
        if (json === true) context.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
        else {
          for (const line of damage) context.stdout.write(`damage: ${plainLine(line)}\n`)
          const verdict = missing === 0 ? 'all there' : `${count(missing)} missing or damaged`
          context.stdout.write(`${counted(blocks, 'block')} checked: ${verdict}\n`)
        }
        done(report.missing === 0 ? EXIT.ok : EXIT.failed)
      }),
  )
  spool.addCommand(
    withConfig(new Command('restore-aside'))
      .description(
        'put back the pending records of a store that was moved aside; without a name, list what there is (stopped gateway)',
      )
      .argument('[name]', 'spool.damaged-… or spool.unreadable-… in the data folder')
      .option('--json', 'the list as JSON')
      .action(async (name: string | undefined, { json, ...flags }: JsonFlags) => {
        await withStoppedGateway(flags, context, async (stopped) => {
          if (name === undefined) {
            const stores = await stopped.leftAside()
            const text = json === true ? `${JSON.stringify(stores, null, 2)}\n` : null
            context.stdout.write(text ?? leftAsideText(stores))
          } else {
            const records = await stopped.restoreLeftAside(name)
            context.stdout.write(
              `put back from ${name}: ${counted(records, 'record')}, with their old ids, to be delivered behind what waits now\n`,
            )
          }
        })
        done(EXIT.ok)
      }),
  )
  return spool
}

function leftAsideText(stores: readonly LeftAsideReport[]): string {
  if (stores.length === 0) return 'no store was moved aside\n'
  return stores
    .map(({ name, streams, unreadable }) => {
      const records = streams
        .map(({ name, records }) => `${count(records)} pending in ${name}`)
        .join(', ')
      const cannot =
        unreadable.length === 0 ? '' : `; ${count(unreadable.length)} of its files cannot be read`
      return `${name}: ${records === '' ? 'no records' : records}${cannot}\n`
    })
    .join('')
}
