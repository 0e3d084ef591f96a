/**
 * `npm run test:faults -- --runs 1000 --seed N`: the long campaigns of the crash oracle, one after the other. Prints seed, faults
 * that fired and totals; exits 1 if any promise was broken. The fast, seeded selections of the same
 * code are part of `npm test`.
 */
import { Command } from 'commander'
import { exitOnSignals } from '../bench/processes.ts'
import { campaign as clock } from './clock/campaign.ts'
import { campaign as cluster } from './cluster/campaign.ts'
import { campaign as damage } from './damage/campaign.ts'
import { campaign as death } from './death/campaign.ts'
import { campaign as file } from './file/campaign.ts'
import { campaign as fsync } from './fsync/campaign.ts'
import { campaign as disk } from './full-disk/campaign.ts'
import { campaign as fuzz } from './fuzz/campaign.ts'
import { campaign as network } from './network/campaign.ts'
import { campaign as overload } from './overload/campaign.ts'
import { campaign as poison } from './poison/campaign.ts'
import { campaign as power } from './power/campaign.ts'
import { campaign as reload } from './reload/campaign.ts'
import { campaign as simulation } from './simulation/campaign.ts'
import { campaign as sink } from './sink/campaign.ts'
import { campaign as sinks } from './sinks/campaign.ts'

const CAMPAIGNS = {
  death,
  power,
  damage,
  disk,
  fsync,
  sink,
  sinks,
  file,
  poison,
  network,
  clock,
  overload,
  fuzz,
  cluster,
  reload,
  simulation,
}

// Or its gateways would live on.
exitOnSignals()

const program = new Command('test:faults')
  .description('Long fault campaigns against the real gateway.')
  .option('--runs <n>', 'runs of each campaign; damages: twice as many', '1000')
  .option('--seed <n>', 'seed of all random decisions', String(Date.now() % 1_000_000))
  .option('--only <names>', `comma-separated, of: ${Object.keys(CAMPAIGNS).join(', ')}`)
  .option('--type <names>', 'of sinks: comma-separated types, instead of all')
const options = program.parse().opts<{ runs: string; seed: string; only?: string; type?: string }>()
const types = options.type?.split(',')
const wanted = options.only?.split(',') ?? Object.keys(CAMPAIGNS)
const say = (line: string): void => void process.stdout.write(`${line}\n`)
say(`seed ${options.seed}, ${options.runs} runs each`)
let failures = 0
for (const [name, campaign] of Object.entries(CAMPAIGNS)) {
  if (!wanted.includes(name)) continue
  const began = performance.now()
  const result = await campaign({
    runs: Number(options.runs),
    seed: Number(options.seed),
    say,
    ...(types === undefined ? {} : { types }),
  })
  failures += result.failures.length
  say(`${name}: ${result.runs} runs in ${Math.round((performance.now() - began) / 1000)} s`)
  for (const [fault, count] of Object.entries(result.faults)) say(`  ${fault}: ${count}`)
  for (const failure of result.failures) say(`  FAILED ${failure}`)
}
say(failures === 0 ? `PASS (seed ${options.seed})` : `FAIL: ${failures} (seed ${options.seed})`)
process.exit(failures === 0 ? 0 : 1)
