/**
 * What aedes wrote for one client and the socket has not taken yet: whole frames, in order. A
 * consumer that stops reading fills this queue and nothing else (I6): beyond the bounds its oldest
 * QoS 0 copies go, counted; a consumer that lets QoS 1 or 2 copies pile up is reported as
 * overflowing, and disconnected by the gate.
 *
 * QoS 1 and 2 copies are sent `maxSubscriberMessages` ahead of their acks at most, so what aedes
 * and the persistence keep for the client is bounded too. Acks of the gate do not pass through
 * here: they are never behind copies.
 */
import type { MqttLimits } from '../config.ts'
import { bodyOffset, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL } from '../mqtt/packets.ts'
import type { BrokerStats } from '../stats.ts'

export type SubscriberLimits = Pick<
  MqttLimits,
  'maxSubscriberMessages' | 'maxSubscriberBytes' | 'maxSubscriberBytesTotal'
>

export interface OutboundHost {
  /** The socket is up and has taken what it was given. */
  canSend(): boolean
  send(bytes: Uint8Array): void
  onCopiesDropped(count: number): void
  /** QoS 1 or 2 copies do not fit. */
  onOverflow(): void
  /** `isPressed` became true. */
  onPressed(): void
  /** There is room again. */
  onRelieved(): void
}

/** -1: not a PUBLISH; never dropped. */
type CopyQos = -1 | 0 | 1 | 2

/** The acks of copies. */
export type CopyAck = typeof PUBACK | typeof PUBREC | typeof PUBCOMP

interface Waiting {
  readonly frame: Buffer
  readonly qos: CopyQos
  readonly packetId: number
}

/** One write to the socket; large enough to cost one system call for many copies. */
const WRITE_BYTES = 64 * 1024

export class OutboundQueue {
  readonly #limits: SubscriberLimits
  readonly #stats: BrokerStats
  readonly #host: OutboundHost
  readonly #now: () => number
  /** From `#head`; null: dropped. */
  #waiting: (Waiting | null)[] = []
  #head = 0
  /** No QoS 0 copy stands before this index. */
  #qos0From = 0
  #qos0 = 0
  #acked = 0
  #bytes = 0
  /** Packet ids of what was sent and not acknowledged, each with the ack that is due next. */
  readonly #inFlight = new Map<number, CopyAck>()
  #isOpen = false
  #wasPressed = false
  /** When copies at QoS 1 or 2 last began to wait, or moved. */
  #movedAtMs = 0

  constructor(limits: SubscriberLimits, stats: BrokerStats, host: OutboundHost, now: () => number) {
    this.#limits = limits
    this.#stats = stats
    this.#host = host
    this.#now = now
  }

