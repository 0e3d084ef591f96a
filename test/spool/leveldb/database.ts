/** Real LevelDB folders, as a gateway leaves them when it is killed, with ways to damage them. */
import { createHash } from 'node:crypto'
import { copyFile, mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'

type Database = ClassicLevel<string, Buffer>

/** Small, so that few records make many tables. */
const SIZES = { writeBufferSize: 64 * 1024, maxFileSize: 64 * 1024 }

export async function openDatabase(folder: string): Promise<Database> {
  const db: Database = new ClassicLevel(folder, {
    valueEncoding: 'buffer',
    compression: false,
    ...SIZES,
  })
  await db.open({ createIfMissing: false })
  return db
}

export const BLOCKS = 200

export function blockKey(n: number): string {
  return `block-${String(n).padStart(5, '0')}`
}

export function blockValue(n: number): Buffer {
  return Buffer.concat(
    Array.from({ length: 64 }, (_, part) => createHash('sha256').update(`${n}/${part}`).digest()),
  )
}

/** In {@link writeKilledDatabase}'s `early`: so many blocks were written when it was taken. */
const EARLY_BLOCKS = 110

/**
 * 200 blocks, some compacted, some in young tables, the last ones only in the log. The files are
 * taken from under the running database, as a kill leaves them. `early` gets CURRENT, MANIFEST and
 * log as they were on the way.
 */
export async function writeKilledDatabase(
  target: string,
  work: string,
  early?: string,
): Promise<void> {
  const db: Database = new ClassicLevel(work, {
    valueEncoding: 'buffer',
    compression: false,
    ...SIZES,
  })
  await db.open()
  for (let n = 0; n < BLOCKS; n += 1) {
    await db.put(blockKey(n), blockValue(n), { sync: true })
    if (n === BLOCKS / 2) await db.compactRange(blockKey(0), blockKey(BLOCKS))
    if (n + 1 === EARLY_BLOCKS && early !== undefined)
      await copyFiles(work, early, /^(CURRENT|MANIFEST.*|.*log)$/)
  }
  // A compaction that runs would change files while they are copied.
  await quiet(work)
  await copyFiles(work, target, /^(?!LOCK)/)
  await db.close()
}

async function quiet(folder: string): Promise<void> {
  let before = ''
  for (let same = 0; same < 5; ) {
    const now = (await readdir(folder)).join()
    same = now === before ? same + 1 : 0
    before = now
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Numbers of the blocks that can be read whole. */
export async function readBlocks(folder: string): Promise<number[]> {
  const db = await openDatabase(folder)
  try {
    const found: number[] = []
    for (let n = 0; n < BLOCKS; n += 1) {
      const value = await db.get(blockKey(n)).catch(() => undefined)
      if (value?.equals(blockValue(n))) found.push(n)
    }
    return found
  } finally {
    await db.close()
  }
}

export const ALL_BLOCKS = Array.from({ length: BLOCKS }, (_, n) => n)

export async function namesOf(folder: string, pattern: RegExp): Promise<string[]> {
  return (await readdir(folder)).filter((name) => pattern.test(name)).toSorted()
}

/** Content of every file in the folder. */
export async function contents(folder: string): Promise<Record<string, string>> {
  const entries: Array<[string, string]> = []
  for (const name of await readdir(folder)) {
    entries.push([
      name,
      createHash('sha256')
        .update(await readFile(join(folder, name)))
        .digest('hex'),
    ])
  }
  return Object.fromEntries(entries)
}

export async function copyFiles(from: string, to: string, pattern = /./): Promise<void> {
  await mkdir(to, { recursive: true })
  for (const name of await namesOf(from, pattern)) await copyFile(join(from, name), join(to, name))
}
