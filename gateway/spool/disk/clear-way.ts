/** Clears the names that the spool uses in its data folder of what is not its own (I7). */
import { lstat, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { unlessGone } from '../../shared/files.ts'

/**
 * Before anything else: folders and pipes under the names of our files, and files under those of
 * our folders, move out of the way. Nothing of ours makes them, and each would keep the gateway from
 * starting. Returns one sentence each.
 */
export async function clearWay(
  dataDir: string,
  names: { readonly files: readonly string[]; readonly folders: readonly string[] },
): Promise<string[]> {
  const moved: string[] = []
  const wanted = [
    ...names.files.map((name) => ({ name, folder: false })),
    ...names.folders.map((name) => ({ name, folder: true })),
  ]
  for (const { name, folder } of wanted) {
    const path = join(dataDir, name)
    const stats = await unlessGone(lstat(path), null)
    if (stats === null || stats.isSymbolicLink()) continue
    if (folder ? stats.isDirectory() : stats.isFile()) continue
    const away = `${path}.stray-${Date.now()}`
    await rename(path, away)
    moved.push(`${name} was no ${folder ? 'folder' : 'file'}, and is ${away} now`)
  }
  return moved
}
