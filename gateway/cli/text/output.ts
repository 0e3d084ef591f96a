/**
 * What commands write to. A command that is over soon writes at once and in order; one that goes on
 * for long (`start`) must not wait for who reads its words, nor end with them.
 */
import { writeSync } from 'node:fs'
import { isatty } from 'node:tty'
import { LineWriter } from '../../shared/output/line-writer.ts'
import { CliError, EXIT } from '../exit.ts'

export interface Output {
  readonly isTTY?: boolean
  write(text: string): unknown
  /**
   * From now on a write returns at once, whatever becomes of it: the process has more to do than to
   * be read.
   */
  neverWait?(): void
}

/**
 * A reader that is slow, behind a descriptor that does not block, is asked again after this time.
 */
const POLL_MS = 10

/**
 * A reader that has seen enough (`sluice status | head`) is no failure: the command ends, that is
 * all.
 */
export class ReaderGoneError extends CliError {
  constructor(cause: unknown) {
    super(EXIT.ok, 'nobody reads any more', cause)
  }
}

/** @throws ReaderGoneError, or CliError that says why standard output cannot be written */
export function standardOutput(): Output {
  return {
    isTTY: isatty(1),
    write: (text) => {
      try {
        writeAll(1, Buffer.from(text))
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        if (code === 'EPIPE') throw new ReaderGoneError(error)
        throw new CliError(EXIT.failed, `standard output cannot be written: ${message}`, error)
      }
    },
  }
}

/** What cannot be said there cannot be said anywhere: its errors are nobody's. */
export class StandardError implements Output {
  readonly isTTY = isatty(2)
  #lines: LineWriter | null = null

  write(text: string): void {
    if (this.#lines !== null) {
      this.#lines.write(text)
      return
    }
    try {
      writeAll(2, Buffer.from(text))
    } catch {}
  }

  neverWait(): void {
    if (this.#lines !== null) return
    const lines = new LineWriter(2)
    lines.onLost = (count, why) =>
      lines.write(`sluice: ${count} messages before this one were lost: ${why}\n`)
    this.#lines = lines
    // Node's own handler waits.
    process.removeAllListeners('warning')
    process.on('warning', ({ name, message }) => lines.write(`sluice: ${name}: ${message}\n`))
  }
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let offset = 0; offset < bytes.length; ) {
    try {
      offset += writeSync(fd, bytes, offset)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS)
    }
  }
}
