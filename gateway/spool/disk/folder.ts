/**
 * What the spool asks the file system besides reading and writing: room, a folder that lasts, a file
 * that is replaced in one step, and which boot this is. Serves I1 and I6.
 */
import { readFileSync } from 'node:fs'
import { chmod, mkdir, open, rename, rm, stat, statfs } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { errorCode } from '../../shared/errors.ts'
import { syncFolder } from '../../shared/files.ts'

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id'

/** Bytes that this user may still write on the file system that holds `path`. */
export async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path)
  return bavail * bsize
}

/**
 * Makes the folder and those above it. Its name must outlive a power cut, or nothing in it does
 * (I1); also one that a start has made which was killed before it could see to that.
 */
export async function makeDurableFolder(path: string): Promise<void> {
  const folder = resolve(path)
  const highest = dirname((await makeFolders(folder)) ?? folder)
  for (let above = dirname(folder); ; above = dirname(above)) {
    await syncFolder(above).catch((error: unknown) => {
      // A folder whose names this user may not list: somebody else has made what is in it.
      if (errorCode(error) !== 'EACCES' && errorCode(error) !== 'EPERM') throw error
    })
    if (above === highest) return
  }
}

/**
 * The highest one that was made. Step by step: `recursive` of node 20 never ends where no folder
 * can be made (/proc).
 */
async function makeFolders(folder: string): Promise<string | null> {
  try {
    await mkdir(folder, { mode: 0o700 })
    return folder
  } catch (error) {
    if (errorCode(error) === 'EEXIST' && (await stat(folder)).isDirectory()) return null
    const above = dirname(folder)
    if (errorCode(error) !== 'ENOENT' || above === folder) throw error
    const made = await makeFolders(above)
    // It is there: nothing can be made in it.
    if (made === null) throw error
    await mkdir(folder, { mode: 0o700 })
    return made
  }
}

/**
 * Makes the folder for its owner alone, or takes away what everybody else may do in one that is
 * there.
 */
export async function makePrivateFolder(path: string): Promise<void> {
  const made = await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
    if (errorCode(error) !== 'EEXIST') throw error
    return null
  })
  if (made !== null) return
  const { mode } = await stat(path)
  // File systems without rights refuse, and so does a folder of another user; what it holds is
  // asked for later.
  if ((mode & 0o007) !== 0) await chmod(path, mode & 0o770).catch(() => undefined)
}

/**
 * Durable, in one step, and not in place: whoever has a link of the file keeps what was in it.
 * `unfinished` is in the same folder; a crash may leave it.
 */
export async function replaceFile(
  path: string,
  unfinished: string,
  bytes: Uint8Array,
): Promise<void> {
  await rm(unfinished, { force: true })
  const file = await open(unfinished, 'wx')
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(unfinished, path)
  await syncFolder(dirname(path))
}

/**
 * Linux: a random id of this boot, which tells a process of today from one of before the reboot.
 * Else null.
 */
export function bootId(): string | null {
  try {
    return readFileSync(BOOT_ID_FILE, 'ascii').trim() || null
  } catch {
    return null
  }
}
