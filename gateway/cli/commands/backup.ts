/**
 * `sluice spool backup` and `restore`: a copy of the spool in one file, and back again under a
 * fresh spool id.
 */
import { open, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { Command } from 'commander'
import { counted } from '../../shared/text/words.ts'
import type { CliContext } from '../context.ts'
import { CliError, type Done, EXIT, unwritten } from '../exit.ts'
import { type OperatorFlags, withGateway, withOperator } from '../find-gateway.ts'
import { type ConfigFlag, loadFlagged, withConfig } from '../options.ts'

export function backupCommands(context: CliContext, done: Done): readonly Command[] {
  const backup = withOperator(new Command('backup'))
    .description(
      'write everything that the spool of a running or stopped gateway holds to a new file',
    )
    .argument('<file>', 'a file that does not exist yet')
    .action(async (file: string, flags: OperatorFlags) => {
      const path = resolve(context.cwd, file)
      await withGateway(flags, context, ({ operator }) => writeNew(path, operator.backup()))
      const { entries, pendingRecords } = await context.checkBackup(path)
      context.stdout.write(
        `${path}: ${counted(pendingRecords, 'pending record')}, ${counted(entries, 'value')}; checked\n`,
      )
      done(EXIT.ok)
    })
  const restore = withConfig(new Command('restore'))
    .description(
      'restore the spool of a stopped gateway from a backup; new records get a fresh spool id',
    )
    .argument('<file>', 'written by sluice spool backup')
    .option('--replace', 'move an existing spool aside')
    .action(
      async (file: string, { replace, ...flags }: ConfigFlag & { readonly replace?: boolean }) => {
        const configured = await loadFlagged(flags, context)
        const { at, pendingRecords, movedTo } = await configured.restoreBackup(
          resolve(context.cwd, file),
          replace === true,
        )
        const { stdout } = context
        stdout.write(
          `the spool is as it was at ${at}: ${counted(pendingRecords, 'pending record')}\n`,
        )
        stdout.write(
          '  pending records keep their ids, and a sink that knows some of them stores them once\n',
        )
        stdout.write(`  what was acknowledged after ${at} is not in it, delivered or not\n`)
        if (movedTo !== null)
          stdout.write(`  the spool that was there is in ${movedTo}, complete\n`)
        stdout.write('new records are numbered under a fresh spool id from the next start on\n')
        done(EXIT.ok)
      },
    )
  return [backup, restore]
}

/** Durable when it resolves. A torn one is removed. */
async function writeNew(path: string, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
    const isThere = (error as NodeJS.ErrnoException).code === 'EEXIST'
    throw new CliError(
      EXIT.failed,
      isThere ? `${path} exists already` : `${path} cannot be written: ${String(error)}`,
    )
  })
  try {
    const orSay = (error: unknown): never => {
      throw unwritten(path, error)
    }
    for await (const chunk of bytes) await file.writeFile(chunk).catch(orSay)
    await file.sync().catch(orSay)
    await file.close().catch(orSay)
  } catch (error) {
    await file.close().catch(() => undefined)
    await rm(path, { force: true })
    throw error
  }
}
