/**
 * What is done about a store that is damaged (I7), once that is proven: it is repaired. Only what
 * cannot be opened even then is moved away.
 */
import { rename } from 'node:fs/promises'
import { describeError, isDamage } from '../disk/disk-errors.ts'
import { openWhole, type StoreOpening } from '../opening/whole-opening.ts'
import type { OpenStore, Store } from '../store/store.ts'
import { repairFolder } from './repair.ts'

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
