/**
 * Where log lines go. Written asynchronously through a bounded buffer: a reader of our standard output that stalls
 * must not stall the event loop, and with it every acknowledgement (I6); one that is gone, or a log file on a full
 * disk, must not end the process. What cannot be written is lost and counted (I9).
 */
import { write, writeSync } from 'node:fs'
import type { LogConfig } from '../../config/config.ts'

/** Beyond this, lines are dropped until the reader catches up. */
export const MAX_BUFFERED_BYTES = 1024 * 1024

const RETRY_MS = 50

/** A write that has not ended after this long is taken for stalled: the end of the process does not wait for it. */
const STALLED_AFTER_MS = 1_000

export interface LogDestination {
  readonly stream: { write(line: string): void }
  /** Lines lost so far. */
  droppedLines(): number
  /** Resolves when what is buffered was written, or after a moment. Never rejects. */
  flush(): Promise<void>
}

/** `auto` is pretty on a terminal and JSON elsewhere. `fd`: 1 is standard output. */
export async function openDestination(
  format: LogConfig['format'],
  fd: number,
  isTty: boolean,
): Promise<LogDestination> {
  const writer = new LineWriter(fd)
  const usePretty = format === 'pretty' || (format === 'auto' && isTty)
  return {
    stream: usePretty ? await prettyStream(writer, isTty) : writer,
    droppedLines: () => writer.droppedLines,
    flush: () => writer.flush(STALLED_AFTER_MS),
  }
}

/** A box logs JSON to a file: it loads no printer. */
async function prettyStream(writer: LineWriter, colorize: boolean): Promise<LogDestination['stream']> {
  const { default: pretty } = await import('pino-pretty')
  const format = pretty.prettyFactory({
    colorize,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname,event',
    singleLine: true,
  })
  return { write: (line) => writer.write(format(line)) }
}

/** Writes lines to a descriptor, one write in flight, in order. */
export class LineWriter {
  readonly #fd: number
  #waiting: string[] = []
  #waitingBytes = 0
  #inFlightBytes = 0
  #inFlightSinceMs: number | null = null
  #idleListeners: (() => void)[] = []
  /** Nobody reads any more: everything is dropped. */
  #gone = false
  #droppedLines = 0

  constructor(fd: number) {
    this.#fd = fd
    process.once('exit', () => this.#writeRestAtExit())
  }

  get droppedLines(): number {
    return this.#droppedLines
  }

  write(line: string): void {
    const bytes = Buffer.byteLength(line)
    if (this.#gone || this.#waitingBytes + this.#inFlightBytes + bytes > MAX_BUFFERED_BYTES) {
      this.#droppedLines++
      return
    }
    this.#waiting.push(line)
    this.#waitingBytes += bytes
    if (this.#inFlightSinceMs === null) this.#next()
  }

  /** Resolves when everything was written, at the latest after `deadlineMs`. */
  flush(deadlineMs: number): Promise<void> {
    if (this.#inFlightSinceMs === null) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, deadlineMs)
      this.#idleListeners.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  #next(): void {
    const lines = this.#waiting.length
    if (lines === 0) {
      this.#inFlightSinceMs = null
      this.#inFlightBytes = 0
      for (const listener of this.#idleListeners.splice(0)) listener()
      return
    }
    const bytes = Buffer.from(this.#waiting.join(''))
    this.#waiting = []
    this.#waitingBytes = 0
    this.#inFlightBytes = bytes.length
    this.#inFlightSinceMs = performance.now()
    this.#writeOut(bytes, lines)
  }

  #writeOut(bytes: Buffer, lines: number): void {
    write(this.#fd, bytes, (error, written) => {
      if (error === null) {
        if (written < bytes.length) this.#writeOut(bytes.subarray(written), lines)
        else this.#next()
      } else if (error.code === 'EAGAIN') {
        setTimeout(() => this.#writeOut(bytes, lines), RETRY_MS).unref()
      } else {
        this.#droppedLines += lines
        this.#gone ||= error.code === 'EPIPE' || error.code === 'EBADF'
        if (this.#gone) this.#dropWaiting()
        this.#next()
      }
    })
  }

  #dropWaiting(): void {
    this.#droppedLines += this.#waiting.length
    this.#waiting = []
    this.#waitingBytes = 0
  }

  /** The last words matter most: why the process ends. Behind a stalled write they would hold up its end. */
  #writeRestAtExit(): void {
    const stalled =
      this.#inFlightSinceMs !== null && performance.now() - this.#inFlightSinceMs > STALLED_AFTER_MS
    if (stalled || this.#gone || this.#waiting.length === 0) return
    try {
      writeSync(this.#fd, this.#waiting.join(''))
    } catch {
      this.#dropWaiting()
    }
  }
}
