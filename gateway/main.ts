/**
 * The `sluice` command, behind the first statement of sluice.cts. Started directly, it has the
 * thread pool that its environment says, and `start` warns if that is too small.
 */
import { runCli } from './cli/program.ts'
import { processContext } from './command-line.ts'
import { leaveGoneTerminals } from './shared/output/terminal.ts'

process.on('exit', leaveGoneTerminals)

const code = await runCli(process.argv.slice(2), processContext())
process.exit(code)
