/**
 * The stream that aedes takes for a socket. Inbound it gets only the frames that the gate forwards;
 * outbound its chunks become whole frames, or acks of the gate would land inside them.
 *
 * aedes removes all 'error', 'readable' and 'drain' listeners of its stream and emits a false
 * 'drain', so no listener here carries logic: everything goes through overridden methods and the
 * owner.
 */
import { Duplex } from 'node:stream'
import type { RetainedSubscriber } from '../consumers/retained-delivery.ts'
import type { Will } from '../mqtt/connect.ts'
import { FrameJoiner } from '../mqtt/frame-joiner.ts'
import { bodyOffset, PUBLISH } from '../mqtt/packets.ts'

/** The connection that aedes' client stands for. */
export interface DuplexOwner {
  /** One whole frame that aedes wrote. */
  onAedesFrame(frame: Buffer): void
  /** aedes has read what it was fed, and takes more. */
  onAedesDemand(): void
  /** aedes destroyed its stream, or it was destroyed; called once. */
  onAedesClosed(): void
  /**
   * aedes has unsubscribed and unregistered the client and published its will; called once, after
   * the above.
   */
  onAedesFinished(): void
  /**
   * False: copies at QoS 1 or 2 wait already; aedes then waits for 'drain' where it replays a
   * queue.
   */
  takesCopies(): boolean
  /** The access rule for one filter of a SUBSCRIBE. */
  maySubscribe(filter: string): boolean
  /** The access rule for one copy that is about to be sent. */
  mayReceive(topic: string): boolean
  /**
   * A SUBSCRIBE is answered: its retained messages are due. `since`: the moment (DeliveryOrder) in
   * which it took effect.
   */
  onSubscribed(subscriber: RetainedSubscriber, filters: readonly string[], since: number): void
  /** The will is due. Call `done` when it was appended or dropped: its stored copy is then deleted. */
  onWill(will: Will, done: () => void): void
}

interface DuplexSession {
  /** The client is another broker. */
  readonly isBridge: boolean
  /** The client continues a session, and may know packet ids of it. */
  readonly isResumed: boolean
  /** Client id of a session that outlives the connection; null: it ends with it. */
  readonly sessionId: string | null
}

/** What the stream needs to know of aedes' client, which aedes puts into `conn.client`. */
interface AedesClientState {
  readonly closed: boolean
  readonly connected: boolean
  readonly connecting: boolean
  /** By filter. */
  readonly subscriptions: Readonly<Record<string, unknown>>
}

type WriteCallback = (error?: Error | null) => void

export class GateDuplex extends Duplex {
  /** Set by aedes. */
  client: AedesClientState | undefined
  readonly owner: DuplexOwner
  readonly session: DuplexSession
  /** The subscriptions of its session are in place. */
  isRestored = false
  /** What was queued for its session is sent: what is handed over from here on comes directly. */
  isReplayed = false
  readonly #joiner: FrameJoiner
  #wantsMore = true
  #isFinished = false
  /**
   * Copies that leave with RETAIN set: aedes would not note that a copy with RETAIN was sent, and
   * send it again.
   */
  readonly #retained = new Set<number>()

  constructor(owner: DuplexOwner, session: DuplexSession) {
    super({ allowHalfOpen: true, autoDestroy: true })
    this.owner = owner
    this.session = session
    this.#joiner = new FrameJoiner((frame) => owner.onAedesFrame(this.#withRetainFlag(frame)))
  }

  /**
   * Hands aedes one frame, which must not be a view of a read buffer. False: wait for
   * `onAedesDemand`.
   */
  feed(frame: Buffer): boolean {
    if (this.destroyed || this.readableEnded) return true
    this.#wantsMore = this.push(frame)
    return this.#wantsMore
  }

  /** The copy with this packet id is to leave with RETAIN set. */
  retain(packetId: number): void {
    this.#retained.add(packetId)
  }

  /** A frame that aedes wrote, as it is to leave. */
  #withRetainFlag(frame: Buffer): Buffer {
    const first = frame[0]!
    if (this.#retained.size === 0 || (first & 0xf0) !== PUBLISH || (first & 0x06) === 0)
      return frame
    const body = bodyOffset(frame, 0)
    if (!this.#retained.delete(frame.readUInt16BE(body + 2 + frame.readUInt16BE(body))))
      return frame
    const marked = Buffer.from(frame)
    marked[0] = first | 0x01
    return marked
  }

  get wantsMore(): boolean {
    return this.#wantsMore
  }

  /** No more input. aedes reads what is left, then closes; call `destroy` when it does not. */
  endInput(): void {
    if (!this.destroyed) this.push(null)
  }

  override _read(): void {
    if (this.#wantsMore) return
    this.#wantsMore = true
    this.owner.onAedesDemand()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    this.#joiner.push(chunk)
    callback()
  }

  override _writev(chunks: { chunk: Buffer }[], callback: WriteCallback): void {
    for (const { chunk } of chunks) this.#joiner.push(chunk)
    callback()
  }

  override write(
    chunk: unknown,
    encoding?: BufferEncoding | WriteCallback,
    callback?: WriteCallback,
  ): boolean {
    const hasRoom =
      typeof encoding === 'function' || encoding === undefined
        ? super.write(chunk, encoding)
        : super.write(chunk, encoding, callback)
    return hasRoom && this.owner.takesCopies()
  }

  override destroy(error?: Error): this {
    super.destroy(error)
    // aedes' close() ends with a destroy, after it has cleared these; other calls of destroy come
    // before that.
    const { client } = this
    const isLast =
      client === undefined || (client.closed && !client.connected && !client.connecting)
    if (isLast && !this.#isFinished) {
      this.#isFinished = true
      this.owner.onAedesFinished()
    }
    return this
  }

  /**
   * The error is aedes' own notice of why it closes; passed on, it would be thrown where nothing
   * catches it.
   */
  override _destroy(_error: Error | null, callback: WriteCallback): void {
    this.owner.onAedesClosed()
    callback(null)
  }
}
