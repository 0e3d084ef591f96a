/**
 * The way in of one connection: bytes to whole frames, one at a time, to whoever the host says.
 * What may not be processed yet is held back, bounded by the host, which stops reading; PINGREQs in
 * it are found at once (I6).
 *
 * Size limits hold as soon as a length is known, for what is held back, too. Frames are handed over
 * in place, as offsets into the read buffer or the hold-back buffer; nobody may keep a view of
 * either.
 */
import type { MqttLimits } from '../config.ts'
import type { CloseReason } from '../events.ts'
import { notMqtt, TLS_HANDSHAKE } from '../listeners/wrong-protocol.ts'
import {
  BAD_LENGTH,
  bodyOffset,
  CONNECT,
  DISCONNECT,
  frameBytes,
  NEED_MORE,
  PINGREQ,
} from './packets.ts'
import { CLOSED, HOLD, type Verdict } from '../publish/publish-path.ts'
import type { BrokerStats } from '../stats.ts'
import { InboundBuffer } from './inbound-buffer.ts'

export interface InletHost {
  /** Which frames it takes now. */
  readonly accepts: 'connect' | 'packets' | 'nothing'
  /** CONNACK is out: PINGREQ is answered. */
  readonly isOpen: boolean
  readonly isClosed: boolean
  /** One whole frame. `isScanned`: a PINGREQ here was reported by `onPing` already. */
  takeFrame(bytes: Buffer, at: number, end: number, isScanned: boolean): Verdict
  onPing(): void
  /** Around each run over frames. */
  beforeFrames(): void
  afterFrames(): void
  /**
   * Sends acks that are due; true if there were any, so that there may be room for a held frame.
   */
  flushAcks(): boolean
  /** The frame at the head was not taken: `unblock` it when that may change. */
  onHeld(): void
  onFault(error: unknown): void
  close(reason: CloseReason, detail: string): void
}

const CLOSED_SIZE = -3

export class Inlet {
  readonly #limits: Pick<MqttLimits, 'maxConnectPacketBytes' | 'maxPacketBytes'>
  readonly #host: InletHost
  readonly #held: InboundBuffer
  #isBlocked = false
  #isProcessing = false
  #frameSinceMs: number | null = null
  #nowMs = 0

  constructor(
    limits: Pick<MqttLimits, 'maxConnectPacketBytes' | 'maxPacketBytes'>,
    stats: BrokerStats,
    host: InletHost,
  ) {
    this.#limits = limits
    this.#host = host
    this.#held = new InboundBuffer(stats)
  }

  /** Bytes that are held. */
  get length(): number {
    return this.#held.length
  }

  /** The frame at the head waits for room. */
  get isBlocked(): boolean {
    return this.#isBlocked
  }

  get isProcessing(): boolean {
    return this.#isProcessing
  }

  get mayProcess(): boolean {
    return !this.#isBlocked && this.#host.accepts !== 'nothing'
  }

  /** Since when a frame is incomplete, monotonic ms; null: none is. */
  get frameSinceMs(): number | null {
    return this.#frameSinceMs
  }

  /** The time so far was not the peer's. */
  restartFrame(nowMs: number): void {
    if (this.#frameSinceMs !== null) this.#frameSinceMs = nowMs
  }

  push(chunk: Buffer, nowMs: number): void {
    this.#nowMs = nowMs
    if (this.#held.length > 0 || !this.mayProcess) {
      this.#held.append(chunk, 0)
      this.process()
      return
    }
    this.#run(() => {
      const used = this.#consume(chunk, chunk.length, 0, 0)
      if (!this.#host.isClosed) this.#held.append(chunk, used)
    })
  }

