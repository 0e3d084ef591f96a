/**
 * An old MANIFEST that came back, found by newer commits in files that it does not name (I7). Owns
 * the store made anew of all.
 */
import { rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncFolder } from '../../shared/files.ts'
import { isDamage } from '../disk/disk-errors.ts'
import { listDatabaseFiles } from '../leveldb/database-files.ts'
import type { OpeningPlan } from '../leveldb/opening-plan.ts'
import { dropSalvage, salvageDatabase } from '../leveldb/put-aside.ts'
import type { OpenStore, Store } from '../store/store.ts'
import { lastCommitNumber } from './recovery.ts'

/**
 * An old MANIFEST that came back opens without a fault, as the store was then. Its sign is a newer
 * commit in the files that it does not name: then the store is made anew from all that was put
 * aside.
 */
export async function replaceIfOlder(
  plan: OpeningPlan,
  store: Store,
  openStore: OpenStore,
  damage: string[],
): Promise<Store> {
  const { aside, unnamed, dbDir } = plan
  if (aside === null || !unnamed.some((name) => /\.(ldb|sst|log)$/.test(name))) return store
  const rest = await openSalvagedFiles(aside, unnamed, openStore)
  if (!rest) return store
  const [here, there] = [await lastCommitNumber(store), await lastCommitNumber(rest.store)]
  await rest.store.close()
  await dropSalvage(rest.folder)
  if (there <= here) return store
  const whole = await openSalvagedFiles(aside, null, openStore)
  if (!whole) return store
  // One commit more is no damage: a process that was killed had written it without an fsync, the
  // next one read it and died in a power cut before its own files had names.
  if (there > here + 1) {
    damage.push(
      `the store was older (commit ${here}) than its files (commit ${there}): it was made anew from them`,
    )
  }
  await whole.store.close()
  await store.close()
  await rm(dbDir, { recursive: true })
  await rename(whole.folder, dbDir)
  await syncFolder(dirname(dbDir))
  return await openStore(dbDir, { create: false })
}

/** A repaired copy of what was put aside, or of some of its files; null: it cannot be opened. */
async function openSalvagedFiles(
  aside: string,
  only: readonly string[] | null,
  openStore: OpenStore,
): Promise<{ readonly store: Store; readonly folder: string } | null> {
  const names = (await listDatabaseFiles(aside)).map(({ name }) => name)
  const others = only ? names.filter((name) => !only.includes(name)) : []
  const folder = await salvageDatabase(aside, dirname(aside), others)
  try {
    return { store: await openStore(folder, { create: false }), folder }
  } catch (error) {
    await dropSalvage(folder)
    if (!isDamage(error)) throw error
    return null
  }
}
