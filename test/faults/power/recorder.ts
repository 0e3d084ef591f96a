/** Compiles and addresses test/support/preload/disk-recorder.c; see its header. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sourcePath } from '../../support/source-path.ts'

let library: string | null = null

/** Path of the library, compiled once a process. @throws without gcc */
export function recorderLibrary(): string {
  if (library !== null) return library
  const folder = mkdtempSync(join(tmpdir(), 'sluice-recorder-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'disk-recorder.so')
  const source = sourcePath('test/support/preload/disk-recorder.c')
  execFileSync('gcc', [
    '-std=gnu11',
    '-O1',
    '-shared',
    '-fPIC',
    '-o',
    path,
    source,
    '-ldl',
    '-lpthread',
  ])
  library = path
  return path
}

/** What fsync does to files below the folder. */
export class SyncFault {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  /** `suffix`: only files whose path ends so. */
  set(what: 'stall' | 'eio' | 'eio-once' | `slow-${number}`, suffix = ''): void {
    writeFileSync(this.path, `${what} ${suffix}`.trim())
  }

  clear(): void {
    rmSync(this.path, { force: true })
  }

  /** Has `eio-once` not met anybody yet? */
  get isSet(): boolean {
    return existsSync(this.path)
  }

  /** Calls that stalled, failed or were slowed. */
  get hits(): number {
    return existsSync(`${this.path}.hits`) ? statSync(`${this.path}.hits`).size : 0
  }
}

export function recorderEnv(options: {
  readonly root: string
  readonly journal?: string
  readonly fault?: SyncFault
}): Record<string, string> {
  return {
    LD_PRELOAD: recorderLibrary(),
    DISK_RECORD_DIR: options.root,
    // What goes around the C library is not seen.
    UV_USE_IO_URING: '0',
    ...(options.journal === undefined ? {} : { DISK_RECORD_JOURNAL: options.journal }),
    ...(options.fault === undefined ? {} : { DISK_SYNC_FAULT: options.fault.path }),
  }
}
