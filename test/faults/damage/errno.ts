/**
 * What is no proof of damage must not pass for it (I7, I8): one call of the disk fails with one of
 * the system's errors, in one phase of a process that has the spool; then another process opens it
 * on a disk that works, and everything that was acknowledged must be there, nothing moved, nothing
 * repaired, nothing counted as corrupt.
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { constants } from 'node:os'
import { join } from 'node:path'
import type { Random } from '../../../device-sim/random.ts'
import { preloadedDisk } from '../../support/faulty-disk.ts'
import { builtFile, runToEnd } from '../../support/process.ts'
import { openSpool } from '../../support/spool-fixture.ts'
import { drainAll } from './baseline.ts'
import type { RunResult, Template } from './campaign.ts'
import { checkBalance } from './judge.ts'
import { copyShape, OPEN_OPTIONS } from './shapes.ts'

/** Of the child: it was refused in words. */
export const REFUSED_EXIT = 4
/** To the child: take every error of an opening for damage, as a gateway must not. */
export const PLANTED = 'an-errno-is-damage'
const CHILD_MS = 60_000

const ERRORS = [
  'EAGAIN',
  'ENOLCK',
  'EMFILE',
  'ENFILE',
  'EACCES',
  'EPERM',
  'EROFS',
  'ENOMEM',
  'ESTALE',
  'EIO',
  'EINTR',
  'ETIMEDOUT',
  'ENOSPC',
] as const

const CALLS = [
  'open',
  'read',
  'mmap',
  'lock',
  'stat',
  'readdir',
  'rename',
  'unlink',
  'link',
  'mkdir',
  'sync',
  'truncate',
  'statfs',
  'write',
] as const

const PHASES = ['open', 'salvage', 'read', 'write', 'reopen', 'verify', 'stop'] as const

/** The first so many calls of a kind: an opening has fewer of most. */
const MAX_CALL = 120

type Library = NonNullable<ReturnType<typeof preloadedDisk>>
let library: Library | null | undefined

export interface ErrnoFault {
  readonly phase: (typeof PHASES)[number]
  readonly call: (typeof CALLS)[number]
  readonly error: (typeof ERRORS)[number]
  readonly nth: number
  readonly stays: boolean
  readonly defect?: typeof PLANTED
}

export function drawFault(random: Random): ErrnoFault {
  const pick = <T>(of: readonly T[]): T => of[random.below(of.length)] as T
  return {
    phase: pick(PHASES),
    call: pick(CALLS),
    error: pick(ERRORS),
    nth: 1 + Math.floor(MAX_CALL ** random.next()),
    stays: random.chance(0.5),
  }
}

/** null: no compiler here, or the process makes no such call in that phase. */
export async function runErrno(
  root: string,
  template: Template,
  name: string,
  fault: ErrnoFault,
): Promise<RunResult | null> {
  for (let { nth } = fault; nth >= 1; nth = Math.floor(nth / 3)) {
    const result = await runOnce(root, template, name, { ...fault, nth })
    if (result !== null) return result
  }
  return null
}

async function runOnce(
  root: string,
  template: Template,
  name: string,
  { phase, call, error, nth, stays, defect }: ErrnoFault,
): Promise<RunResult | null> {
  library ??= preloadedDisk()
  if (library === null) return null
  const folder = join(root, name)
  const dataDir = join(folder, 'data')
  await mkdir(folder, { recursive: true })
  await copyShape(template.folder, dataDir)
  // Nothing is lost with it, and all that is for damage is at work.
  if (phase === 'salvage') await rm(join(dataDir, 'spool', 'CURRENT'), { force: true })
  const flag = join(folder, 'fault')
  const number = constants.errno[error]
  const text = `call ${call} ${nth} ${number}${stays ? ' on' : ''}`
  const faults: string[] = []
  const began = performance.now()
  try {
    const { exit, stdout, stderr } = await runToEnd(
      process.execPath,
      [
        builtFile('test/faults/damage/errno-child.js'),
        dataDir,
        phase === 'salvage' ? 'open' : phase,
        text,
        flag,
        ...(defect === undefined ? [] : [defect]),
      ],
      {
        env: {
          UV_THREADPOOL_SIZE: '8',
          LD_PRELOAD: library.env['LD_PRELOAD'] as string,
          DISK_FAULT_DIR: dataDir,
          DISK_FAULT_FLAG: flag,
        },
        timeoutMs: CHILD_MS,
      },
    )
    const fired = (await readdir(folder)).includes('fault.hits')
    if (!fired && exit.code === 0) return null
    const said = stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as { acked?: number; delivered?: string[]; refused?: string })
    if (exit.code !== 0 && exit.code !== REFUSED_EXIT)
      faults.push(`the process ended with ${exit.code ?? exit.signal}: ${stderr.slice(-1500)}`)
    if (exit.code === REFUSED_EXIT && phase !== 'open' && phase !== 'salvage')
      faults.push(`refused while it ran: ${stdout.slice(-300)}`)
    faults.push(...(await checkFolder(dataDir, template, said, phase === 'salvage')))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  const what = `${template.shape}: in phase ${phase}, ${call} ${nth} ${error}${stays ? ' and on' : ''}`
  return {
    damages: [`errno-${phase}`, `errno-${error}`, `errno-call-${call}`],
    what,
    faults,
    lost: 0,
    openMs: performance.now() - began,
  }
}

async function checkFolder(
  dataDir: string,
  { baseline }: Template,
  said: ReadonlyArray<{ acked?: number; delivered?: string[] }>,
  isDamaged: boolean,
): Promise<string[]> {
  const faults: string[] = []
  const { spool } = await openSpool(dataDir, OPEN_OPTIONS)
  if (!isDamaged) for (const what of spool.damage) faults.push(`it is called damaged: ${what}`)
  const { lines } = await drainAll(spool)
  const delivered = new Set(said.flatMap(({ delivered }) => delivered ?? []))
  const texts = new Map(lines.map(({ id, text }) => [id, text]))
  if (texts.size !== lines.length) faults.push('records were delivered twice')
  for (const { id, text } of baseline.lines) {
    if (delivered.has(id)) continue
    if (!texts.has(id)) faults.push(`${id} was acknowledged and is gone`)
    else if (texts.get(id) !== text) faults.push(`${id} has other bytes`)
  }
  for (const { acked } of said) {
    if (acked === undefined) continue
    const isThere = lines.some(({ text }) => text.includes(`{"fresh":${acked}}`))
    if (!isThere && delivered.size < baseline.lines.length)
      faults.push(`new record ${acked} was acknowledged and is gone`)
  }
  for (const { name, state } of spool.streams.values()) {
    const { corrupt } = state.counters.dropped
    if (corrupt !== 0) faults.push(`stream ${name} counts ${corrupt} as corrupt`)
  }
  faults.push(...checkBalance(spool))
  await spool.stop()
  const moved = (await readdir(dataDir)).filter((name) => /damaged|stray|unreadable/.test(name))
  if (moved.length > 0) faults.push(`moved away: ${moved.join(', ')}`)
  if (!isDamaged) {
    const kept = await readdir(join(dataDir, 'aside')).catch(() => [])
    if (kept.length > 0) faults.push(`left aside: ${kept.join(', ')}`)
  }
  return faults.slice(0, 8)
}
