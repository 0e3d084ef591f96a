/**
 * What is to be sent to one local subscriber and the socket has not taken yet, in order: copies,
 * and the answers to its SUBSCRIBEs between them. A consumer that stops reading fills this queue
 * and nothing else (I6): beyond the bounds its oldest QoS 0 copies go, counted; a consumer that lets
 * QoS 1 or 2 copies pile up is reported as overflowing, and disconnected by the gate.
 *
 * QoS 1 and 2 copies are sent `maxSubscriberMessages` ahead of their acks at most, and no more than
 * the client's Receive Maximum [MQTT-3.3.4-9]. Answers pass those that wait for acks
 * [MQTT-3.3.4-10]. Acks of the gate do not pass through here: they are never behind copies.
 */
import { Fifo } from '../../shared/fifo.ts'
import type { MqttLimits } from '../config.ts'
import { PUBACK, PUBCOMP, PUBREC, pubrel } from '../mqtt/packets.ts'
import type { KeptCopy } from '../sessions/session-queues.ts'
import type { BrokerStats } from '../stats.ts'
import { type CopyFrame, isExpired, writeCopy } from './copy-frames.ts'

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
  /** Wall clock, ms since the epoch. */
  nowMs(): number
  /** A copy whose Message Expiry Interval has passed is not sent. */
  onExpired(kept: KeptCopy | null): void
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
  /** Of a PUBREL; 0: it is none. */
  readonly releaseId: number
  /** Of an answer: how many copies had been pushed before it; null: it is a copy. */
  readonly behind: number | null
  /** What the session keeps of it; null: nothing. */
  readonly kept: KeptCopy | null
  /** The shared subscription that it is for; null: none. */
  readonly share: Share | null
}

/** A copy that goes to another member of its group if this one does not acknowledge it. */
export interface Share {
  /** Sends it to another member. */
  pass(): void
}

/** One write to the socket; large enough to cost one system call for many copies. */
const WRITE_BYTES = 64 * 1024

const isQos0 = ({ frame }: Waiting): boolean => frame.qos === 0

export class OutboundQueue {
  readonly #limits: SubscriberLimits
  readonly #stats: BrokerStats
  readonly #host: OutboundHost
  readonly #now: () => number
  readonly #window: number
  readonly #waiting = new Fifo<Waiting>(isQos0)
  /** SUBACKs, UNSUBACKs and PUBRELs: never dropped. */
  readonly #answers = new Fifo<Waiting>()
  /** Copies that were pushed, and those of them that have left the queue. */
  #pushed = 0
  #left = 0
  /** Copies at QoS 1 and 2 among them. */
  #acked = 0
  #bytes = 0
  /** Packet ids of what was sent and not acknowledged, each with the ack that is due next. */
  readonly #inFlight = new Map<number, CopyAck>()
  /** Those of shared subscriptions at QoS 1 among them; null: there was none yet. */
  #shared: Map<number, Share> | null = null
  #isOpen = true
  #isFlushDue = false
  #wasPressed = false
  /** When copies at QoS 1 or 2 last began to wait, or moved. */
  #movedAtMs = 0

