/**
 * Disks that a test can fill or break under a real process. A small file system of its own where
 * mounting is allowed (`tmpfs`); else, and for faults that no mount gives, a library that answers
 * for the disk (preload/disk-fault.c). Both are full in the same way: nothing gets longer, what is
 * overwritten in place goes on, statfs says so.
 */
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sourcePath } from './source-path.ts'
import { findTool, requireTool } from './tools.ts'

export interface FaultyDisk {
  readonly kind: 'mounted' | 'preloaded'
  /** For configuration and logs: on another disk. */
  readonly folder: string
  /** On the disk. */
  readonly dataDir: string
  /** Of the process that uses it. */
  readonly env: Readonly<Record<string, string>>
  /**
   * Somebody else takes all room but so much, or gives back as much in one step, and does not look
   * again.
   */
  fill(leaveBytes?: number): void
  /** Somebody else takes all room but so much, and again whatever is deleted. */
  fillForGood(leaveBytes?: number): void
  /** What somebody else took is there again. */
  free(): void
  /** After every process that uses it has ended. */
  remove(): void
}

/** What the library answers; see its header. */
export type Fault = 'full' | 'tables-full' | 'full-for-good' | 'write-eio' | 'sync-eio'

export interface PreloadedDisk extends FaultyDisk {
  /**
   * The file that says which fault is in force, for a process that wants it at a moment of its own.
   */
  readonly flag: string
  fault(what: Fault): void
  /** How many calls failed so far. */
  readonly hits: number
}

const CHUNK = Buffer.alloc(64 * 1024, 0x5a)
/** How often the one who takes all room looks for more. */
const GREED_MS = 20

/** @returns null where neither a mount nor a C compiler is to be had; the test is to skip then */
export function smallDisk(sizeBytes: number): FaultyDisk | null {
  return mountedDisk(sizeBytes) ?? preloadedDisk()
}

/** A tmpfs of that size; null where it is refused. SLUICE_NO_MOUNT=1 refuses it, too. */
export function mountedDisk(sizeBytes: number): FaultyDisk | null {
  const mount = findTool('mount')
  const umount = findTool('umount')
  if (mount === null || umount === null || process.env['SLUICE_NO_MOUNT'] === '1') return null
  const folder = temporaryFolder()
  const disk = join(folder, 'disk')
  mkdirSync(disk)
  try {
    execFileSync(mount, ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'sluice-test', disk], {
      stdio: 'ignore',
    })
  } catch {
    rmSync(folder, { recursive: true })
    return null
  }
  const release = (): void => {
    // Lazily: a process that a failed test left behind must not keep the folder for ever.
    execFileSync(umount, ['-l', disk])
  }
  process.once('exit', release)
  const other = join(disk, 'somebody-else')
  let greed: NodeJS.Timeout | null = null
  const free = (): void => {
    if (greed !== null) clearInterval(greed)
    greed = null
    rmSync(other, { force: true })
  }
  const fill = (leaveBytes = 0): void => {
    const file = openSync(other, 'a')
    try {
      for (;;) {
        const { bavail, bsize } = statfsSync(disk)
        const wanted = bavail * bsize - leaveBytes
        if (wanted < 0) ftruncateSync(file, Math.max(0, fstatSync(file).size + wanted))
        if (wanted <= 0) return
        writeSync(file, CHUNK, 0, Math.min(CHUNK.length, wanted))
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    } finally {
      closeSync(file)
    }
  }
  return {
    kind: 'mounted',
    folder,
    dataDir: join(disk, 'data'),
    env: {},
    fill,
    fillForGood: (leaveBytes = 0) => {
      fill(leaveBytes)
      if (greed !== null) clearInterval(greed)
      greed = setInterval(fill, GREED_MS, leaveBytes)
    },
    free,
    remove: () => {
      free()
      process.off('exit', release)
      release()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A disk whose failures are made up; null without a C compiler. */
export function preloadedDisk(): PreloadedDisk | null {
  if (process.platform !== 'linux' || !requireTool('gcc')) return null
  const folder = temporaryFolder()
  const library = join(folder, 'disk-fault.so')
  const source = sourcePath('test/support/preload/disk-fault.c')
  execFileSync('gcc', ['-std=gnu11', '-O1', '-shared', '-fPIC', '-o', library, source, '-ldl'])
  const dataDir = join(folder, 'data')
  const flag = join(folder, 'fault')
  const fault = (what: Fault): void => writeFileSync(flag, what)
  return {
    kind: 'preloaded',
    folder,
    dataDir,
    env: { LD_PRELOAD: library, DISK_FAULT_DIR: dataDir, DISK_FAULT_FLAG: flag },
    flag,
    fault,
    get hits() {
      return existsSync(`${flag}.hits`) ? statSync(`${flag}.hits`).size : 0
    },
    fill: (leaveBytes = 0) => writeFileSync(flag, `full ${leaveBytes}`),
    fillForGood: (leaveBytes = 0) => {
      if (leaveBytes === 0) fault('full-for-good')
      else writeFileSync(flag, `full ${leaveBytes}`)
    },
    free: () => rmSync(flag, { force: true }),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

function temporaryFolder(): string {
  // As /proc shows it: the library compares paths.
  return mkdtempSync(join(realpathSync(tmpdir()), 'sluice-disk-'))
}
