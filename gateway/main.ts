/**
 * The `sluice` command behind its first statement (sluice.cts). Started by itself it has as many
 * threads in libuv's pool as its environment says, and `start` says so if they are too few.
 */
import { runCli } from './cli/program.ts'
import { processContext } from './command-line.ts'
import { leaveGoneTerminals } from './shared/output/terminal.ts'

process.on('exit', leaveGoneTerminals)

const code = await runCli(process.argv.slice(2), processContext())
process.exit(code)
