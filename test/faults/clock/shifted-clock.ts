/**
 * The wall clock of a process, set off as test/support/preload/clock-shift.c has it; and a boot
 * that never was (reboot.mjs).
 */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sourcePath } from '../../support/source-path.ts'

let library: string | null = null

/** Compiled once a process. @throws without gcc */
function shiftLibrary(): string {
  if (library !== null) return library
  const folder = mkdtempSync(join(tmpdir(), 'sluice-clock-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'clock-shift.so')
  const source = sourcePath('test/support/preload/clock-shift.c')
  execFileSync('gcc', ['-std=gnu11', '-O1', '-shared', '-fPIC', '-o', path, source, '-ldl'])
  library = path
  return path
}

const CELL_BYTES = 8

export class ShiftedClock {
  /** For the process. */
  readonly env: Readonly<Record<string, string>>
  readonly #fd: number
  offsetMs = 0

  constructor(folder: string) {
    const path = join(folder, 'clock-shift')
    this.#fd = openSync(path, 'w+')
    writeSync(this.#fd, Buffer.alloc(2 * CELL_BYTES))
    this.env = { LD_PRELOAD: shiftLibrary(), CLOCK_SHIFT: path }
  }

  /** What the process takes for now. */
  get nowMs(): number {
    return Date.now() + this.offsetMs
  }

  /** From this instant on, also for a process that runs. */
  shift(offsetMs: number): void {
    this.offsetMs = offsetMs
    const cell = Buffer.alloc(CELL_BYTES)
    cell.writeBigInt64LE(BigInt(Math.round(offsetMs)) * 1_000_000n)
    writeSync(this.#fd, cell, 0, CELL_BYTES, 0)
  }

  jumpTo(wallMs: number): void {
    this.shift(wallMs - Date.now())
  }

  /** How often the process was given a wrong time. */
  get given(): number {
    const cell = Buffer.alloc(CELL_BYTES)
    readSync(this.#fd, cell, 0, CELL_BYTES, CELL_BYTES)
    return Number(cell.readBigInt64LE())
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** For a process that shall believe in another boot, so long ago. */
export function rebooted(bootId: string, uptimeMs: number): Readonly<Record<string, string>> {
  const preload = sourcePath('test/faults/clock/reboot.mjs')
  return { NODE_OPTIONS: `--import=${preload}`, CLOCK_BOOT: `${bootId} ${uptimeMs}` }
}