  /** Half of the room is taken by QoS 1 and 2 copies, sent or not: hand over no more for now. */
  get isPressed(): boolean {
    const { maxSubscriberMessages, maxSubscriberBytes } = this.#limits
    const copies = this.#acked + this.#inFlight.size
    return (
      copies > 0 &&
      (copies * 2 >= maxSubscriberMessages || this.#ackedBytesHigh(maxSubscriberBytes))
    )
  }

  /** How long it has been pressed without taking or acknowledging anything, ms; 0 if it is not. */
  stalledMs(now: number): number {
    return this.isPressed ? now - this.#movedAtMs : 0
  }

  /** CONNACK is out: copies may follow. */
  open(): void {
    this.#isOpen = true
    this.flush()
  }

  push(frame: Buffer): void {
    const qos = copyQos(frame)
    if (qos > 0 && this.#acked + this.#inFlight.size === 0) this.#movedAtMs = this.#now()
    this.#waiting.push({ frame, qos, packetId: qos > 0 ? packetIdOf(frame) : 0 })
    this.#account(frame.length)
    if (qos === 0) this.#qos0 += 1
    else if (qos > 0) this.#acked += 1
    if (this.#isOpen && this.#host.canSend()) this.flush()
    this.#keepBounds(qos)
    if (this.#wasPressed || !this.isPressed) return
    this.#wasPressed = true
    this.#host.onPressed()
  }

  /**
   * The ack that is due next for this packet id; undefined: nothing was sent under it, or all of it
   * is acknowledged.
   */
  dueAck(packetId: number): CopyAck | undefined {
    return this.#inFlight.get(packetId)
  }

  /** An ack that is due came for a copy. */
  acknowledged(ack: CopyAck, packetId: number): void {
    if (ack === PUBREC) this.#inFlight.set(packetId, PUBCOMP)
    else this.#inFlight.delete(packetId)
    this.#movedAtMs = this.#now()
    this.flush()
  }

  /** Sends what the socket takes. Call when it has drained. */
  flush(): void {
    if (!this.#isOpen) return
    while (this.#head < this.#waiting.length && this.#host.canSend()) {
      const frames = this.#next()
      if (frames.length === 0) break
      this.#movedAtMs = this.#now()
      this.#host.send(frames.length === 1 ? frames[0]! : Buffer.concat(frames))
    }
    if (this.#head === this.#waiting.length) {
      this.#waiting = []
      this.#head = 0
      this.#qos0From = 0
    }
    this.#relieve()
  }

  /** The connection is over. */
  discard(): void {
    this.#account(-this.#bytes)
    this.#waiting = []
    this.#head = 0
    this.#qos0From = 0
    this.#qos0 = 0
    this.#acked = 0
    this.#inFlight.clear()
    this.#isOpen = false
    this.#relieve()
  }

  #relieve(): void {
    if (!this.#wasPressed || this.isPressed) return
    this.#wasPressed = false
    this.#host.onRelieved()
  }

  #ackedBytesHigh(maxBytes: number): boolean {
    return this.#acked > 0 && this.#qos0 === 0 && this.#bytes * 2 >= maxBytes
  }

  #next(): Buffer[] {
    const frames: Buffer[] = []
    let bytes = 0
    while (this.#head < this.#waiting.length && bytes < WRITE_BYTES) {
      const waiting = this.#waiting[this.#head]!
      if (waiting !== null) {
        if (waiting.qos > 0) {
          if (this.#inFlight.size >= this.#limits.maxSubscriberMessages) break
          this.#inFlight.set(waiting.packetId, waiting.qos === 1 ? PUBACK : PUBREC)
          this.#acked -= 1
        } else if (waiting.qos === 0) this.#qos0 -= 1
        else if ((waiting.frame[0]! & 0xf0) === PUBREL)
          this.#inFlight.set(pubrelId(waiting.frame), PUBCOMP)
        if (waiting.qos >= 0) this.#stats.localCopies.delivered += 1
        frames.push(waiting.frame)
        bytes += waiting.frame.length
        this.#waiting[this.#head] = null
      }
      this.#head += 1
    }
    this.#account(-bytes)
    return frames
  }

  #keepBounds(qos: CopyQos): void {
    let dropped = 0
    while (this.#isOverfull() && this.#qos0 > 0) {
      this.#dropOldestQos0()
      dropped += 1
    }
    if (dropped > 0) {
      this.#stats.localCopies.dropped += dropped
      this.#host.onCopiesDropped(dropped)
    }
    if (qos !== 0 && this.#isOverfull()) this.#host.onOverflow()
  }

  #isOverfull(): boolean {
    const { maxSubscriberMessages, maxSubscriberBytes, maxSubscriberBytesTotal } = this.#limits
    return (
      this.#waiting.length - this.#head > 0 &&
      (this.#acked + this.#qos0 > maxSubscriberMessages ||
        this.#bytes > maxSubscriberBytes ||
        this.#stats.subscriberBytes > maxSubscriberBytesTotal)
    )
  }

  #dropOldestQos0(): void {
    let at = Math.max(this.#qos0From, this.#head)
    while (this.#waiting[at]?.qos !== 0) at += 1
    this.#account(-this.#waiting[at]!.frame.length)
    this.#waiting[at] = null
    this.#qos0 -= 1
    this.#qos0From = at + 1
    this.#compact()
  }

  /** Dropped copies leave holes; a consumer that never reads must not make the list grow. */
  #compact(): void {
    while (this.#head < this.#waiting.length && this.#waiting[this.#head] === null) this.#head += 1
    if (this.#head < 1024 && this.#waiting.length < 4 * this.#limits.maxSubscriberMessages) return
    this.#waiting = this.#waiting.slice(this.#head).filter((waiting) => waiting !== null)
    this.#head = 0
    this.#qos0From = 0
  }

  #account(bytes: number): void {
    this.#bytes += bytes
    this.#stats.subscriberBytes += bytes
  }
}

function copyQos(frame: Buffer): CopyQos {
  const first = frame[0]!
  return (first & 0xf0) === PUBLISH ? (((first >> 1) & 3) as 0 | 1 | 2) : -1
}

function pubrelId(frame: Buffer): number {
  return frame.readUInt16BE(bodyOffset(frame, 0))
}

function packetIdOf(frame: Buffer): number {
  let at = 1
  while (frame[at]! >= 0x80) at += 1
  return frame.readUInt16BE(at + 3 + frame.readUInt16BE(at + 1))
}
