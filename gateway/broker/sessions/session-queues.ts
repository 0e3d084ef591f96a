/**
 * Copies that wait for persistent local sessions at QoS 1 and 2: those of sessions that are away,
 * and those that were sent and not acknowledged. Bounded (I6): per session in messages and bytes,
 * and in bytes over all sessions. What has to go is the session's oldest copy; when all queues together are too large, the session whose queue has waited longest pays
 * first. Everything dropped is counted (I9). The store of copies is told
 * of each that leaves.
 */

/** A packet as aedes queues it: a PUBLISH, or the PUBREL that took its place. */
export interface QueuedPacket {
  readonly cmd: string
  brokerId?: string | undefined
  brokerCounter?: number | undefined
  readonly topic?: string | undefined
  readonly payload?: Uint8Array | string | undefined
  qos?: number
  retain?: boolean
  dup?: boolean
  /** A copy that is stored has it from the beginning, another one once it was sent. */
  messageId?: number | null | undefined
  /** Its key in the store; absent: it is not there. */
  storedAs?: string | undefined
  /** Of a PUBREL: the commit that has it in the store. */
  notedBy?: number | undefined
}

export interface QueueLimits {
  readonly maxSubscriberMessages: number
  readonly maxSubscriberBytes: number
  readonly maxSubscriberBytesTotal: number
}

export type CopyDropReason = 'session-full' | 'all-full'

/**
 * What a queued packet costs beside its topic and payload: the object, its entry, the buffer's
 * header.
 */
const ENTRY_OVERHEAD_BYTES = 200

/** Each has a packet id, of which there are 65,535; some are left for retained messages. */
const MAX_COPIES_OF_A_SESSION = 60_000

interface Entry {
  packet: QueuedPacket
  readonly bytes: number
  /** It was sent, or may have been. */
  wasSent: boolean
  /** Rises along a queue. */
  readonly serial: number
}

interface Queue {
  readonly entries: Entry[]
  bytes: number
}

export class SessionQueues {
  readonly #limits: QueueLimits
  readonly #onDrop: (clientId: string, reason: CopyDropReason) => void
  readonly #onRemoved: (clientId: string, packet: QueuedPacket) => void
  /** In order of creation: a queue is deleted when it is empty, so the first has waited longest. */
  readonly #queues = new Map<string, Queue>()
  #bytes = 0
  #messages = 0
  #dropped = 0
  #serial = 0

  /** `onRemoved`: for whatever reason; also for a packet that was not taken. */
  constructor(
    limits: QueueLimits,
    onDrop: (clientId: string, reason: CopyDropReason) => void,
    onRemoved: (clientId: string, packet: QueuedPacket) => void,
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

  /** False: it is too large for every queue. `wasSent`: it may have been, by an earlier run. */
  enqueue(clientId: string, packet: QueuedPacket, wasSent = false): boolean {
    // A PUBREL of an earlier run: the subscriber waits for it, whatever the bounds are now.
    if (packet.cmd !== 'publish') {
      this.#append(clientId, { packet, bytes: ENTRY_OVERHEAD_BYTES, wasSent: true })
      return true
    }
    const { maxSubscriberMessages, maxSubscriberBytes, maxSubscriberBytesTotal } = this.#limits
    const bytes = copyBytes(packet)
    if (
      bytes > maxSubscriberBytes ||
      bytes > maxSubscriberBytesTotal ||
      maxSubscriberMessages < 1
    ) {
      this.#onRemoved(clientId, packet)
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
    this.#append(clientId, { packet, bytes, wasSent })
    return true
  }

  /**
   * Notes that a copy is sent (its packet id), or that a PUBREL took its place. A PUBLISH that is
   * not queued (it was dropped, or published just before its subscription) is let through unqueued;
   * a PUBREL is always kept, as the subscriber waits for it. Never fails: aedes would disconnect
   * the subscriber. Returns what the PUBREL replaced.
   */
  update(clientId: string, packet: QueuedPacket): QueuedPacket | null {
    const entries = this.#queues.get(clientId)?.entries ?? []
    if (packet.cmd === 'publish') {
      // From the end: what is sent now was queued last.
      for (let i = entries.length - 1; i >= 0; i -= 1) {
        const entry = entries[i]!
        const queued = entry.packet
        if (queued.brokerId !== packet.brokerId || queued.brokerCounter !== packet.brokerCounter)
          continue
        queued.messageId = packet.messageId
        entry.wasSent = true
        return null
      }
      return null
    }
    for (const entry of entries) {
      if (entry.packet.messageId !== packet.messageId) continue
      const former = entry.packet
      entry.packet = packet
      return former
    }
    this.#append(clientId, { packet, bytes: ENTRY_OVERHEAD_BYTES, wasSent: true })
    return null
  }

  /**
   * The subscriber has it, or is not to get it: removes and returns the copy with this packet id,
   * or without one yet.
   */
  acknowledge(
    clientId: string,
    {
      messageId,
      brokerId,
      brokerCounter,
    }: Pick<QueuedPacket, 'messageId' | 'brokerId' | 'brokerCounter'>,
  ): QueuedPacket | undefined {
    const queue = this.#queues.get(clientId)
    if (queue === undefined) return undefined
    const index = queue.entries.findIndex(({ packet }) =>
      messageId == null
        ? packet.brokerCounter === brokerCounter && packet.brokerId === brokerId
        : packet.messageId === messageId,
    )
    return index < 0 ? undefined : this.#remove(clientId, queue, index).packet
  }

  /**
   * The first packet behind that serial, with its own, to be sent; a repeat has DUP set
   * [MQTT-3.3.1-1]. null: there is none.
   */
  nextBehind(clientId: string, serial: number): { packet: QueuedPacket; serial: number } | null {
    const entries = this.#queues.get(clientId)?.entries ?? []
    let [from, to] = [0, entries.length]
    while (from < to) {
      const middle = (from + to) >> 1
      if (entries[middle]!.serial <= serial) from = middle + 1
      else to = middle
    }
    const entry = entries[from]
    if (entry === undefined) return null
    if (entry.packet.cmd === 'publish' && entry.wasSent) entry.packet.dup = true
    return entry
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
    for (const { packet } of queue.entries) this.#onRemoved(clientId, packet)
  }

  #append(clientId: string, added: Omit<Entry, 'serial'>): void {
    this.#serial += 1
    const entry = { ...added, serial: this.#serial }
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

  #remove(clientId: string, queue: Queue, index: number): Entry {
    const [entry] = queue.entries.splice(index, 1)
    if (entry === undefined) throw new RangeError(`no entry ${index} in the queue`)
    queue.bytes -= entry.bytes
    this.#bytes -= entry.bytes
    this.#messages -= 1
    if (queue.entries.length === 0) this.#queues.delete(clientId)
    this.#onRemoved(clientId, entry.packet)
    return entry
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
 * The oldest copy. Packets of a QoS 2 exchange that has begun are
 * passed over while there is another: the subscriber keeps their packet id, and would take a later
 * message under it for a duplicate.
 */
function victimOf(queue: Queue): number {
  const index = queue.entries.findIndex((entry) => !isOpenExchange(entry))
  return Math.max(index, 0)
}

function isOpenExchange({ packet, wasSent }: Entry): boolean {
  return packet.cmd !== 'publish' || (packet.qos === 2 && wasSent)
}

/** What a copy counts for. */
export function copyBytes(packet: QueuedPacket): number {
  return ENTRY_OVERHEAD_BYTES + (packet.topic?.length ?? 0) + (packet.payload?.length ?? 0)
}
