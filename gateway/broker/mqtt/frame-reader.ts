/**
 * The way in of one connection: bytes to whole frames, one at a time. What may not be processed yet
 * is kept here, bounded by the connection, which stops reading; PINGREQs in it are found at once
 * (I6).
 *
 * Size limits hold as soon as a length is known, for what is kept, too. Frames are shown in place,
 * as offsets into the read buffer or the kept bytes; no caller may keep a view of either.
 * Which frames are due, and what becomes of them, is the connection's business.
 */
import type { MqttLimits } from '../config.ts'
import { type HeldBytes, InboundBuffer } from './inbound-buffer.ts'
import {
  BAD_LENGTH,
  bodyOffset,
  CONNECT,
  DISCONNECT,
  frameBytes,
  NEED_MORE,
  PINGREQ,
} from './packets.ts'

/** Answers of {@link FrameReader.next}. */
export const FRAME = 0
/** No whole frame is there. */
const NO_FRAME = 1
/** {@link FrameReader.fault} says what is wrong. */
export const FAULT = 2

interface FrameFault {
  readonly reason: 'malformed' | 'packet-too-large'
  readonly detail: string
}

type FrameLimits = Pick<MqttLimits, 'maxConnectPacketBytes' | 'maxPacketBytes'>

/** First byte of a TLS record with a handshake; its upper half is that of CONNECT. */
const TLS_HANDSHAKE = 0x16

export class FrameReader {
  readonly #limits: FrameLimits
  /** In words: the client's first bytes are no CONNECT. */
  readonly #describeStranger: (bytes: Uint8Array) => string
  readonly #held: InboundBuffer
  /** The bytes of this read, while they are processed in place. */
  #chunk: Buffer | null = null
  #chunkAt = 0
  #frameSinceMs: number | null = null
  #nowMs = 0
  #size = 0
  fault: FrameFault | null = null

  constructor(
    limits: FrameLimits,
    held: HeldBytes,
    describeStranger: (bytes: Uint8Array) => string,
  ) {
    this.#limits = limits
    this.#describeStranger = describeStranger
    this.#held = new InboundBuffer(held)
  }

  /** Bytes that are kept. */
  get length(): number {
    return this.#held.length
  }

  /** Since when a frame is incomplete, monotonic ms; null: none is. */
  get frameSinceMs(): number | null {
    return this.#frameSinceMs
  }

  /** The time so far was not the peer's. */
  restartFrame(nowMs: number): void {
    if (this.#frameSinceMs !== null) this.#frameSinceMs = nowMs
  }

  /** The bytes of one read. Call {@link keep} when its frames are processed. */
  push(chunk: Buffer, nowMs: number): void {
    this.#nowMs = nowMs
    // A peer in the same process may answer while its frames are processed.
    this.keep()
    if (this.#held.length > 0) this.#held.append(chunk, 0)
    else {
      this.#chunk = chunk
      this.#chunkAt = 0
    }
  }

  /** A copy of what is left of the read: its buffer is pinned no longer. */
  keep(): void {
    if (this.#chunk === null) return
    this.#held.append(this.#chunk, this.#chunkAt)
    this.#chunk = null
  }

  // The frame at the head: valid after `next` answered FRAME, until `advance`.

  get bytes(): Buffer {
    return this.#chunk ?? this.#held.bytes
  }

  get at(): number {
    return this.#chunk === null ? this.#held.start : this.#chunkAt
  }

  get end(): number {
    return this.at + this.#size
  }

  /** {@link scanPings} has counted it, if it is a PINGREQ. */
  get isScanned(): boolean {
    return this.#chunk === null && this.#held.start < this.#held.scanned
  }

  /** Looks for a whole frame at the head. `isFirst`: only CONNECT is due, and smaller. */
  next(isFirst: boolean): typeof FRAME | typeof NO_FRAME | typeof FAULT {
    const { bytes, at } = this
    const end = this.#chunk === null ? this.#held.end : this.#chunk.length
    if (at >= end) {
      this.#frameSinceMs = null
      return NO_FRAME
    }
    const size = this.#measure(bytes, at, end, isFirst)
    if (size === null) return FAULT
    if (size === NEED_MORE || at + size > end) {
      this.#frameSinceMs ??= this.#nowMs
      return NO_FRAME
    }
    this.#size = size
    return FRAME
  }

  /** The frame at the head is done with. */
  advance(): void {
    if (this.#chunk === null) this.#held.consume(this.end)
    else this.#chunkAt += this.#size
    this.#frameSinceMs = null
  }

  /** The frame at the head is complete and waits for room. */
  hold(): void {
    this.#frameSinceMs = null
  }

  discard(): void {
    this.#chunk = null
    this.#held.discard()
  }

  /**
   * How many PINGREQs are in what is kept and was not scanned; nothing is processed, but the size
   * limit holds. null: {@link fault} says what is wrong.
   */
  scanPings(): number | null {
    const held = this.#held
    let pings = 0
    let at = Math.max(held.scanned, held.start)
    while (at < held.end) {
      const size = this.#measure(held.bytes, at, held.end, false)
      if (size === null) return null
      if (size === NEED_MORE || at + size > held.end) break
      if (held.bytes[at] === PINGREQ && isBare(held.bytes, at, size)) pings += 1
      at += size
    }
    held.scanned = at
    return pings
  }

  /** Is there a whole DISCONNECT among what is kept, behind which no will is published? */
  holdsDisconnect(isV5: boolean): boolean {
    const { bytes, end } = this.#held
    let at = this.#held.start
    while (at < end) {
      const size = frameBytes(bytes, at, end)
      if (size < 0 || at + size > end) return false
      if (bytes[at] === DISCONNECT && isFriendly(bytes, at, size, isV5)) return true
      at += size
    }
    return false
  }

  /** Size of the frame at `at`, or NEED_MORE; null: a fault, as soon as the length is known. */
  #measure(bytes: Buffer, at: number, end: number, isFirst: boolean): number | null {
    if (isFirst && ((bytes[at]! & 0xf0) !== CONNECT || bytes[at] === TLS_HANDSHAKE)) {
      return this.#fail('malformed', this.#describeStranger(bytes.subarray(at, end)))
    }
    const size = frameBytes(bytes, at, end)
    if (size === BAD_LENGTH) {
      return this.#fail('malformed', 'the remaining length has more than four bytes')
    }
    const limit = isFirst ? this.#limits.maxConnectPacketBytes : this.#limits.maxPacketBytes
    if (size <= limit) return size
    const key = isFirst ? 'mqtt.maxConnectPacketBytes' : 'mqtt.maxPacketBytes'
    const detail = `${size} bytes, ${key} is ${limit}; it comes again until that is raised`
    return this.#fail('packet-too-large', detail)
  }

  #fail(reason: FrameFault['reason'], detail: string): null {
    this.fault = { reason, detail }
    return null
  }
}

/** A DISCONNECT that says nothing, or of MQTT 5 success. */
function isFriendly(bytes: Uint8Array, at: number, size: number, isV5: boolean): boolean {
  return isBare(bytes, at, size) || (isV5 && bytes[bodyOffset(bytes, at)] === 0)
}

/**
 * No body. Not by the size: 3.1.1 allows a remaining length of more bytes than it needs (section
 * 2.2.3).
 */
function isBare(bytes: Uint8Array, at: number, size: number): boolean {
  return bodyOffset(bytes, at) === at + size
}
