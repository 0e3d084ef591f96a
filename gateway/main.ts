/**
 * The `sluice` command, behind the first statement of sluice.cts. Started directly, it has the
 * thread pool that its environment says, and `start` warns if that is too small.
 */
import { setFlagsFromString } from 'node:v8'
import { runCli } from './cli/program.ts'
import { processContext } from './command-line.ts'
import { leaveGoneTerminals } from './shared/output/terminal.ts'

process.on('exit', leaveGoneTerminals)
/**
 * The heap may double before all of it is marked again. By itself V8 allows less the busier the
 * machine is: Node 24 marked it up to six times a second at full load, for a fifth of the processor.
 */
setFlagsFromString('--heap-growing-percent=100')

const code = await runCli(process.argv.slice(2), processContext())
process.exit(code)
