/**
 * A store that the disk cannot read, again and again (EIO, a bad sector): nothing says that its
 * bytes are damaged, so none is touched, repaired or counted as lost. It is left aside under
 * another name, and a new store begins beside it, so that devices are heard; its records come back
 * by `sluice spool restore-aside`, which is the operator's word.
 */
import { open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { syncFolder, unlessGone } from '../../shared/files.ts'
import { isReadFailure, systemErrorOf } from '../disk/disk-errors.ts'
import { listDatabaseFiles } from '../leveldb/database-files.ts'

const PROBE_FILE = 'disk-probe.tmp'

/**
 * One sentence for each thing that was left aside; none if all can be read now, or the disk takes
 * no writes either.
 */
export async function leaveUnreadable(dataDir: string): Promise<string[]> {
  const dbDir = join(dataDir, 'spool')
  const asideRoot = join(dataDir, 'aside')
  const lease = join(dataDir, 'seq-lease')
  const asides = await unlessGone(readdir(asideRoot), [])
  const left: string[] = []
  const bad =
    (await firstUnreadable(dbDir)) ??
    (await firstUnreadable(...asides.map((name) => join(asideRoot, name))))
  const isLeaseBad = await isUnreadable(lease)
  if (bad === null && !isLeaseBad) return []
  // A disk that is gone altogether would get a new name every few seconds.
  await proveWritable(dataDir)
  const ending = `unreadable-${Date.now()}`
  const paths = [...(bad === null ? [] : [dbDir, asideRoot]), ...(isLeaseBad ? [lease] : [])]
  for (const path of paths) {
    const away = `${path}.${ending}`
    const isThere = await unlessGone(
      rename(path, away).then(() => true),
      false,
    )
    if (isThere)
      left.push(
        `the disk cannot read ${bad ?? lease}: ${path} is ${away} now, as it was; sluice spool restore-aside puts records back`,
      )
  }
  await syncFolder(dataDir)
  return left
}

async function firstUnreadable(...folders: readonly string[]): Promise<string | null> {
  for (const folder of folders) {
    for (const { name } of await listDatabaseFiles(folder)) {
      if (await isUnreadable(join(folder, name))) return join(folder, name)
    }
  }
  return null
}

async function isUnreadable(path: string): Promise<boolean> {
  try {
    await unlessGone(readFile(path), null)
    return false
  } catch (error) {
    if (isReadFailure(error) || systemErrorOf(error) === 'EUCLEAN') return true
    throw error
  }
}

/**
 * Writes a file in the folder, makes it durable and removes it. @throws what the disk says to that
 */
async function proveWritable(folder: string): Promise<void> {
  const path = join(folder, PROBE_FILE)
  const file = await open(path, 'w', 0o600)
  try {
    await file.writeFile('Written to see whether the disk takes writes.\n')
    await file.sync()
  } finally {
    await file.close()
    await rm(path, { force: true })
  }
}
