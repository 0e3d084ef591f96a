/**
 * Copies that wait for persistent local sessions at QoS 1 and 2: those of sessions that are away,
 * and those that were sent and not acknowledged. Bounded (I6): per session in messages and bytes,
 * and in bytes over all sessions. What has to go is the session's oldest copy; when all queues together are too large, the session whose queue has waited longest pays
 * first. Everything dropped is counted (I9). The store of copies is told
 * of each that leaves.
 */
import type { Ticket } from '../../ports/appender.ts'
import type { Qos } from '../mqtt/publish.ts'
import type { MessageOptions } from '../mqtt/v5/message-options.ts'

/** A copy that a session is owed, or the PUBREL that took its place. */
export interface KeptCopy {
  /** PUBREC came: PUBREL is owed, and topic and payload are no longer. */
  isRelease: boolean
  topic: string
  payload: Buffer
  qos: Qos
  retain: boolean
  /** Of MQTT 5; null: none. */
  options: MessageOptions | null
  /** Subscription Identifiers of those that it is for. */
  identifiers: readonly number[]
  /** A copy that is stored has it from the beginning, another one once it is sent; 0: not yet. */
  packetId: number
  /** It was sent, or may have been by an earlier run. */
  wasSent: boolean
  /** It was acknowledged or dropped: it is owed no longer. */
  isGone: boolean
  /** Its key in the store; null: it is not there. */
  storedAs: string | null
  /** Of a PUBREL: the commit that has it in the store. */
  notedBy: Ticket | null
}

export interface QueueLimits {
  readonly maxSubscriberMessages: number
  readonly maxSubscriberBytes: number
  readonly maxSubscriberBytesTotal: number
}

export type CopyDropReason = 'session-full' | 'all-full'

/**
 * What a queued copy costs beside its topic and payload: the object, its entry, the buffer's
 * header.
 */
const ENTRY_OVERHEAD_BYTES = 200

/** Each has a packet id, of which there are 65,535; some are left for retained messages. */
const MAX_COPIES_OF_A_SESSION = 60_000

const NO_BYTES = Buffer.alloc(0)

interface Entry {
  readonly copy: KeptCopy
  /** What it counted for when it came. */
  readonly bytes: number
}

interface Queue {
  readonly entries: Entry[]
  bytes: number
}

/** A copy that nothing has happened to. */
export function newCopy(
  message: Pick<KeptCopy, 'topic' | 'payload' | 'qos' | 'retain' | 'options'>,
  identifiers: readonly number[] = [],
): KeptCopy {
  const { topic, payload, qos, retain, options } = message
  return {
    isRelease: false,
    topic,
    payload,
    qos,
    retain,
    options,
    identifiers,
    packetId: 0,
    wasSent: false,
    isGone: false,
    storedAs: null,
    notedBy: null,
  }
}

/** The PUBREL for this packet id. */
export function newRelease(packetId: number): KeptCopy {
  const copy = newCopy({ topic: '', payload: NO_BYTES, qos: 2, retain: false, options: null })
  return Object.assign(copy, { isRelease: true, wasSent: true, packetId })
}

export class SessionQueues {
  readonly #limits: QueueLimits
  readonly #onDrop: (clientId: string, reason: CopyDropReason) => void
  readonly #onRemoved: (clientId: string, copy: KeptCopy) => void
  /** In order of creation: a queue is deleted when it is empty, so the first has waited longest. */
  readonly #queues = new Map<string, Queue>()
  #bytes = 0
  #messages = 0
  #dropped = 0

  /** `onRemoved`: for whatever reason; also for a copy that was not taken. */
  constructor(
    limits: QueueLimits,
    onDrop: (clientId: string, reason: CopyDropReason) => void,
    onRemoved: (clientId: string, copy: KeptCopy) => void,
  ) {
    const maxSubscriberMessages = Math.min(limits.maxSubscriberMessages, MAX_COPIES_OF_A_SESSION)
    this.#limits = { ...limits, maxSubscriberMessages }
    this.#onDrop = onDrop
    this.#onRemoved = onRemoved
  }

  get bytes(): number {
    return this.#bytes
  }

  get messages(): number {
    return this.#messages
  }

  /** Copies dropped since the start. */
  get dropped(): number {
    return this.#dropped
  }

  /** False: it is too large for every queue. */
  enqueue(clientId: string, copy: KeptCopy): boolean {
    // A PUBREL of an earlier run: the subscriber waits for it, whatever the bounds are now.
    if (copy.isRelease) {
      this.#append(clientId, { copy, bytes: ENTRY_OVERHEAD_BYTES })
      return true
    }
    const { maxSubscriberMessages, maxSubscriberBytes, maxSubscriberBytesTotal } = this.#limits
    const bytes = copyBytes(copy)
    if (
      bytes > maxSubscriberBytes ||
      bytes > maxSubscriberBytesTotal ||
      maxSubscriberMessages < 1
    ) {
      this.#leave(clientId, copy)
      this.#count(clientId, 'session-full')
      return false
    }
    let queue = this.#queues.get(clientId)
    while (
      queue !== undefined &&
      (queue.entries.length >= maxSubscriberMessages || queue.bytes + bytes > maxSubscriberBytes)
    ) {
      this.#evict(clientId, queue, 'session-full')
      queue = this.#queues.get(clientId)
    }
    while (this.#bytes + bytes > maxSubscriberBytesTotal) {
      const [victim] = this.#queues
      if (victim === undefined) break
      this.#evict(victim[0], victim[1], 'all-full')
    }
    this.#append(clientId, { copy, bytes })
    return true
  }

