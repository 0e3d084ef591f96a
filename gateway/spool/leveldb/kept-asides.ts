/**
 * What becomes of an aside: it goes when everything was found to be there, or stays as evidence,
 * with a README.txt that says when and why. What stays is bounded (I6).
 */
import { rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { syncFolder } from '../../shared/files.ts'
import { folderBytes } from '../../shared/folder-bytes.ts'
import { listDatabaseFiles } from './database-files.ts'
import type { OpeningPlan } from './opening-plan.ts'
import { asideFolders, isKept, NOTE_FILE, putAside, REPAIR_LEFTOVERS } from './put-aside.ts'

/** Bounds of what is kept as evidence (I6). The newest is kept whatever its size. */
interface KeptLimits {
  readonly maxFolders: number
  readonly maxBytes: number
}

const KEPT_ASIDE_LIMITS: KeptLimits = { maxFolders: 4, maxBytes: 4 * 1024 ** 3 }

/** Everything was found to be there: the asides of this opening and of those before it go. */
export async function dropAside(plan: OpeningPlan): Promise<void> {
  await removeRepairLeftovers(plan)
  for (const folder of asidesOf(plan)) await rm(folder, { recursive: true, force: true })
}

/**
 * Something is missing or damaged: the asides stay as evidence, with a README.txt that says when
 * and why (`note`). Returns what an operator should know: where they are, and which older ones had
 * to go for them.
 */
export async function keepAside(
  plan: OpeningPlan,
  note: string,
  limits: KeptLimits = KEPT_ASIDE_LIMITS,
): Promise<string[]> {
  await removeRepairLeftovers(plan)
  const kept: string[] = []
  for (const folder of asidesOf(plan)) {
    await writeFile(join(folder, NOTE_FILE), keptText(plan, note))
    await syncFolder(folder)
    kept.push(`the files as they were before the opening are kept in ${folder}`)
  }
  const newest = asidesOf(plan).at(-1)
  if (newest === undefined) return kept
  return [...kept, ...(await enforceLimits(dirname(newest), newest, limits))]
}

/**
 * Damage was found while the database is open: its files are kept as they are now, with a note.
 * Returns the folder, and what an operator should know. LevelDB may delete files meanwhile: what is
 * gone is left out.
 */
export async function keepNow(
  dbDir: string,
  asideRoot: string,
  note: string,
  limits: KeptLimits = KEPT_ASIDE_LIMITS,
): Promise<{ readonly folder: string; readonly kept: readonly string[] }> {
  const notes: string[] = []
  const { aside: folder } = await putAside(dbDir, asideRoot, await listDatabaseFiles(dbDir), notes)
  await writeFile(join(folder, NOTE_FILE), keptText({ dbDir, notes }, note))
  await syncFolder(folder)
  const kept = `the files as they were when it was found are kept in ${folder}`
  return { folder, kept: [kept, ...(await enforceLimits(asideRoot, folder, limits))] }
}

function asidesOf(plan: OpeningPlan): string[] {
  return plan.aside === null ? [...plan.earlier] : [...plan.earlier, plan.aside]
}

/** Of an opening by a version up to 0.7 that did not finish; its aside has all of it. */
async function removeRepairLeftovers(plan: OpeningPlan): Promise<void> {
  if (plan.earlier.length === 0) return
  await rm(join(plan.dbDir, REPAIR_LEFTOVERS), { recursive: true, force: true })
}

function keptText(plan: Pick<OpeningPlan, 'dbDir' | 'notes'>, note: string): string {
  const lines = [
    `Kept by Sluice on ${new Date().toISOString()}.`,
    '',
    note,
    ...plan.notes.map((line) => `- ${line}`),
    '',
    `These are the database files of ${plan.dbDir} as they were when something was found to be missing or damaged.`,
    'The gateway has taken what was readable and does not need them any more: they are for you to look at,',
    'and may be deleted. It deletes the oldest of these folders itself when they become too many or too large.',
    '',
  ]
  return lines.join('\n')
}

async function enforceLimits(
  asideRoot: string,
  newest: string,
  limits: KeptLimits,
): Promise<string[]> {
  const removed: string[] = []
  const kept: Array<{ folder: string; bytes: number }> = []
  for (const folder of await asideFolders(asideRoot)) {
    if (await isKept(folder)) kept.push({ folder, bytes: await folderBytes(folder) })
  }
  let total = kept.reduce((sum, { bytes }) => sum + bytes, 0)
  for (const { folder, bytes } of kept.slice(0, -1)) {
    const folders = kept.length - removed.length
    if (folder === newest || (folders <= limits.maxFolders && total <= limits.maxBytes)) break
    await rm(folder, { recursive: true, force: true })
    total -= bytes
    removed.push(
      `${folder} (${bytes} bytes), kept earlier, was removed: more than the limits for kept files`,
    )
  }
  if (total > limits.maxBytes)
    removed.push(`${newest} alone is above the limit of ${limits.maxBytes} bytes`)
  return removed
}