  /** `receiveMaximum`: copies at QoS 1 and 2 that the client takes without having acknowledged them. */
  constructor(
    limits: SubscriberLimits,
    stats: BrokerStats,
    host: OutboundHost,
    now: () => number,
    receiveMaximum: number,
  ) {
    this.#limits = limits
    this.#window = Math.min(limits.maxSubscriberMessages, receiveMaximum)
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

  /** A copy. `kept`: what the session keeps of it. `share`: see {@link Share}. */
  push(frame: CopyFrame, kept: KeptCopy | null, share: Share | null = null): void {
    if (frame.qos > 0 && this.#acked + this.#inFlight.size === 0) this.#movedAtMs = this.#now()
    if (frame.qos > 0) this.#acked += 1
    this.#pushed += 1
    this.#push(this.#waiting, { frame, releaseId: 0, behind: null, kept, share })
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
    else {
      this.#inFlight.delete(packetId)
      this.#shared?.delete(packetId)
    }
    this.#movedAtMs = this.#now()
    this.flush()
  }

  /** Sends what the socket takes. Call when it has drained. */
  flush(): void {
    if (!this.#isOpen) return
    while (!this.#isEmpty && this.#host.canSend()) {
      const bytes = this.#next()
      if (bytes === null) break
      this.#movedAtMs = this.#now()
      this.#host.send(bytes)
    }
    this.#relieve()
  }

  /** PUBREC came with a refusing code: nothing follows. */
  refused(packetId: number): void {
    this.acknowledged(PUBCOMP, packetId)
  }

  /** The connection is over. Returns the copies at QoS 1 that are for another member of their group. */
  discard(): Share[] {
    const shares = [...(this.#shared?.values() ?? [])]
    for (const { frame, share } of this.#waiting)
      if (share !== null && frame.qos === 1) shares.push(share)
    this.#shared = null
    this.#account(-this.#bytes)
    this.#waiting.clear()
    this.#answers.clear()
    this.#acked = 0
    this.#inFlight.clear()
    this.#isOpen = false
    this.#relieve()
    return shares
  }

  #pushAnswer(bytes: Buffer, releaseId: number): void {
    const frame = { bytes, qos: 0, idAt: 0, expiryAt: 0, options: null } as const
    const behind = this.#pushed
    this.#push(this.#answers, { frame, releaseId, behind, kept: null, share: null })
  }

  get #isEmpty(): boolean {
    return this.#waiting.length + this.#answers.length === 0
  }

  #push(queue: Fifo<Waiting>, waiting: Waiting): void {
    queue.push(waiting)
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
    while (bytes < WRITE_BYTES) {
      const next = this.#waiting.first
      const isGone = next !== null && this.#isGone(next)
      const isHeld = next !== null && !isGone && next.frame.qos > 0 && flying >= this.#window
      const answer = this.#takeAnswer(next === null || isHeld)
      if (answer !== null) {
        if (answer.releaseId > 0) flying += 1
        due.push(answer)
        bytes += answer.frame.bytes.length
        continue
      }
      if (next === null || isHeld) break
      const { frame, kept } = next
      this.#waiting.shift()
      this.#left += 1
      if (frame.qos > 0) this.#acked -= 1
      this.#account(-frame.bytes.length)
      if (isGone) {
        if (kept?.isGone !== true) this.#host.onExpired(kept)
        continue
      }
      if (frame.qos > 0) flying += 1
      due.push(next)
      bytes += frame.bytes.length
    }
    return due.length === 0 ? null : this.#write(due, bytes)
  }

  /** It was dropped from the queue of its session, or has expired. */
  #isGone({ frame, kept }: Waiting): boolean {
    if (kept?.isGone === true) return true
    // [MQTT-4.3.3-7]: the client may know its packet id, and would take a later message for it.
    const isBegun = frame.qos === 2 && kept?.wasSent === true
    return !isBegun && isExpired(frame, this.#host.nowMs())
  }

  /** The answer whose turn it is. `isFree`: no copy may leave before it. */
  #takeAnswer(isFree: boolean): Waiting | null {
    const answer = this.#answers.first
    if (answer === null || (!isFree && answer.behind! > this.#left)) return null
    this.#answers.shift()
    this.#account(-answer.frame.bytes.length)
    return answer
  }

  #write(due: readonly Waiting[], bytes: number): Buffer {
    const out = Buffer.allocUnsafe(bytes)
    let at = 0
    const nowMs = this.#host.nowMs()
    for (const { frame, behind, releaseId, kept, share } of due) {
      if (releaseId > 0) this.#inFlight.set(releaseId, PUBCOMP)
      let packetId = 0
      let dup = false
      if (frame.qos > 0) {
        packetId = kept !== null && kept.packetId > 0 ? kept.packetId : this.#host.takePacketId()
        this.#inFlight.set(packetId, frame.qos === 1 ? PUBACK : PUBREC)
        if (share !== null && frame.qos === 1) (this.#shared ??= new Map()).set(packetId, share)
        if (kept !== null) {
          // [MQTT-3.3.1-1]
          dup = kept.wasSent
          kept.packetId = packetId
          kept.wasSent = true
        }
      }
      if (behind === null) this.#stats.localCopies.delivered += 1
      at = writeCopy(out, at, frame, { packetId, dup, nowMs })
    }
    return out
  }

  #keepBounds({ frame, behind }: Waiting): void {
    let dropped = 0
    while (this.#isOverfull() && this.#waiting.expendable > 0) {
      this.#account(-this.#waiting.shiftExpendable()!.frame.bytes.length)
      this.#left += 1
      dropped += 1
    }
    if (dropped > 0) this.#host.onCopiesDropped(dropped)
    if ((behind !== null || frame.qos > 0) && this.#isOverfull()) this.#host.onOverflow()
  }

  #isOverfull(): boolean {
    const { maxSubscriberMessages, maxSubscriberBytes, maxSubscriberBytesTotal } = this.#limits
    return (
      !this.#isEmpty &&
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
