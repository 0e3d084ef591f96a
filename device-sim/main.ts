#!/usr/bin/env node
/** The `sluice-sim` command: a fleet of devices, the reference cloud, the books, the demo. One file per command in cli/. */
import { Command, CommanderError } from 'commander'
import { cloudCommand } from './cli/cloud.ts'
import { demoCommand } from './cli/demo.ts'
import { runCommand } from './cli/run.ts'
import { verifyCommand } from './cli/verify.ts'

/** Wrong flags, unreadable files: not the same as a promise that was broken. */
const USAGE_EXIT_CODE = 2

const program = new Command('sluice-sim')
  .description('test tools for the Sluice gateway: a fleet of MQTT devices and a reference cloud')
  .showHelpAfterError('(--help says what there is)')
for (const command of [runCommand(), verifyCommand(), cloudCommand(), demoCommand()]) {
  program.addCommand(command.exitOverride().showHelpAfterError('(--help says what there is)'))
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
