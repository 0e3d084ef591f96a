/**
 * Is the data folder where it was written (I4)? A folder that was copied, restored or cloned holds
 * numbers that may have been used since, and must go on under a fresh spool id.
 *
 * The file `place` says which file it is itself, and which file the lease is, by what no copy
 * keeps: inode, time of birth, and on file systems with subvolumes, whose snapshots keep both, the
 * file system's id. It is written anew at every start and stop, so that a restore that writes into
 * existing files meets another inode. Never st_dev: NFS, btrfs and overlayfs number their devices
 * as they are mounted.
 *
 * Not seen: a folder that was only renamed, of which there is no second one, and a rollback below
 * the file system (a virtual machine, a volume, a card's image): only the sink can tell.
 */
import { execFile } from 'node:child_process'
import type { BigIntStats } from 'node:fs'
import { open, readFile, rename, rm, stat, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { syncFolder, unlessGone } from '../../shared/files.ts'

export const PLACE_FILE = 'place'
const LEASE_FILE = 'seq-lease'

/** By `f_type` of statfs(2). */
const FILE_SYSTEMS = {
  ext: 0xef53,
  xfs: 0x58465342,
  btrfs: 0x9123683e,
  zfs: 0x2fc12fc1,
  bcachefs: 0xca451a4e,
  f2fs: 0xf2f52010,
  jfs: 0x3153464a,
  ubifs: 0x24051905,
  tmpfs: 0x01021994,
  fat: 0x4d44,
  exfat: 0x2011bab0,
} as const
/**
 * Snapshots keep inode and time of birth; the file system's id tells the subvolume, and is the same
 * at every mount.
 */
const WITH_SUBVOLUMES = new Set<number>([
  FILE_SYSTEMS.btrfs,
  FILE_SYSTEMS.zfs,
  FILE_SYSTEMS.bcachefs,
])
/** Inodes are numbered as they are met. */
const WITHOUT_NUMBERS = new Set<number>([FILE_SYSTEMS.fat, FILE_SYSTEMS.exfat])
const { fat: _fat, exfat: _exfat, ...stable } = FILE_SYSTEMS
const WITH_STABLE_NUMBERS = new Set<number>(Object.values(stable))
/**
 * Of file systems that nobody knows: so many starts in a row with other numbers, and they are not
 * believed any more.
 */
const MAX_CHANGES_IN_A_ROW = 3

interface FileMark {
  readonly inode: string
  /** ns; null: the file system keeps none. */
  readonly birth: string | null
}

export interface Place {
  /** Of the store; see format.ts. */
  readonly format: number
  /** null: the file system does not tell its files apart. */
  readonly files: { readonly place: FileMark; readonly lease: FileMark } | null
  /** Where there are subvolumes. */
  readonly fileSystem: string | null
  /** Starts in a row that found other numbers. */
  readonly changes: number
}

export interface PlaceVerdict {
  /** Why the folder is not where it was written; null: it is, or nobody can tell. */
  readonly moved: string | null
  /** A restored or copied folder would be noticed here. */
  readonly isTelling: boolean
  readonly changes: number
}

/** null: there is none. 'damaged': nobody can read it. */
export async function readPlace(dataDir: string): Promise<Place | null | 'damaged'> {
  const text = await unlessGone(readFile(join(dataDir, PLACE_FILE), 'utf8'), null)
  if (text === null) return null
  try {
    const place = JSON.parse(text) as Partial<Place> | null
    return typeof place?.format === 'number' && place.files !== undefined
      ? (place as Place)
      : 'damaged'
  } catch {
    return 'damaged'
  }
}

/** What the file system says now; null: what `readPlace` read is not there any more. */
export interface PlaceStats {
  readonly files: { readonly place: FileMark | null; readonly lease: FileMark | null }
  readonly fileSystem: string | null
  readonly type: number
}

/** `expected`: a start that knows of places has finished here before. Pure. */
export function judgePlace(
  place: Place | null | 'damaged',
  found: PlaceStats,
  expected: boolean,
): PlaceVerdict {
  const hasNumbers = !WITHOUT_NUMBERS.has(found.type)
  if (!hasNumbers) return { moved: null, isTelling: false, changes: 0 }
  if (place === null || place === 'damaged') {
    const gone = `its file ${PLACE_FILE} is ${place ?? 'gone'}`
    return { moved: expected ? gone : null, isTelling: true, changes: 0 }
  }
  if (place.files === null) {
    const isStable = WITH_STABLE_NUMBERS.has(found.type)
    const moved = isStable ? 'it comes from a file system that does not tell its files apart' : null
    return { moved, isTelling: isStable, changes: 0 }
  }
  const why = whatDiffers(place, found)
  if (why === null) return { moved: null, isTelling: true, changes: 0 }
  const changes = place.changes + 1
  const isBelieved = WITH_STABLE_NUMBERS.has(found.type) || changes < MAX_CHANGES_IN_A_ROW
  return { moved: isBelieved ? why : null, isTelling: isBelieved, changes }
}

function whatDiffers({ files, fileSystem }: Place, found: PlaceStats): string | null {
  for (const name of ['place', 'lease'] as const) {
    const [was, is] = [files?.[name], found.files[name]]
    const isSame = was?.inode === is?.inode && (was?.birth === is?.birth || was?.birth === null)
    if (!isSame)
      return `its file ${name === 'place' ? PLACE_FILE : LEASE_FILE} is not the one that was written`
  }
  const isOther =
    fileSystem !== null && found.fileSystem !== null && fileSystem !== found.fileSystem
  return isOther ? 'it lies in another file system or snapshot' : null
}

export async function lookAround(dataDir: string): Promise<PlaceStats> {
  const { type } = await statfs(dataDir)
  const [place, lease] = await Promise.all([
    markOf(join(dataDir, PLACE_FILE)),
    markOf(join(dataDir, LEASE_FILE)),
  ])
  return { files: { place, lease }, fileSystem: await fileSystemId(dataDir, type), type }
}

/**
 * Says where the folder is now, durably. Only once new records are numbered under an id of this
 * place.
 */
export async function writePlace(
  dataDir: string,
  format: number,
  verdict: PlaceVerdict,
): Promise<void> {
  const path = join(dataDir, PLACE_FILE)
  const unfinished = `${path}.new`
  // Always another inode than the one before, which exists until the rename.
  await rm(unfinished, { force: true })
  const file = await open(unfinished, 'wx', 0o600)
  try {
    const found = await lookAround(dataDir)
    const own = toMark(await file.stat({ bigint: true }))
    const { lease } = found.files
    const files = verdict.isTelling && lease !== null ? { place: own, lease } : null
    const place: Place = { format, files, fileSystem: found.fileSystem, changes: verdict.changes }
    await file.writeFile(`${JSON.stringify(place)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(unfinished, path)
  await syncFolder(dirname(path))
}

async function markOf(path: string): Promise<FileMark | null> {
  const stats = await unlessGone(stat(path, { bigint: true }), null)
  return stats && toMark(stats)
}

function toMark({ ino, birthtimeNs }: BigIntStats): FileMark {
  return { inode: String(ino), birth: birthtimeNs > 0n ? String(birthtimeNs) : null }
}

/** Node's statfs leaves `f_fsid` out. null: nobody needs it, or nobody says. */
async function fileSystemId(path: string, type: number): Promise<string | null> {
  if (!WITH_SUBVOLUMES.has(type)) return null
  try {
    return (await promisify(execFile)('stat', ['-f', '-c', '%i', path])).stdout.trim() || null
  } catch {
    return null
  }
}
