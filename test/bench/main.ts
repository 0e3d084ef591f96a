/**
 * `npm run bench`: every goal of speed and of thrift, measured on this machine, Sluice beside the peers that are installed.
 * A machine is shared and noisy, so ratios within a run are the result; absolute numbers are a
 * footnote to them.
 */
import { cpus, totalmem } from 'node:os'
import { Command, InvalidArgumentError, Option } from 'commander'
import { type Goal, goalTable, notMeasured } from './goals.ts'
import type { Group } from './group.ts'
import { backlog } from './groups/backlog.ts'
import { bridge } from './groups/bridge.ts'
import { cluster } from './groups/cluster.ts'
import { connections } from './groups/connections.ts'
import { consoles } from './groups/console.ts'
import { firstView } from './groups/first-view.ts'
import { fleet } from './groups/fleet.ts'
import { fullLoad } from './groups/full-load.ts'
import { growth } from './groups/growth.ts'
import { pace } from './groups/pace.ts'
import { protocols } from './groups/protocols.ts'
import { sinks } from './groups/sinks.ts'
import { subscribers } from './groups/subscribers.ts'
import { exitOnSignals } from './processes.ts'
import { CONTESTS } from './sinks/contests.ts'

const GROUPS: readonly Group[] = [
  fullLoad,
  subscribers,
  protocols,
  pace,
  connections,
  backlog,
  growth,
  fleet,
  sinks,
  bridge,
  cluster,
  consoles,
  firstView,
]

interface Options {
  readonly only: readonly Group[]
  readonly rounds: number
  readonly seconds: number
  readonly seed: number
  readonly backlog: number
  readonly sinks: readonly string[]
  readonly json?: boolean
}

function groupsNamed(names: string): Group[] {
  return names.split(',').map((name) => {
    const group = GROUPS.find((each) => each.name === name)
    if (group) return group
    throw new InvalidArgumentError(`one of ${GROUPS.map((each) => each.name).join(', ')}`)
  })
}

function sinksNamed(names: string): string[] {
  const known = CONTESTS.map(({ name }) => name)
  const wrong = names.split(',').find((name) => !known.includes(name))
  if (wrong === undefined) return names.split(',')
  throw new InvalidArgumentError(`one of ${known.join(', ')}`)
}

const HELP = `\nGroups:\n${GROUPS.map((each) => `  ${each.name.padEnd(12)} ${each.about}`).join('\n')}`

const options = new Command('bench')
  .description('Measures the goals of speed and thrift, beside the peers that are installed.')
  .addOption(
    new Option('--only <groups>', 'some of the groups, by name, with commas')
      .argParser(groupsNamed)
      .default(GROUPS, 'all'),
  )
  .option('--rounds <n>', 'rounds of each measure; medians are judged', Number, 3)
  .option('--seconds <n>', 'measured seconds per load', Number, 4)
  .option('--seed <n>', 'seed of the readings', Number, 1)
  .option('--backlog <records>', 'records of the backlog; 0 leaves it out', Number, 10_000_000)
  .addOption(
    new Option('--sinks <names>', 'of the group sinks some, by name, with commas')
      .argParser(sinksNamed)
      .default([], 'all'),
  )
  .option('--json', 'print the goals as JSON; what goes on goes to stderr')
  .addHelpText('after', HELP)
  .parse()
  .opts<Options>()

const say = (text: string): void => {
  ;(options.json ? process.stderr : process.stdout).write(`${text}\n`)
}

exitOnSignals()
const began = performance.now()
const machine = {
  node: process.version,
  cores: cpus().length,
  processor: cpus()[0]?.model ?? 'unknown',
  memoryGib: Math.round(totalmem() / 2 ** 30),
  seed: options.seed,
}
say(
  `node ${machine.node}, ${machine.cores} cores (${machine.processor}), ${machine.memoryGib} GiB; seed ${machine.seed}`,
)
const goals: Goal[] = []
let failed = false
for (const group of options.only) {
  say(`\n${group.name}: ${group.about}`)
  try {
    goals.push(...(await group.run({ ...options, say })))
  } catch (error) {
    // The other groups' figures are worth having; this one's goals count as not measured.
    goals.push(notMeasured(group.name, '', `failed: ${String(error)}`))
    failed = true
  }
}
say(`\n${goalTable(goals)}\n\n${((performance.now() - began) / 1000).toFixed(0)} s in all`)
if (options.json) process.stdout.write(`${JSON.stringify({ machine, goals }, null, 2)}\n`)
process.exit(failed ? 1 : 0)
