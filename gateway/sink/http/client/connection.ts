/**
 * One connection to a sink, one request at a time. I8: an answer belongs to the request before it
 * only if that request had left: bytes that come while none is in progress end the connection, an
 * answer that comes before the last byte of the body was taken is marked as early, and nothing is
 * read behind an answer.
 *
 * Progress is what a try is measured by, not its length: bytes that the other side takes, and bytes
 * of its answer. Written bytes first fill a buffer of the kernel; whether that empties is looked up
 * before a try is given up. Not here: which answers are acks, how connections are made and kept
 * (dial.ts, client.ts).
 */
import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Transfer } from '../../../ports/sink.ts'
import type { Address } from './addresses.ts'
import { LinkError } from './link-error.ts'
import { type ResponseHead, ResponseParser } from './response-parser.ts'
import { unacknowledgedBytes } from './send-queue.ts'

/**
 * A request's bytes are handed over in pieces of at most this size: each that is taken is progress
 * that can be seen.
 */
const PIECE_BYTES = 64 * 1024

/** Chunks of a large body that are smaller than this leave together. */
const SMALL_PIECE_BYTES = 16 * 1024

/** Bodies up to here leave in one piece: the copy costs less than a write for each chunk. */
const MAX_JOINED_BYTES = 64 * 1024

/**
 * Smaller bodies are gone with the first flight of packets (RFC 6928: ten segments); nearby that is
 * all.
 */
const SMALL_BODY_BYTES = 14 * 1024

/** A round trip from which on a link may be thin, so that even a small body takes its time, ms. */
const FAR_MS = 5

/**
 * An answer's word on the kernel's buffer is looked up this often at most, ms: the look costs
 * milliseconds.
 */
const LOOK_EVERY_MS = 1000

export interface ClientRequest {
  /** Request line and headers, with the empty line. */
  readonly head: string
  readonly body: readonly Uint8Array[]
  readonly bodyBytes: number
  /** Without progress for so long the request is given up, ms. */
  readonly timeoutMs: number
  /** Slower than this on the whole it is given up. Bytes a second. */
  readonly minBytesPerSecond: number
  readonly maxAnswerBytes: number
  readonly signal: AbortSignal
  /** Bytes of the body were handed over. */
  readonly onSent?: (bytes: number) => void
}

/** What became of a request. */
export interface ClientAnswer {
  readonly head: ResponseHead | null
  readonly body: Uint8Array
  readonly tooLong: boolean
  /** Why the answer, or the rest of it, did not come; null: it is whole. */
  readonly error: Error | null
  /** How many bytes of the body had been taken when the answer came, if not all. */
  readonly earlyAt: number | null
  readonly transfer: Transfer
}

export class HttpConnection {
  readonly address: Address
  readonly openedAt = performance.now()
  readonly #socket: Socket
  readonly #connectMs: number
  #exchange: Exchange | null = null
  #requests = 0
  #idleUntil = Number.POSITIVE_INFINITY
  #lookedAt = Number.NEGATIVE_INFINITY
  #isEnded = false

