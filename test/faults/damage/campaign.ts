/**
 * The long campaign of damages (I7): seeded damages to copies of template spools, before an opening
 * and under an open store. A run is a number: the same seed and number damage the same bytes of a
 * template of the same seed.
 */
import { access, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Random } from '../../../device-sim/random.ts'
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { sideBySide } from '../side-by-side.ts'
import { type Baseline, baselineOf, Intactness } from './baseline.ts'
import { changeBytes, DAMAGES, damage } from './damages.ts'
import { drawFault, runErrno } from './errno.ts'
import { judge } from './judge.ts'
import { runProcessDamage } from './process-damage.ts'
import { copyShape, makeShape, SHAPES, type Shape } from './shapes.ts'
import { canHaveContainers, runTwoOwners } from './two-owners.ts'

export interface Template {
  readonly shape: Shape
  readonly folder: string
  readonly baseline: Baseline
}

export interface RunResult {
  readonly damages: readonly string[]
  readonly what: string
  readonly faults: readonly string[]
  readonly lost: number
  readonly openMs: number
}

/** Memory where there is a file system of it: thousands of openings are thousands of fsyncs. */
export async function workFolder(): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const root = await access('/dev/shm').then(
    () => '/dev/shm',
    () => tmpdir(),
  )
  const path = await mkdtemp(join(root, 'sluice-damage-'))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

export async function makeTemplates(
  root: string,
  seed: number,
  shapes: readonly Shape[] = SHAPES,
): Promise<Template[]> {
  const templates: Template[] = []
  for (const shape of shapes) {
    const folder = await makeShape(shape, root, seed)
    const baseline = await baselineOf(async (name) => {
      await copyShape(folder, join(folder, name))
      return join(folder, name)
    })
    templates.push({ shape, folder, baseline })
  }
  return templates
}

/** One damaged copy of one template. */
export async function runDamage(
  root: string,
  templates: readonly Template[],
  seed: number,
  run: number,
): Promise<RunResult> {
  const random = new Random(seed, `damage ${run}`)
  const template = templates[run % templates.length] as Template
  const dataDir = join(root, `run-${run}`)
  const done: string[] = []
  const what: string[] = []
  await copyShape(template.folder, dataDir)
  try {
    const isOpen = random.chance(0.12)
    const count = isOpen ? 0 : random.chance(0.2) ? 2 : 1
    while (done.length < count) {
      const kind = DAMAGES[random.below(DAMAGES.length)] as (typeof DAMAGES)[number]
      const one = await damage(dataDir, join(template.folder, 'early'), kind, random)
      if (one === null) continue
      done.push(one.damage)
      what.push(one.what)
    }
    const before = await Intactness.of(dataDir)
    const whileOpen = isOpen
      ? async (): Promise<Intactness> => {
          const one = await damageOpen(dataDir, random)
          done.push(one.kind)
          what.push(one.what)
          return await Intactness.of(dataDir)
        }
      : undefined
    const { faults, lost, openMs } = await judge(dataDir, template.baseline, before, whileOpen)
    return { damages: done, what: `${template.shape}: ${what.join(', ')}`, faults, lost, openMs }
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    return {
      damages: done,
      what: `${template.shape}: ${what.join(', ')}`,
      faults: [text],
      lost: 0,
      openMs: 0,
    }
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
}

/** Bytes of tables change, or a table goes, under the open store. */
async function damageOpen(
  dataDir: string,
  random: Random,
): Promise<{ kind: string; what: string }> {
  const dbDir = join(dataDir, 'spool')
  for (;;) {
    const tables = (await readdir(dbDir)).filter((name) => name.endsWith('.ldb'))
    const name = tables[random.below(tables.length)]
    if (name === undefined) return { kind: 'open-nothing', what: 'there is no table' }
    if (random.chance(0.2)) {
      await rm(join(dbDir, name))
      return { kind: 'open-delete', what: `${name} is deleted under the open store` }
    }
    // Bytes of values only: where LevelDB itself finds no sense in a table, it ends the process
    // (see process-damage.ts).
    const values = await blocksIn(join(dbDir, name))
    const value = values[random.below(values.length)]
    if (value === undefined) continue
    const how = (['flip', 'zero', 'garbage'] as const)[random.below(3)] ?? 'flip'
    const what = await changeBytes(join(dbDir, name), how, random, value)
    if (what !== null) return { kind: `open-${how}`, what: `${name} under the open store: ${what}` }
  }
}

async function blocksIn(path: string): Promise<Array<readonly [from: number, to: number]>> {
  // A compaction may take it away.
  const bytes = await readFile(path).catch(() => Buffer.alloc(0))
  const values: Array<readonly [number, number]> = []
  for (let at = bytes.indexOf('SLBK'); at >= 0; at = bytes.indexOf('SLBK', at + 1)) {
    const end = at + 53 + (bytes[at + 52] ?? 0) + 4 + bytes.readUInt32LE(at + 16)
    if (end <= bytes.length) values.push([at, end])
  }
  return values
}

/** One of so many runs goes through a gateway process. */
const RUNS_PER_PROCESS = 100
/** And so many fail in a call of the disk. */
const RUNS_PER_ERRNO = 5
const AT_ONCE = 3
/** A damage is quickly judged. */
const DAMAGES_PER_RUN = 2

export async function campaign(options: CampaignOptions): Promise<CampaignResult> {
  const { seed, say } = options
  const runs = options.runs * DAMAGES_PER_RUN
  const root = await workFolder()
  const faults: Record<string, number> = {}
  const failures: string[] = []
  let lost = 0
  let slowestMs = 0
  try {
    const templates = await makeTemplates(root.path, seed)
    const ownerRuns = canHaveContainers() ? Math.ceil(runs / RUNS_PER_PROCESS) : 0
    for (let run = 0; run < ownerRuns; run++) {
      const result = await runTwoOwners(
        root.path,
        `owners-${run}`,
        new Random(seed, `owners ${run}`),
      )
      for (const kind of result.damages) faults[kind] = (faults[kind] ?? 0) + 1
      failures.push(...result.faults.map((fault) => `seed ${seed} owners ${run}: ${fault}`))
    }
    await sideBySide(AT_ONCE, Array(runs).keys(), async (run) => {
      const isProcess = run % RUNS_PER_PROCESS === RUNS_PER_PROCESS - 1
      const isErrno = run % RUNS_PER_ERRNO === RUNS_PER_ERRNO - 1 && !isProcess
      const result = isErrno
        ? await runErrno(
            root.path,
            templates[run % templates.length] as Template,
            `errno-${run}`,
            drawFault(new Random(seed, `errno ${run}`)),
          )
        : await (isProcess ? runProcessDamage : runDamage)(root.path, templates, seed, run)
      // No such call there.
      if (result === null) return
      for (const kind of result.damages) faults[kind] = (faults[kind] ?? 0) + 1
      lost += result.lost
      slowestMs = Math.max(slowestMs, result.openMs)
      for (const fault of result.faults) {
        const line = `seed ${seed} run ${run}: ${result.what}: ${fault}`
        failures.push(line)
        say(`damage: ${line}`)
      }
      if ((run + 1) % 500 === 0) say(`damage: ${run + 1} of ${runs}`)
    })
  } finally {
    await root.remove()
  }
  say(
    `damage: ${runs} runs, ${lost} records lost with their bytes, the slowest opening took ${slowestMs.toFixed(0)} ms`,
  )
  return { name: 'damaged spool', runs, faults, failures }
}
