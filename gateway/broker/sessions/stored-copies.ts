/**
 * Copies for persistent sessions as the store has them: one value a copy, under a number that rises
 * with each, so that the order of the keys is the order of the copies. A copy is written in the
 * commit of its message, so a publisher that has its ack knows it kept (I1); what the subscriber
 * acknowledged is removed with a later commit, and a kill in between sends it again with DUP.
 *
 * At QoS 2 a copy must come under the packet id that the subscriber may know, so a copy has its
 * packet id from the beginning; and when the subscriber has said PUBREC, the PUBREL takes the
 * copy's place, durably, before it leaves: behind it the subscriber forgets the packet id, and
 * would take a repeat for a new message [MQTT-4.3.3-1].
 *
 * It knows no bounds: SessionQueues has them, and says what is removed.
 */
import { randomInt } from 'node:crypto'
import type { KeyedStore, Ticket } from '../../ports/appender.ts'
import { type KeptCopy, newCopy, newRelease } from './session-queues.ts'
import { decodeCopy, encodeCopy } from './stored-values.ts'

const MAX_PACKET_ID = 65_535

/** Digits of a copy's number at the beginning of its key; 16^12 copies. */
const NUMBER_DIGITS = 12
const KEY = /^([0-9a-f]{12})(.+)$/su

interface SessionIds {
  /** The next copy gets it, if it is free. */
  next: number
  readonly used: Set<number>
}

interface RecoveredCopy {
  readonly clientId: string
  readonly copy: KeptCopy
}

export class StoredCopies {
  readonly #store: KeyedStore
  readonly #ids = new Map<string, SessionIds>()
  #last = 0

  constructor(store: KeyedStore) {
    this.#store = store
  }

  /**
   * What the earlier run left, oldest first. Each may have been sent. A value that cannot be read
   * is left where it is (I7).
   */
  async load(onUnreadable: (key: string, error: unknown) => void): Promise<RecoveredCopy[]> {
    const found: (RecoveredCopy & { readonly key: string })[] = []
    for (const [key, value] of await this.#store.entries()) {
      try {
        const [, number = '', clientId = ''] = KEY.exec(key) ?? []
        if (clientId === '') throw new Error('not a key of a copy')
        this.#last = Math.max(this.#last, Number.parseInt(number, 16))
        const { isRelease, messageId, identifiers, ...message } = decodeCopy(value)
        const copy = isRelease ? newRelease(messageId) : newCopy(message, identifiers)
        Object.assign(copy, { packetId: messageId, wasSent: true, storedAs: key })
        if (isRelease) copy.notedBy = 0
        found.push({ key, clientId, copy })
      } catch (error) {
        onUnreadable(key, error)
      }
    }
    found.sort((a, b) => (a.key < b.key ? -1 : 1))
    for (const { clientId, copy } of found) {
      const ids = this.#idsOf(clientId)
      ids.used.add(copy.packetId)
      // Far from the last ones: the client may know ids of messages that were not stored (retained
      // ones).
      ids.next = ((copy.packetId + (MAX_PACKET_ID >> 1)) % MAX_PACKET_ID) + 1
    }
    return found
  }

  /** Puts a copy into the open commit and gives it its packet id; null: there is none left. */
  add(clientId: string, copy: KeptCopy): Ticket | null {
    if (this.#idsOf(clientId).used.size >= MAX_PACKET_ID) return null
    const packetId = this.nextId(clientId)
    this.setNextId(clientId, packetId + 1)
    this.#idsOf(clientId).used.add(packetId)
    copy.packetId = packetId
    copy.storedAs = this.#newKey(clientId)
    return this.#store.put(copy.storedAs, encodeStored(copy))
  }

  /** PUBREC came, and the copy is a PUBREL now, which waits for the ticket. */
  release(clientId: string, copy: KeptCopy): Ticket {
    if (copy.notedBy !== null) return copy.notedBy
    copy.storedAs ??= this.#newKey(clientId)
    this.#idsOf(clientId).used.add(copy.packetId)
    copy.notedBy = this.#store.put(copy.storedAs, encodeStored(copy))
    return copy.notedBy
  }

  /** It is owed no longer. */
  remove(clientId: string, copy: KeptCopy): void {
    if (copy.storedAs === null) return
    this.#store.delete(copy.storedAs, true)
    this.#ids.get(clientId)?.used.delete(copy.packetId)
    copy.storedAs = null
  }

  /** The packet id that the session's next copy gets. */
  nextId(clientId: string): number {
    const ids = this.#idsOf(clientId)
    if (ids.used.size < MAX_PACKET_ID)
      while (ids.used.has(ids.next)) ids.next = (ids.next % MAX_PACKET_ID) + 1
    return ids.next
  }

  setNextId(clientId: string, next: number): void {
    this.#idsOf(clientId).next = next > MAX_PACKET_ID ? 1 : next
  }

  /** The session ended, and with it what was stored for it: the caller has removed that. */
  forget(clientId: string): void {
    this.#ids.delete(clientId)
  }

  #newKey(clientId: string): string {
    this.#last += 1
    return this.#last.toString(16).padStart(NUMBER_DIGITS, '0') + clientId
  }

  #idsOf(clientId: string): SessionIds {
    let ids = this.#ids.get(clientId)
    if (ids === undefined) {
      // Of a session of an earlier run of which nothing is stored it is not known which ids were
      // used last.
      ids = { next: randomInt(1, MAX_PACKET_ID + 1), used: new Set() }
      this.#ids.set(clientId, ids)
    }
    return ids
  }
}

function encodeStored({ packetId, ...copy }: KeptCopy): Buffer {
  return encodeCopy({ ...copy, messageId: packetId })
}
