/**
 * What a connection knows about the topics it publishes to, keyed by the topic's bytes, so that a
 * message costs no string. Bounded; the oldest entry gives way. Entries go stale with access rules
 * and local subscriptions and are checked against their versions at each use.
 */
import type { Lane, Passage } from '../../ports/appender.ts'
import type { UnwantedReason } from '../events.ts'
import { TOPIC_CACHE_ENTRIES } from '../limits.ts'

export interface TopicEntry {
  readonly bytes: Uint8Array
  readonly topic: string
  /** Where its records go; empty: outside every stream. */
  readonly lanes: readonly Lane[]
  /** Some of those want the properties of its messages in their records. */
  readonly wantsProperties: boolean
  /** Of those with `ack: delivered`: its acks wait for it; null: for the fsync alone. */
  readonly passage: Passage | null
  /** May this user publish here? */
  isAllowed: boolean
  /** Why its messages do not become records; null: they do. */
  readonly unwanted: UnwantedReason | null
  /** For the dead letters that they become instead. */
  readonly refusal: string | null
  /** False: nothing of it is retained or delivered locally. */
  readonly isShared: boolean
  /** Is there a local subscriber? */
  isLocal: boolean
  /** Are its messages at QoS 1 and 2 kept for persistent sessions? */
  isQueued: boolean
  /** Of the routes that `lanes` come from; those of another version are learned anew. */
  readonly routeVersion: number
  accessVersion: number
  localVersion: number
}

export class TopicCache {
  readonly #byHash = new Map<number, TopicEntry>()
  #last: TopicEntry | null = null

  /** The entry for `bytes.subarray(start, end)`. */
  find(bytes: Uint8Array, start: number, end: number): TopicEntry | null {
    const last = this.#last
    if (last !== null && isSame(last.bytes, bytes, start, end)) return last
    const entry = this.#byHash.get(hashOf(bytes, start, end))
    if (entry === undefined || !isSame(entry.bytes, bytes, start, end)) return null
    this.#last = entry
    return entry
  }

  add(entry: TopicEntry): void {
    const hash = hashOf(entry.bytes, 0, entry.bytes.length)
    if (this.#byHash.size >= TOPIC_CACHE_ENTRIES && !this.#byHash.has(hash)) {
      const [oldest] = this.#byHash.keys()
      if (oldest !== undefined) this.#byHash.delete(oldest)
    }
    this.#byHash.set(hash, entry)
    this.#last = entry
  }
}

function isSame(known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start
  if (known.length !== length) return false
  // From the end: topics of one device differ there.
  for (let i = length - 1; i >= 0; i -= 1) if (known[i] !== bytes[start + i]) return false
  return true
}

/** FNV-1a. Two topics with one hash share a place; that costs time, not correctness. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i += 1) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
  return hash >>> 0
}