  /**
   * PUBREC came for this packet id: the PUBREL takes the place of the copy. One whose copy is not
   * kept (it was dropped, or is a retained message) is kept all the same: the subscriber waits for
   * it.
   */
  release(clientId: string, packetId: number): KeptCopy {
    const entries = this.#queues.get(clientId)?.entries ?? []
    const copy = entries.find((entry) => entry.copy.packetId === packetId)?.copy
    if (copy === undefined) {
      const release = newRelease(packetId)
      this.#append(clientId, { copy: release, bytes: ENTRY_OVERHEAD_BYTES })
      return release
    }
    copy.isRelease = true
    copy.topic = ''
    copy.payload = NO_BYTES
    copy.options = null
    copy.identifiers = []
    return copy
  }

  has(clientId: string, packetId: number): boolean {
    const entries = this.#queues.get(clientId)?.entries ?? []
    return entries.some(({ copy }) => copy.packetId === packetId)
  }

  /** The subscriber has it: removes the copy with this packet id, if it is kept. */
  acknowledge(clientId: string, packetId: number): void {
    const queue = this.#queues.get(clientId)
    const index = queue?.entries.findIndex(({ copy }) => copy.packetId === packetId) ?? -1
    if (queue !== undefined && index >= 0) this.#remove(clientId, queue, index)
  }

  /** It is not to be sent. */
  withdraw(clientId: string, copy: KeptCopy): void {
    const queue = this.#queues.get(clientId)
    const index = queue?.entries.findLastIndex((entry) => entry.copy === copy) ?? -1
    if (queue !== undefined && index >= 0) this.#remove(clientId, queue, index)
  }

  /** What is owed to the session, oldest first. */
  of(clientId: string): readonly KeptCopy[] {
    return (this.#queues.get(clientId)?.entries ?? []).map(({ copy }) => copy)
  }

  get clientIds(): readonly string[] {
    return [...this.#queues.keys()]
  }

  /** The session ended: what waited for it goes, uncounted, because it is owed no longer. */
  discard(clientId: string): void {
    const queue = this.#queues.get(clientId)
    if (queue === undefined) return
    this.#bytes -= queue.bytes
    this.#messages -= queue.entries.length
    this.#queues.delete(clientId)
    for (const { copy } of queue.entries) this.#leave(clientId, copy)
  }

  #append(clientId: string, entry: Entry): void {
    let queue = this.#queues.get(clientId)
    if (queue === undefined) {
      queue = { entries: [], bytes: 0 }
      this.#queues.set(clientId, queue)
    }
    queue.entries.push(entry)
    queue.bytes += entry.bytes
    this.#bytes += entry.bytes
    this.#messages += 1
  }

  #remove(clientId: string, queue: Queue, index: number): void {
    const [entry] = queue.entries.splice(index, 1)
    if (entry === undefined) throw new RangeError(`no entry ${index} in the queue`)
    queue.bytes -= entry.bytes
    this.#bytes -= entry.bytes
    this.#messages -= 1
    if (queue.entries.length === 0) this.#queues.delete(clientId)
    this.#leave(clientId, entry.copy)
  }

  #leave(clientId: string, copy: KeptCopy): void {
    copy.isGone = true
    this.#onRemoved(clientId, copy)
  }

  #evict(clientId: string, queue: Queue, reason: CopyDropReason): void {
    this.#remove(clientId, queue, victimOf(queue))
    this.#count(clientId, reason)
  }

  #count(clientId: string, reason: CopyDropReason): void {
    this.#dropped += 1
    this.#onDrop(clientId, reason)
  }
}

/**
 * The oldest copy. What belongs to a QoS 2 exchange that has begun is passed over while there is
 * another: the subscriber keeps its packet id, and would take a later message under it for a
 * duplicate.
 */
function victimOf(queue: Queue): number {
  const index = queue.entries.findIndex(({ copy }) => !isOpenExchange(copy))
  return Math.max(index, 0)
}

function isOpenExchange({ isRelease, qos, wasSent }: KeptCopy): boolean {
  return isRelease || (qos === 2 && wasSent)
}

/** What a copy counts for. */
export function copyBytes({
  topic,
  payload,
  options,
}: Pick<KeptCopy, 'topic' | 'payload' | 'options'>): number {
  return ENTRY_OVERHEAD_BYTES + topic.length + payload.length + (options?.forwarded.length ?? 0)
}
