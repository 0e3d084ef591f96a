/** What lies in the data folder: names, sizes and times, never content. */
import type { Dirent } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { join, relative } from 'node:path'

/** A store of 100 GiB has some 50,000 tables. */
const MAX_FILES = 100_000

interface Inventory {
  readonly folder: string
  readonly files: number
  readonly bytes: number
  /** True: there are more than are listed. */
  readonly truncated: boolean
  readonly entries: readonly InventoryEntry[]
}

interface InventoryEntry {
  /** Below the folder. */
  readonly path: string
  readonly bytes: number
  readonly mode: string
  readonly modifiedAt: string
}

/** @throws if the folder cannot be read */
export async function inventoryOf(folder: string): Promise<Inventory> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true })
  const listed = found.filter((one) => !one.isDirectory()).slice(0, MAX_FILES + 1)
  const entries: InventoryEntry[] = []
  for (const one of listed.slice(0, MAX_FILES)) {
    const entry = await entryOf(folder, one)
    if (entry !== null) entries.push(entry)
  }
  return {
    folder,
    files: entries.length,
    bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0),
    truncated: listed.length > MAX_FILES,
    entries: entries.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
  }
}

/** null: it went away meanwhile. */
async function entryOf(
  folder: string,
  { parentPath, name }: Dirent,
): Promise<InventoryEntry | null> {
  const path = join(parentPath, name)
  try {
    const { size, mode, mtime } = await lstat(path)
    return {
      path: relative(folder, path),
      bytes: size,
      mode: (mode & 0o7777).toString(8).padStart(4, '0'),
      modifiedAt: mtime.toISOString(),
    }
  } catch {
    return null
  }
}
