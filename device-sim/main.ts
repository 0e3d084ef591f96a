#!/usr/bin/env node
/**
 * The `sluice-sim` command: a fleet of devices, the reference cloud, the books, the demo. One file
 * per command in cli/.
 */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { cloudCommand } from './cli/cloud.ts'
import { demoCommand } from './cli/demo.ts'
import { runCommand } from './cli/run.ts'
import { verifyCommand } from './cli/verify.ts'

/** Wrong flags, unreadable files: not the same as a promise that was broken. */
const USAGE_EXIT_CODE = 2

// Whoever read along may have gone, as `head` does; anything else, a full disk for instance, is a
// failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit()
  process.stderr.write(`sluice-sim: standard output cannot be written: ${error.message}\n`)
  process.exit(1)
})
process.stderr.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? undefined : 1),
)

const program = new Command('sluice-sim')
  .version(readVersion(), '--version', 'print the version')
  .description('test tools for the Sluice gateway: a fleet of MQTT devices and a reference cloud')
  .showHelpAfterError('(--help says what there is)')
for (const command of [runCommand(), verifyCommand(), cloudCommand(), demoCommand()]) {
  program.addCommand(command.exitOverride().showHelpAfterError('(--help says what there is)'))
}

/** From package.json: one folder up from the sources, two from dist. */
function readVersion(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const { version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as {
        version?: string
      }
      if (version !== undefined) return version
    } catch {
      // Not there: the other one.
    }
  }
  return 'unknown'
}

try {
  await program.exitOverride().parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : USAGE_EXIT_CODE
  } else {
    process.stderr.write(`sluice-sim: ${error instanceof Error ? error.message : String(error)}\n`)
    // Whatever was opened before it failed must not keep the process.
    process.exit(USAGE_EXIT_CODE)
  }
}
