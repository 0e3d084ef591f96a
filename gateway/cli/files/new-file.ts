/** Files that a command makes for its caller: never over one that is there, never half of one. */
import { closeSync, fsyncSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { CliError, EXIT, unwritten } from '../exit.ts'
import { asCaller } from './as-caller.ts'

const FIXES: Readonly<Record<string, string>> = {
  EEXIST: 'it exists already; name another, or remove it',
  ENOENT: 'its folder is not there; make it, or name another (ENOENT)',
  ENOTDIR: 'what should be its folder is a file; name another (ENOTDIR)',
  EACCES: 'this user may not write in its folder; name another (EACCES)',
  EROFS: 'its file system is read-only; name another (EROFS)',
}

/** A file for its caller alone: what a gateway holds may be confidential. */
export class NewFile {
  readonly path: string
  readonly #descriptor: number

  /** @throws CliError, where it exists already too */
  constructor(path: string) {
    this.path = path
    try {
      this.#descriptor = asCaller(() => openSync(path, 'wx', 0o600))
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown error'
      const why = FIXES[code] ?? code
      throw new CliError(EXIT.failed, `${path} cannot be written: ${why}`, error)
    }
  }

  write(content: string | Uint8Array): void {
    this.#orSay(() => writeFileSync(this.#descriptor, content))
  }

  /** Durable, if it is whole; a torn one is removed: it would be taken for a whole one. */
  close(isWhole: boolean): void {
    try {
      if (isWhole) this.#orSay(() => fsyncSync(this.#descriptor))
    } catch (error) {
      this.#remove()
      throw error
    } finally {
      closeSync(this.#descriptor)
    }
    if (!isWhole) this.#remove()
  }

  #orSay(work: () => void): void {
    try {
      work()
    } catch (error) {
      throw unwritten(this.path, error)
    }
  }

  #remove(): void {
    asCaller(() => rmSync(this.path, { force: true }))
  }
}

/** All of it at once. @throws CliError, and leaves nothing behind */
export function writeNewFile(path: string, content: string | Uint8Array): void {
  const file = new NewFile(path)
  let isWhole = false
  try {
    file.write(content)
    isWhole = true
  } finally {
    file.close(isWhole)
  }
}
