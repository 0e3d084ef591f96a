/**
 * Runs of the file sink under faults of its disk: power cuts at every step, a kill at every call,
 * calls that fail. Each returns what was not as promised.
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Random } from '../../../device-sim/random.ts'
import { createFileSink } from '../../../gateway/sink/file/sink.ts'
import { type PreloadedDisk, preloadedDisk } from '../../support/faulty-disk.ts'
import { builtFile, type ProcessExit, runToEnd } from '../../support/process.ts'
import { sourcePath } from '../../support/source-path.ts'
import { DiskModel, type Survival, snapshot } from '../power/disk-model.ts'
import { type Entry, readJournal } from '../power/journal.ts'
import { recorderEnv } from '../power/recorder.ts'
import { checkFolder } from './check.ts'
import { batchAt, type ChildPlan, configOf, type Said } from './plan.ts'

const CHILD_MS = 20_000

/** What a file sink can be made to forget; see defects.mjs. */
export const DEFECTS = [
  'folders are not synced',
  'files are not synced',
  'acked before the rename',
  'written under its own name',
] as const
export type FileDefect = (typeof DEFECTS)[number]

/** Calls of a file sink that can fail. Node asks for stat past the C library. */
export const CALLS = [
  // Once a run, of the first batch.
  'readdir',
  'access',
  'statfs',
  'mkdir',
  'open',
  'write',
  'sync',
  'rename',
  'read',
] as const
type Call = (typeof CALLS)[number]

const ERRORS = ['ENOSPC', 'EIO', 'EROFS', 'ENOENT', 'EACCES', 'ESTALE', 'EDQUOT'] as const

