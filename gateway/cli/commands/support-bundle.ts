/**
 * `sluice support-bundle`: what somebody who helps needs to see, in one file, without a secret and
 * without a reading.
 */
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { Command } from 'commander'
import { bytes, plainLine } from '../../shared/text/words.ts'
import { type BundleParts, gatherParts, json } from '../bundle/parts.ts'
import { tar } from '../bundle/tar.ts'
import type { CliContext } from '../context.ts'
import { type Done, EXIT } from '../exit.ts'
import { writeNewFile } from '../files/new-file.ts'
import { foundRunning } from '../find-gateway.ts'
import { type ConfigFlag, locateFlagged, withConfig } from '../options.ts'

const compress = promisify(gzip)

interface BundleFlags extends ConfigFlag {
  readonly out?: string
  readonly log?: string
}

export function supportBundleCommand(context: CliContext, done: Done): Command {
  return withConfig(new Command('support-bundle'))
    .description('gather configuration, status, metrics, log and findings for support, no secrets')
    .option(
      '-o, --out <file>',
      'a file that does not exist yet (default: sluice-support-TIME.tar.gz)',
    )
    .option('--log <file>', "the gateway's log, of one that does not run")
    .action(async (flags: BundleFlags) => {
      const nowMs = Date.now()
      const logFile = flags.log === undefined ? null : resolve(context.cwd, flags.log)
      const parts = await gatherParts({
        context,
        locate: () => locateFlagged(flags, context),
        find: (located) => foundRunning(flags, located),
        logFile,
      })
      const name = `sluice-support-${timeIn(nowMs)}`
      const packed = await compress(tar(folderOf(name, parts, context, nowMs), nowMs))
      const path = resolve(context.cwd, flags.out ?? `${name}.tar.gz`)
      writeNewFile(path, packed)
      context.stdout.write(`${path}: ${bytes(packed.length)}, ${listed(parts)}\n`)
      for (const { name: missing, why } of parts.missing)
        context.stderr.write(`not in it: ${missing} (${plainLine(why)})\n`)
      done(EXIT.ok)
    })
}

function folderOf(folder: string, parts: BundleParts, { version }: CliContext, nowMs: number) {
  const { entries, missing } = parts
  const manifest = {
    bundleVersion: 1,
    version,
    at: new Date(nowMs).toISOString(),
    parts: entries.map(({ name }) => name),
    missing,
  }
  return [{ name: 'manifest.json', content: json(manifest) }, ...entries].map(
    ({ name, content }) => ({ name: `${folder}/${name}`, content }),
  )
}

function listed({ entries }: BundleParts): string {
  return entries.map(({ name }) => name).join(', ')
}

/** `20261128T094215Z`: sorts, and is a file name everywhere. */
function timeIn(ms: number): string {
  return new Date(ms).toISOString().replaceAll(/[-:]|\.\d+/g, '')
}