  constructor(socket: Socket, address: Address, connectMs: number) {
    this.#socket = socket
    this.address = address
    this.#connectMs = connectMs
    socket.on('data', (chunk: Buffer) => {
      if (this.#exchange === null) this.destroy()
      else this.#exchange.onData(chunk)
    })
    socket.on('end', () => this.#onClosed(null))
    socket.on('error', (error) => this.#onClosed(error))
    socket.on('close', () => this.#onClosed(null))
    // Only set while the connection is idle.
    socket.on('timeout', () => this.destroy())
  }

  /** Fit for a request, as far as this side knows. */
  get isUsable(): boolean {
    return !this.#isEnded && performance.now() < this.#idleUntil
  }

  destroy(): void {
    this.#isEnded = true
    this.#socket.destroy()
  }

  /**
   * Sees what came while the connection was idle: the end, or an answer that nobody asked for. Two
   * turns of the event loop have a look at the network between them. false: not fit any more.
   */
  async isQuiet(): Promise<boolean> {
    if (this.#requests === 0) return this.isUsable
    await nextTurn()
    await nextTurn()
    return this.isUsable
  }

  /**
   * Never rejects. Afterwards the connection is usable or destroyed. @param keepIdleMs how long it
   * may idle
   */
  async send(request: ClientRequest, keepIdleMs: number): Promise<ClientAnswer> {
    this.#requests += 1
    this.#socket.setTimeout(0)
    const exchange = new Exchange(this.#socket, request, (sinceSentMs) =>
      this.#shallLook(request, sinceSentMs),
    )
    this.#exchange = exchange
    const answer = await exchange.run()
    this.#exchange = null
    if (exchange.isReusable && !this.#isEnded) {
      const idleMs = Math.min(keepIdleMs, idleHintMs(answer.head))
      this.#idleUntil = performance.now() + idleMs
      this.#socket.setTimeout(Math.max(1, idleMs))
    } else {
      this.destroy()
    }
    return answer
  }

  /**
   * Is the answer quick enough, or the body large enough, to doubt that the other side had all of
   * it?
   */
  #shallLook(request: ClientRequest, sinceSentMs: number): boolean {
    const isSmall = request.bodyBytes <= SMALL_BODY_BYTES && this.#connectMs < FAR_MS
    if (isSmall && sinceSentMs >= this.#connectMs) return false
    const now = performance.now()
    if (now - this.#lookedAt < LOOK_EVERY_MS) return false
    this.#lookedAt = now
    return true
  }

  #onClosed(error: Error | null): void {
    this.#isEnded = true
    this.#exchange?.onClosed(error)
    if (this.#exchange === null) this.#socket.destroy()
  }
}

/** One request and its answer. */
class Exchange {
  readonly #socket: Socket
  readonly #request: ClientRequest
  readonly #shallLook: (sinceSentMs: number) => boolean
  readonly #parser: ResponseParser
  readonly #startedAt = performance.now()
  /** Of the body, taken by the kernel. */
  #taken = 0
  /** Of the body, on the way to the kernel. */
  #pending = 0
  #allTakenAt: number | null = null
  #headAt: number | null = null
  #answerBytes = 0
  #progressAt = this.#startedAt
  /** What the kernel held at the last look; null: not looked since something was written. */
  #unacknowledged: number | null = null
  #look: Promise<number | null> | null = null
  #earlyAt: number | null = null
  #timedOut = false
  #error: Error | null = null
  #finish: () => void = () => undefined
  #isFinished = false
  /** Something came behind the answer. */
  #hasStray = false

  constructor(socket: Socket, request: ClientRequest, shallLook: (sinceSentMs: number) => boolean) {
    this.#socket = socket
    this.#request = request
    this.#shallLook = shallLook
    this.#parser = new ResponseParser(request.maxAnswerBytes)
  }

  get #isTls(): boolean {
    return 'encrypted' in this.#socket
  }

  #hasAllTaken(): boolean {
    return this.#allTakenAt !== null
  }

  get isReusable(): boolean {
    return (
      this.#error === null && this.#earlyAt === null && !this.#hasStray && this.#parser.isReusable
    )
  }

  async run(): Promise<ClientAnswer> {
    const { signal, timeoutMs } = this.#request
    const onAbort = (): void => this.#end(new LinkError('ABORTED', 'given up'))
    signal.addEventListener('abort', onAbort, { once: true })
    const timer = setInterval(() => void this.#checkProgress(), Math.max(1, timeoutMs / 2))
    const finished = new Promise<void>((resolve) => {
      this.#finish = resolve
    })
    void this.#write()
    await finished
    clearInterval(timer)
    signal.removeEventListener('abort', onAbort)
    const unacknowledged = await this.#look
    if (this.#headAt !== null && this.#allTakenAt === null && this.#earlyAt === null) {
      await nextTurn()
      if (!this.#hasAllTaken()) this.#earlyAt = this.#taken
    }
    if (this.#earlyAt === null && unacknowledged !== null && unacknowledged > 0) {
      this.#earlyAt = Math.max(0, this.#request.bodyBytes - unacknowledged)
    }
    return {
      head: this.#parser.head,
      body: Buffer.concat(this.#parser.body),
      tooLong: this.#parser.tooLong,
      error: this.#error,
      earlyAt: this.#earlyAt,
      transfer: this.#transfer(),
    }
  }

  onData(chunk: Buffer): void {
    if (this.#isFinished) {
      this.#hasStray = true
      return
    }
    this.#progressAt = performance.now()
    this.#answerBytes += chunk.length
    try {
      this.#parser.push(chunk)
    } catch (error) {
      this.#end(error as Error)
      return
    }
    if (this.#parser.head !== null && this.#headAt === null) this.#onHead()
    if (this.#parser.isDone) this.#end(null)
  }

  onClosed(error: Error | null): void {
    if (this.#isFinished) return
    if (error !== null) {
      this.#end(error)
      return
    }
    try {
      this.#parser.end()
      this.#end(null)
    } catch (cut) {
      this.#end(cut as Error)
    }
  }

  /** Whose answer is it? It comes early as long as a byte of the body is on this side. */
  #onHead(): void {
    const now = performance.now()
    this.#headAt = now
    if (this.#allTakenAt === null) {
      // TLS tells of a write a turn after the kernel took it: the last one may be done.
      const mayBeDone = this.#isTls && this.#taken + this.#pending === this.#request.bodyBytes
      if (mayBeDone) this.#look = unacknowledgedBytes(this.#socket)
      else this.#earlyAt = this.#taken
    } else if (this.#shallLook(now - this.#allTakenAt)) {
      this.#look = unacknowledgedBytes(this.#socket)
    }
  }

  async #write(): Promise<void> {
    const { head, body, bodyBytes } = this.#request
    for (const { bytes, ofBody } of piecesOf(Buffer.from(head, 'latin1'), body, bodyBytes)) {
      if (!(await this.#handOver(bytes, ofBody))) return
    }
    this.#allTakenAt = performance.now()
  }

  /** Resolves when the kernel has taken the bytes. false: no more are wanted. */
  async #handOver(bytes: Uint8Array, ofBody: number): Promise<boolean> {
    if (this.#isFinished || this.#headAt !== null) return false
    this.#request.onSent?.(ofBody)
    this.#pending = ofBody
    const written = new Promise<boolean>((resolve) => {
      this.#socket.write(bytes, (error) => resolve(error === null || error === undefined))
    })
    // Most often the kernel takes it at once; then there is nothing to wait for.
    const isTaken = !this.#isTls && this.#socket.writable && this.#socket.writableLength === 0
    if (!isTaken && !(await written)) return false
    this.#taken += ofBody
    this.#pending = 0
    this.#progressAt = performance.now()
    this.#unacknowledged = null
    return true
  }

  /** Twice in `timeoutMs`. */
  async #checkProgress(): Promise<void> {
    const { timeoutMs, minBytesPerSecond, bodyBytes } = this.#request
    const longestMs = 2 * timeoutMs + (bodyBytes / minBytesPerSecond) * 1000
    if (performance.now() - this.#startedAt >= longestMs) {
      this.#giveUp('TOO_SLOW', `not done within ${Math.round(longestMs)} ms`)
      return
    }
    // An answer that trickles is progress, but must not hold a batch for as long as its body may
    // take.
    const answerMs = 2 * timeoutMs + (this.#answerBytes / minBytesPerSecond) * 1000
    if (this.#headAt !== null && performance.now() - this.#headAt >= answerMs) {
      this.#giveUp(
        'TOO_SLOW',
        `the rest of the answer was not there ${Math.round(answerMs)} ms after its head`,
      )
      return
    }
    if (performance.now() - this.#progressAt < timeoutMs / 2) return
    const before = this.#unacknowledged
    const now = this.#headAt === null ? await unacknowledgedBytes(this.#socket) : null
    this.#unacknowledged = now
    const held = before ?? this.#taken
    // At the first look an empty buffer does not say when it emptied.
    if (now !== null && now < held && (before !== null || now > 0))
      this.#progressAt = performance.now()
    if (performance.now() - this.#progressAt >= timeoutMs)
      this.#giveUp('TIMEOUT', `nothing moved within ${timeoutMs} ms`)
  }

  #giveUp(code: 'TIMEOUT' | 'TOO_SLOW', message: string): void {
    if (this.#isFinished) return
    this.#timedOut = true
    this.#end(new LinkError(code, message))
  }

  #end(error: Error | null): void {
    if (this.#isFinished) return
    this.#isFinished = true
    this.#error = error
    this.#finish()
  }

  #transfer(): Transfer {
    const until = this.#headAt ?? performance.now()
    const held = this.#timedOut ? (this.#unacknowledged ?? 0) : 0
    return {
      bytes: Math.max(0, Math.min(this.#taken, (this.#earlyAt ?? this.#taken) - held)),
      ms: until - this.#startedAt,
      timedOut: this.#timedOut,
    }
  }
}

interface Piece {
  readonly bytes: Uint8Array
  readonly ofBody: number
}

/**
 * The request as it is handed over: the head leaves with what comes first, and small chunks leave
 * together.
 */
function* piecesOf(
  head: Buffer,
  body: readonly Uint8Array[],
  bodyBytes: number,
): Generator<Piece, void, undefined> {
  if (bodyBytes <= MAX_JOINED_BYTES) {
    yield { bytes: Buffer.concat([head, ...body]), ofBody: bodyBytes }
    return
  }
  let waiting: Uint8Array[] = [head]
  let waitingBytes = 0
  for (const chunk of body) {
    for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
      const part = chunk.subarray(at, at + PIECE_BYTES)
      waiting.push(part)
      waitingBytes += part.length
      if (waitingBytes < SMALL_PIECE_BYTES) continue
      yield { bytes: waiting.length === 1 ? part : Buffer.concat(waiting), ofBody: waitingBytes }
      waiting = []
      waitingBytes = 0
    }
  }
  if (waitingBytes > 0) yield { bytes: Buffer.concat(waiting), ofBody: waitingBytes }
}

/**
 * `Keep-Alive: timeout=5`: a second less, so that the request does not meet the other side's close.
 */
function idleHintMs(head: ResponseHead | null): number {
  const value = head?.headers['keep-alive']
  const seconds = /\btimeout=(\d+)/i.exec(typeof value === 'string' ? value : '')?.[1]
  return seconds === undefined
    ? Number.POSITIVE_INFINITY
    : Math.max(0, Number(seconds) * 1000 - 1000)
}