  /** Looks at what is held, if it may. Call whenever that may have changed. */
  process(): void {
    if (this.#isProcessing || this.#host.isClosed) return
    this.#run(() => this.#consumeHeld())
  }

  /** There may be room: the frame at the head is tried again. */
  unblock(): void {
    if (!this.#isBlocked) return
    if (this.#isProcessing) {
      this.#host.onHeld()
      return
    }
    this.#isBlocked = false
    this.process()
  }

  discard(): void {
    this.#held.discard()
  }

  /** Is there a whole DISCONNECT among what is held? */
  holdsDisconnect(): boolean {
    const { bytes, end } = this.#held
    let at = this.#held.start
    while (at < end) {
      const size = frameBytes(bytes, at, end)
      if (size < 0 || at + size > end) return false
      if (bytes[at] === DISCONNECT && isBare(bytes, at, size)) return true
      at += size
    }
    return false
  }

  #run(step: () => void): void {
    const host = this.#host
    this.#isProcessing = true
    host.beforeFrames()
    try {
      step()
      // Acks that wait for no commit leave at once, and make room.
      while (host.flushAcks() && this.#isBlocked) {
        this.#isBlocked = false
        this.#consumeHeld()
      }
      if (!this.mayProcess) this.#scan()
    } catch (error) {
      host.onFault(error)
    }
    this.#isProcessing = false
    host.afterFrames()
  }

  #consumeHeld(): void {
    if (!this.mayProcess) return
    const held = this.#held
    const used = this.#consume(held.bytes, held.end, held.start, held.scanned)
    if (!this.#host.isClosed) held.consume(used)
  }

  /**
   * Processes whole frames from `start`; returns where the first one begins that was not processed.
   * PINGREQs before
   * `scanned` were reported.
   */
  #consume(bytes: Buffer, end: number, start: number, scanned: number): number {
    let at = start
    while (at < end && this.mayProcess) {
      const size = this.#measure(bytes, at, end)
      if (size === CLOSED_SIZE) return end
      if (size === NEED_MORE || at + size > end) {
        if (this.#frameSinceMs === null || at > start) this.#frameSinceMs = this.#nowMs
        return at
      }
      const verdict = this.#host.takeFrame(bytes, at, at + size, at < scanned)
      if (verdict === CLOSED) return end
      if (verdict === HOLD) {
        this.#isBlocked = true
        this.#host.onHeld()
        break
      }
      at += size
    }
    this.#frameSinceMs = null
    return at
  }

  /**
   * Size of the frame at `at`, NEED_MORE, or CLOSED_SIZE: over the limit as soon as the length is
   * known.
   */
  #measure(bytes: Buffer, at: number, end: number): number {
    const isFirst = this.#host.accepts === 'connect'
    if (isFirst && ((bytes[at]! & 0xf0) !== CONNECT || bytes[at] === TLS_HANDSHAKE)) {
      return this.#close('malformed', notMqtt(bytes.subarray(at, end)))
    }
    const size = frameBytes(bytes, at, end)
    if (size === BAD_LENGTH) {
      return this.#close('malformed', 'the remaining length has more than four bytes')
    }
    const limit = isFirst ? this.#limits.maxConnectPacketBytes : this.#limits.maxPacketBytes
    if (size > limit) {
      const key = isFirst ? 'mqtt.maxConnectPacketBytes' : 'mqtt.maxPacketBytes'
      return this.#close(
        'packet-too-large',
        `${size} bytes, ${key} is ${limit}; it comes again until that is raised`,
      )
    }
    return size
  }

  /**
   * Finds PINGREQs in what is held, and enforces the size limit there, without processing anything.
   */
  #scan(): void {
    if (!this.#host.isOpen) return
    const held = this.#held
    let at = Math.max(held.scanned, held.start)
    while (at < held.end) {
      const size = this.#measure(held.bytes, at, held.end)
      if (size === CLOSED_SIZE) return
      if (size === NEED_MORE || at + size > held.end) break
      if (held.bytes[at] === PINGREQ && isBare(held.bytes, at, size)) this.#host.onPing()
      at += size
    }
    held.scanned = at
  }

  #close(reason: CloseReason, detail: string): number {
    this.#host.close(reason, detail)
    return CLOSED_SIZE
  }
}

/**
 * No body. Not by the size: 3.1.1 allows a remaining length of more bytes than it needs (section
 * 2.2.3).
 */
function isBare(bytes: Uint8Array, at: number, size: number): boolean {
  return bodyOffset(bytes, at) === at + size
}
