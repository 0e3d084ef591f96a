/**
 * What commands write to. A short command writes synchronously and in order; a long-running one
 * (`start`) must neither wait for the reader of its output nor end with it.
 */
import { writeSync } from 'node:fs'
import { isatty } from 'node:tty'
import { LineWriter } from '../../shared/output/line-writer.ts'
import { CliError, EXIT } from '../exit.ts'

export interface Output {
  readonly isTTY?: boolean
  write(text: string): unknown
  /**
   * From now on a write returns at once, whatever becomes of the text: other work must not wait for
   * a reader.
   */
  neverWait?(): void
}

/**
 * A slow reader behind a non-blocking descriptor is tried again after this time.
 */
const POLL_MS = 10

/**
 * A reader that has seen enough (`sluice status | head`) is no failure: the command just ends.
 */
export class ReaderGoneError extends CliError {
  constructor(cause: unknown) {
    super(EXIT.ok, 'the reader is gone', cause)
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

/** There is no other place to report its errors: they are ignored. */
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
