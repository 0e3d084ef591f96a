/**
 * What is done about a store that is damaged (I7), once that is proven: LevelDB's repair. Only what
 * cannot be repaired is moved away.
 */
import { rename } from 'node:fs/promises'
import { describeError, isDamage } from '../disk/disk-errors.ts'
import { leftOut, openWhole, type StoreOpening } from '../opening/whole-opening.ts'
import { type OpenStore, repairStore, type Store } from '../store/store.ts'
import { listDatabaseFiles, unnamedTables } from './database-files.ts'
import { makeRepairable } from './repairable.ts'

export async function repairFolder(dbDir: string): Promise<void> {
  await makeRepairable(dbDir)
  const tables = (await listDatabaseFiles(dbDir)).filter(({ kind }) => kind === 'table')
  await repairStore(dbDir)
  // All of them are whole: one that it did not take was not in its list of files, or could not be
  // read then.
  if ((await unnamedTables(dbDir, tables)).length > 0) leftOut(dbDir)
}

/**
 * The store is damaged: repair it; if that fails too, move it away and begin an empty one. The
 * gateway starts.
 */
export async function openDamaged(
  { dbDir, aside, unnamed, apply }: Omit<StoreOpening, 'open'>,
  openStore: OpenStore,
  error: unknown,
  damage: string[],
  nowMs: () => number,
): Promise<{ store: Store }> {
  damage.push(`the store did not open (${describeError(error)}) and was repaired`)
  const open = async (): Promise<Store> => {
    await repairFolder(dbDir)
    return await openStore(dbDir, { create: false })
  }
  try {
    return { store: await openWhole({ dbDir, aside, unnamed, apply, open }) }
  } catch (again) {
    if (!isDamage(again)) throw again
    const moved = `${dbDir}.damaged-${nowMs()}`
    damage.push(
      `repair failed (${describeError(again)}): the store was moved to ${moved}, a new one was begun; sluice spool restore-aside puts back what can be read`,
    )
    await rename(dbDir, moved)
    return { store: await openStore(dbDir, { create: true }) }
  }
}
