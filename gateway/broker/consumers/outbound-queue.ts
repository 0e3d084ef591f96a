/**
 * What is to be sent to one local subscriber and the socket has not taken yet, in order: copies,
 * and the answers to its SUBSCRIBEs between them. A consumer that stops reading fills this queue
 * and nothing else (I6): beyond the bounds its oldest QoS 0 copies go, counted; a consumer that lets
 * QoS 1 or 2 copies pile up is reported as overflowing, and disconnected by the gate.
 *
 * QoS 1 and 2 copies are sent `maxSubscriberMessages` ahead of their acks at most. Acks of the gate
 * do not pass through here: they are never behind copies.
 */
import { Fifo } from '../../shared/fifo.ts'
import type { MqttLimits } from '../config.ts'
import { PUBACK, PUBCOMP, PUBREC, pubrel } from '../mqtt/packets.ts'
import type { KeptCopy } from '../sessions/session-queues.ts'
import type { BrokerStats } from '../stats.ts'
import { type CopyFrame, writeCopy } from './copy-frames.ts'

export type SubscriberLimits = Pick<
  MqttLimits,
  'maxSubscriberMessages' | 'maxSubscriberBytes' | 'maxSubscriberBytesTotal'
>

export interface OutboundHost {
  /** The socket is up and has taken what it was given. */
  canSend(): boolean
  send(bytes: Uint8Array): void
  /** A packet id that is neither kept nor in flight. */
  takePacketId(): number
  onCopiesDropped(count: number): void
  /** QoS 1 or 2 copies do not fit. */
  onOverflow(): void
  /** `isPressed` became true. */
  onPressed(): void
  /** There is room again. */
  onRelieved(): void
}

/** The acks of copies. */
export type CopyAck = typeof PUBACK | typeof PUBREC | typeof PUBCOMP

interface Waiting {
  readonly frame: CopyFrame
  /** Never dropped, and no copy. */
  readonly isAnswer: boolean
  /** Of a PUBREL; 0: it is none. */
  readonly releaseId: number
  /** What the session keeps of it; null: nothing. */
  readonly kept: KeptCopy | null
}

/** One write to the socket; large enough to cost one system call for many copies. */
const WRITE_BYTES = 64 * 1024

const isQos0 = ({ frame, isAnswer }: Waiting): boolean => !isAnswer && frame.qos === 0

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
  #isOpen = true
  #isFlushDue = false
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

  /** More of what is kept for the session may be pushed. */
  get hasRoom(): boolean {
    const { maxSubscriberMessages, maxSubscriberBytes } = this.#limits
    return (
      this.#acked + this.#inFlight.size < maxSubscriberMessages &&
      !this.#ackedBytesHigh(maxSubscriberBytes)
    )
  }

  /** How long it has been pressed without taking or acknowledging anything, ms; 0 if it is not. */
  stalledMs(now: number): number {
    return this.isPressed ? now - this.#movedAtMs : 0
  }

  /** SUBACK or UNSUBACK. */
  answer(bytes: Buffer): void {
    this.#pushAnswer(bytes, 0)
    this.flush()
  }

  /** A copy. `kept`: what the session keeps of it. */
  push(frame: CopyFrame, kept: KeptCopy | null): void {
    if (frame.qos > 0 && this.#acked + this.#inFlight.size === 0) this.#movedAtMs = this.#now()
    if (frame.qos > 0) this.#acked += 1
    this.#push({ frame, isAnswer: false, releaseId: 0, kept })
    if (this.#wasPressed || !this.isPressed) return
    this.#wasPressed = true
    this.#host.onPressed()
  }

  /** PUBREL, in its turn. */
  release(packetId: number): void {
    this.#pushAnswer(pubrel(packetId), packetId)
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
      const bytes = this.#next()
      if (bytes === null) break
      this.#movedAtMs = this.#now()
      this.#host.send(bytes)
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

  #pushAnswer(bytes: Buffer, releaseId: number): void {
    this.#push({ frame: { bytes, qos: 0, idAt: 0 }, isAnswer: true, releaseId, kept: null })
  }

  #push(waiting: Waiting): void {
    this.#waiting.push(waiting)
    this.#account(waiting.frame.bytes.length)
    if (this.#isOverfull()) {
      this.flush()
      this.#keepBounds(waiting)
    }
    this.#flushSoon()
  }

  /** What is pushed in one run of the program, a few hundred copies, is one write. */
  #flushSoon(): void {
    if (this.#isFlushDue || !this.#isOpen) return
    this.#isFlushDue = true
    queueMicrotask(() => {
      this.#isFlushDue = false
      this.flush()
    })
  }

  #relieve(): void {
    if (!this.#wasPressed || this.isPressed) return
    this.#wasPressed = false
    this.#host.onRelieved()
  }

  #ackedBytesHigh(maxBytes: number): boolean {
    return this.#acked > 0 && this.#waiting.expendable === 0 && this.#bytes * 2 >= maxBytes
  }

  /** The bytes of one write; null: what is next waits for acks. */
  #next(): Buffer | null {
    const due: Waiting[] = []
    let bytes = 0
    let flying = this.#inFlight.size
    for (let next = this.#waiting.first; next !== null; next = this.#waiting.first) {
      if (bytes >= WRITE_BYTES) break
      const { frame, kept } = next
      const isGone = kept?.isGone === true
      if (frame.qos > 0 && !isGone) {
        if (flying >= this.#limits.maxSubscriberMessages) break
        flying += 1
      }
      this.#waiting.shift()
      if (frame.qos > 0) this.#acked -= 1
      this.#account(-frame.bytes.length)
      // It was dropped from the queue of its session.
      if (isGone) continue
      due.push(next)
      bytes += frame.bytes.length
    }
    return due.length === 0 ? null : this.#write(due, bytes)
  }

  #write(due: readonly Waiting[], bytes: number): Buffer {
    const out = Buffer.allocUnsafe(bytes)
    let at = 0
    for (const { frame, isAnswer, releaseId, kept } of due) {
      if (releaseId > 0) this.#inFlight.set(releaseId, PUBCOMP)
      let packetId = 0
      let dup = false
      if (frame.qos > 0) {
        packetId = kept !== null && kept.packetId > 0 ? kept.packetId : this.#host.takePacketId()
        this.#inFlight.set(packetId, frame.qos === 1 ? PUBACK : PUBREC)
        if (kept !== null) {
          // [MQTT-3.3.1-1]
          dup = kept.wasSent
          kept.packetId = packetId
          kept.wasSent = true
        }
      }
      if (!isAnswer) this.#stats.localCopies.delivered += 1
      at = writeCopy(out, at, frame, packetId, dup)
    }
    return out
  }

  #keepBounds({ frame, isAnswer }: Waiting): void {
    let dropped = 0
    while (this.#isOverfull() && this.#waiting.expendable > 0) {
      this.#account(-this.#waiting.shiftExpendable()!.frame.bytes.length)
      dropped += 1
    }
    if (dropped > 0) this.#host.onCopiesDropped(dropped)
    if ((isAnswer || frame.qos > 0) && this.#isOverfull()) this.#host.onOverflow()
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