async function withFolder<T>(use: (path: string) => Promise<T>): Promise<T> {
  const path = mkdtempSync(join(realpathSync(tmpdir()), 'sluice-file-faults-'))
  try {
    return await use(path)
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
}

async function runChild(
  plan: ChildPlan,
  env: Readonly<Record<string, string>>,
): Promise<{ readonly exit: ProcessExit; readonly said: Said[]; readonly stderr: string }> {
  const child = builtFile('test/faults/file/writer-child.js')
  const args = [child, JSON.stringify(plan)]
  const options = { env: { UV_USE_IO_URING: '0', ...env }, timeoutMs: CHILD_MS }
  const { exit, stdout, stderr } = await runToEnd(process.execPath, args, options)
  const lines = stdout.split('\n').filter((line) => line.endsWith('}'))
  return { exit, said: lines.map((line) => JSON.parse(line) as Said), stderr }
}

function ackedOf(said: readonly Said[]): number[] {
  return said.flatMap((one) => ('acked' in one ? [one.acked] : []))
}

/** A process that writes batches and is killed by the power, at each of its steps. */
export async function runPowerCuts(
  seed: string,
  batches: number,
  cuts: (steps: number) => readonly { readonly at: number; readonly survival: Survival }[],
  random: Random,
  defect?: FileDefect,
): Promise<{ readonly cuts: number; readonly faults: string[] }> {
  return await withFolder(async (path) => {
    const root = join(path, 'disk')
    const folder = join(root, 'stick')
    const journal = join(path, 'journal')
    mkdirSync(folder, { recursive: true })
    const base = snapshot(root, () => false)
    const preload = pathToFileURL(sourcePath('test/faults/file/defects.mjs')).href
    const planted = { NODE_OPTIONS: `--import ${preload}`, FILE_SINK_DEFECT: defect ?? '' }
    const env = { ...recorderEnv({ root, journal }), ...(defect === undefined ? {} : planted) }
    const { exit, stderr } = await runChild({ folder, seed, from: 1, batches, journal }, env)
    if (exit.code !== 0) return { cuts: 0, faults: [`ended with ${exit.code}: ${stderr}`] }
    const entries = readJournal(journal)
    const faults: string[] = []
    const chosen = cuts(entries.length)
    for (const { at, survival } of chosen) {
      const target = join(path, 'cut')
      const found = await tryCut({ root, base, entries, seed, batches }, at, target, {
        survival,
        random,
      })
      faults.push(...found.map((one) => `cut at ${at}, ${survival} survives: ${one}`))
      rmSync(target, { recursive: true, force: true })
    }
    return { cuts: chosen.length, faults }
  })
}

interface RecordedRun {
  readonly root: string
  readonly base: ReturnType<typeof snapshot>
  readonly entries: readonly Entry[]
  readonly seed: string
  readonly batches: number
}

async function tryCut(
  { root, base, entries, seed, batches }: RecordedRun,
  at: number,
  target: string,
  { survival, random }: { readonly survival: Survival; readonly random: Random },
): Promise<string[]> {
  const disk = new DiskModel(root, base)
  const acked: number[] = []
  for (const entry of entries.slice(0, at)) {
    disk.apply(entry)
    if (entry.type === 'note') acked.push(...ackedOf([entry.note as Said]))
  }
  disk.rebuild(target, survival, random)
  const folder = join(target, 'stick')
  const faults = checkFolder(folder, { seed, acked, last: batches, complete: false })
  if (faults.length > 0) return faults
  return await goOn(folder, seed, batches, acked)
}

/** The next start sends what was not acked; then each batch must be there once, alone. */
async function goOn(
  folder: string,
  seed: string,
  batches: number,
  acked: readonly number[],
): Promise<string[]> {
  const faults: string[] = []
  const done = [...acked]
  const sink = createFileSink({ name: 'stick', config: configOf(folder), emit: () => undefined })
  for (let n = acked.length + 1; n <= batches; n++) {
    const answer = await sink.send(batchAt(seed, n), new AbortController().signal)
    if (answer.kind !== 'verdicts') faults.push(`batch ${n} afterwards: ${answer.detail}`)
    else done.push(n)
  }
  await sink.close()
  return [...faults, ...checkFolder(folder, { seed, acked: done, last: batches, complete: true })]
}

let library: PreloadedDisk | null | undefined

/** A folder whose calls can be made to fail; null: there is no compiler here. */
async function withFaults<T>(
  use: (folder: string, flag: string, env: Readonly<Record<string, string>>) => Promise<T>,
): Promise<T | null> {
  if (library === undefined) {
    library = preloadedDisk()
    process.once('exit', () => library?.remove())
  }
  const preload = library?.env['LD_PRELOAD']
  if (preload === undefined) return null
  return await withFolder(async (path) => {
    const [folder, flag] = [join(path, 'stick'), join(path, 'fault')]
    mkdirSync(folder)
    const env = { LD_PRELOAD: preload, DISK_FAULT_DIR: folder, DISK_FAULT_FLAG: flag }
    return await use(folder, flag, env)
  })
}

/**
 * The process is killed in place of its nth call of a kind, and another one goes on. null: it makes
 * no such call, or there is no compiler here.
 */
export async function runKill(
  seed: string,
  batches: number,
  call: Call,
  nth: number,
): Promise<string[] | null> {
  return await withFaults(async (folder, flag, env) => {
    const faults = Array.from({ length: batches }, () => `call ${call} ${nth} kill`)
    const plan = { folder, seed, from: 1, batches, flag, faults }
    const { exit, said } = await runChild(plan, env)
    if (exit.signal !== 'SIGKILL') return null
    const acked = ackedOf(said)
    const found = checkFolder(folder, { seed, acked, last: batches, complete: false })
    return [...found, ...(await goOn(folder, seed, batches, acked))]
  })
}

export interface FailingCall {
  readonly call: Call
  readonly nth: number
  readonly error: (typeof ERRORS)[number]
  /** All later ones fail, too, until somebody has seen to it. */
  readonly stays: boolean
}

export function drawFailingCall(random: Random): FailingCall {
  const pick = <T>(of: readonly T[]): T => of[random.below(of.length)] as T
  const stays = random.chance(0.5)
  return { call: pick(CALLS), nth: 1 + random.below(3), error: pick(ERRORS), stays }
}

/** One process, a batch for each fault. */
export async function runErrnos(
  seed: string,
  calls: readonly FailingCall[],
): Promise<{ readonly fired: readonly string[]; readonly faults: string[] } | null> {
  return await withFaults(async (folder, flag, env) => {
    const faults = calls.map(
      ({ call, nth, error, stays }) =>
        `call ${call} ${nth} ${constants.errno[error as keyof typeof constants.errno]}${stays ? ' on' : ''}`,
    )
    const batches = calls.length
    const plan = { folder, seed, from: 1, batches, flag, faults }
    const { exit, said, stderr } = await runChild(plan, env)
    if (exit.code !== 0) return { fired: [], faults: [`ended with ${exit.code}: ${stderr}`] }
    const acked = ackedOf(said)
    const found = checkFolder(folder, { seed, acked, last: batches, complete: true })
    for (const one of said) {
      if ('kind' in one && one.kind !== 'hold' && one.kind !== 'retry')
        found.push(`I8: ${one.fault} is answered ${one.kind}: ${one.detail}`)
    }
    const fired = said.flatMap((one) => ('acked' in one && one.hit ? [one.fault] : []))
    return { fired, faults: found }
  })
}
