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
import { Fifo } from '../../shared/fifo.ts'
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

const isQos0 = ({ qos }: Waiting): boolean => qos === 0

export class OutboundQueue {
  readonly #limits: SubscriberLimits
  readonly #stats: BrokerStats
  readonly #host: OutboundHost
  readonly #now: () => number
  readonly #waiting = new Fifo<Waiting>(isQos0)
  /** Copies at QoS 1 and 2 among them. */
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
    if (qos > 0) this.#acked += 1
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
    while (this.#waiting.length > 0 && this.#host.canSend()) {
      const frames = this.#next()
      if (frames.length === 0) break
      this.#movedAtMs = this.#now()
      this.#host.send(frames.length === 1 ? frames[0]! : Buffer.concat(frames))
    }
    this.#relieve()
  }

  /** The connection is over. */
  discard(): void {
    this.#account(-this.#bytes)
    this.#waiting.clear()
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
    return this.#acked > 0 && this.#waiting.expendable === 0 && this.#bytes * 2 >= maxBytes
  }

  /** The frames of one write. */
  #next(): Buffer[] {
    const frames: Buffer[] = []
    let bytes = 0
    for (let next = this.#waiting.first; next !== null; next = this.#waiting.first) {
      const { frame, qos, packetId } = next
      if (bytes >= WRITE_BYTES) break
      if (qos > 0) {
        if (this.#inFlight.size >= this.#limits.maxSubscriberMessages) break
        this.#inFlight.set(packetId, qos === 1 ? PUBACK : PUBREC)
        this.#acked -= 1
      } else if (qos < 0 && (frame[0]! & 0xf0) === PUBREL) {
        this.#inFlight.set(pubrelId(frame), PUBCOMP)
      }
      if (qos >= 0) this.#stats.localCopies.delivered += 1
      this.#waiting.shift()
      frames.push(frame)
      bytes += frame.length
    }
    this.#account(-bytes)
    return frames
  }

  #keepBounds(qos: CopyQos): void {
    let dropped = 0
    while (this.#isOverfull() && this.#waiting.expendable > 0) {
      this.#account(-this.#waiting.shiftExpendable()!.frame.length)
      dropped += 1
    }
    if (dropped > 0) this.#host.onCopiesDropped(dropped)
    if (qos !== 0 && this.#isOverfull()) this.#host.onOverflow()
  }

  #isOverfull(): boolean {
    const { maxSubscriberMessages, maxSubscriberBytes, maxSubscriberBytesTotal } = this.#limits
    return (
      this.#waiting.length > 0 &&
      (this.#acked + this.#waiting.expendable > maxSubscriberMessages ||
        this.#bytes > maxSubscriberBytes ||
        this.#stats.subscriberBytes > maxSubscriberBytesTotal)
    )
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
