/**
 * Writes lines to an outlet that may be slow, full or gone: one write in flight, in order, through
 * a bounded buffer. Nothing that happens to the outlet throws, ends the process or holds up the
 * event loop, and with it an acknowledgement (I1, I6). What cannot be written is kept while the
 * buffer has room and tried again; what is lost is counted, and said once the outlet takes lines
 * again (I9).
 */
import { writeSync } from 'node:fs'
import { type Outlet, openOutlet } from './outlet.ts'

/** Beyond this, lines are dropped until the reader catches up. */
export const MAX_BUFFERED_BYTES = 1024 * 1024

/** After an error: a disk that is full, a terminal that is gone, a reader that went away. */
const RETRY_MS = 1_000

/** The last words wait so long for a reader that is slow, not for one that has stopped. */
const LAST_WORDS_MS = 500
const LAST_WORDS_POLL_MS = 10

/**
 * A write that has not ended after this long is taken for stalled: the end of the process does not
 * wait for it.
 */
const STALLED_AFTER_MS = 1_000

/**
 * Nobody will ever read what was in flight. A pipe that has a name may get another reader, so later
 * lines are tried.
 */
const READER_GONE: ReadonlySet<string | undefined> = new Set([
  'EPIPE',
  'ECONNRESET',
  'EBADF',
  'ENOTCONN',
  'ERR_STREAM_DESTROYED',
])

interface LineWriterOptions {
  /** Lines were lost, and the outlet takes lines again; what this writes is one of them. */
  readonly onLost?: (lines: number, why: string) => void
  readonly retryMs?: number
}

export class LineWriter {
  readonly #outlet: Outlet
  readonly #retryMs: number
  onLost: (lines: number, why: string) => void
  #waiting: string[] = []
  #waitingBytes = 0
  /** What was handed to the outlet and is not done, or what it did not take. */
  #inFlight: { readonly bytes: Buffer; readonly lines: number } | null = null
  #sinceMs = 0
  #retryTimer: NodeJS.Timeout | null = null
  #idleListeners: (() => void)[] = []
  #droppedLines = 0
  #reportedLines = 0
  #why = 'its reader did not keep up'
  /** A flush has asked for one last try. */
  #isLastTry = false

  constructor(fd: number, options: LineWriterOptions = {}) {
    this.#outlet = openOutlet(fd)
    this.onLost = options.onLost ?? (() => undefined)
    this.#retryMs = options.retryMs ?? RETRY_MS
    process.once('exit', () => this.#writeRestAtExit())
  }

  /** Lines lost so far. */
  get droppedLines(): number {
    return this.#droppedLines
  }

  write(line: string): void {
    const bytes = Buffer.byteLength(line)
    if (this.#waitingBytes + (this.#inFlight?.bytes.length ?? 0) + bytes > MAX_BUFFERED_BYTES) {
      this.#droppedLines++
      return
    }
    this.#waiting.push(line)
    this.#waitingBytes += bytes
    if (this.#inFlight === null) this.#next()
  }

  /**
   * Resolves when everything was written, at the latest after `deadlineMs`. An outlet that fails
   * gets one more try; what it does not take then is lost, and counted.
   */
  flush(deadlineMs: number): Promise<void> {
    if (this.#inFlight === null) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, deadlineMs)
      this.#idleListeners.push(() => {
        clearTimeout(timer)
        resolve()
      })
      this.#isLastTry = true
      if (this.#retryTimer !== null) this.#retry()
    })
  }

  #next(): void {
    this.#inFlight = this.#takeWaiting()
    if (this.#inFlight === null) {
      this.#isLastTry = false
      for (const listener of this.#idleListeners.splice(0)) listener()
      return
    }
    this.#again()
  }

  #takeWaiting(): { readonly bytes: Buffer; readonly lines: number } | null {
    if (this.#waiting.length === 0) return null
    const taken = { bytes: Buffer.from(this.#waiting.join('')), lines: this.#waiting.length }
    this.#waiting = []
    this.#waitingBytes = 0
    return taken
  }

  #again(): void {
    const { bytes, lines } = this.#inFlight ?? { bytes: Buffer.alloc(0), lines: 0 }
    this.#sinceMs = performance.now()
    this.#outlet.write(bytes, (error, taken) => {
      if (error === null) this.#written()
      else this.#failed(error, { bytes: bytes.subarray(taken), lines })
    })
  }

  #written(): void {
    const lost = this.#droppedLines - this.#reportedLines
    if (lost > 0) {
      this.#reportedLines = this.#droppedLines
      this.onLost(lost, this.#why)
      this.#why = 'its reader did not keep up'
    }
    this.#next()
  }

  #failed(
    error: NodeJS.ErrnoException,
    rest: { readonly bytes: Buffer; readonly lines: number },
  ): void {
    this.#why = error.message
    this.#inFlight = rest
    if (this.#isLastTry || READER_GONE.has(error.code)) {
      this.#droppedLines += rest.lines
      this.#inFlight = { bytes: Buffer.alloc(0), lines: 0 }
    }
    if (this.#isLastTry) {
      this.#dropWaiting()
      this.#next()
      return
    }
    this.#retryTimer = setTimeout(() => this.#retry(), this.#retryMs).unref()
  }

  #retry(): void {
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer)
    this.#retryTimer = null
    if (this.#inFlight?.bytes.length === 0) this.#next()
    else this.#again()
  }

  #dropWaiting(): void {
    this.#droppedLines += this.#waiting.length
    this.#waiting = []
    this.#waitingBytes = 0
  }

  /**
   * The last words matter most: why the process ends. Behind a stalled write they would hold up its
   * end.
   */
  #writeRestAtExit(): void {
    const failing = this.#retryTimer !== null
    const stalled =
      this.#inFlight !== null && !failing && performance.now() - this.#sinceMs > STALLED_AFTER_MS
    if (stalled) return
    const rest = [failing ? (this.#inFlight?.bytes ?? '') : '', this.#waiting.join('')]
    this.#waiting = []
    writeLastWords(this.#outlet.fd, Buffer.concat(rest.map((part) => Buffer.from(part))))
  }
}

function writeLastWords(fd: number, bytes: Buffer): void {
  const endMs = performance.now() + LAST_WORDS_MS
  for (let offset = 0; offset < bytes.length && performance.now() < endMs; ) {
    try {
      offset += writeSync(fd, bytes, offset)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LAST_WORDS_POLL_MS)
    }
  }
}
