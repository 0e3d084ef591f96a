/**
 * The topics of one connection: for each its route with envelopes, whether its user may publish
 * there, and whether a local subscriber takes it. What is known is kept, bounded (topic-cache), and
 * checked again when access rules or local subscriptions have changed. A known topic costs no
 * string.
 */

import { checkTopicName, isDollarTopic, isOverLimit } from '../../shared/topics/topics.ts'
import type { Principal } from '../auth/principal.ts'
import { readString } from '../mqtt/reader.ts'
import { passageOf } from './acks/passages.ts'
import type { PublishContext } from './context.ts'
import { TopicCache, type TopicEntry } from './topic-cache.ts'
import { refusalOf, unwantedReason } from './unwanted.ts'

export class Topics {
  readonly #context: PublishContext
  readonly #principal: Principal
  readonly #clientId: string
  readonly #cache = new TopicCache()

  constructor(context: PublishContext, principal: Principal, clientId: string) {
    this.#context = context
    this.#principal = principal
    this.#clientId = clientId
  }

  /**
   * The entry for the topic name in these bytes, up to date; or why there can be none (`topic-…`,
   * or bad UTF-8).
   */
  find(bytes: Buffer, start: number, end: number): TopicEntry | string {
    const entry = this.#cache.find(bytes, start, end)
    if (entry === null || entry.routeVersion !== this.#context.router.version)
      return this.#learn(bytes, start, end)
    this.refresh(entry)
    return entry
  }

  /** For an entry that was kept: judges it again if what it was judged by has changed. */
  refresh(entry: TopicEntry): void {
    if (entry.accessVersion !== this.#principal.version) this.#checkAccess(entry)
    if (entry.localVersion !== this.#context.subscribers.version) this.#checkLocal(entry)
  }

  /** The same topic by the routes of now. */
  renewed({ bytes, topic }: TopicEntry): TopicEntry {
    const entry = this.#entryOf(bytes, topic)
    this.#checkAccess(entry)
    this.#checkLocal(entry)
    return entry
  }

  #learn(bytes: Buffer, start: number, end: number): TopicEntry | string {
    const topic = readString(bytes, start, end)
    if (topic === null) return 'the topic is not a valid UTF-8 string'
    const fault = checkTopicName(topic, this.#context.config)
    if (fault !== null && !isOverLimit(fault)) return fault
    const entry = this.#entryOf(Uint8Array.prototype.slice.call(bytes, start, end), topic)
    this.#checkAccess(entry)
    this.#checkLocal(entry)
    // One over a limit may have 64 KiB: it is learned anew each time.
    if (fault === null) this.#cache.add(entry)
    return entry
  }

  #entryOf(bytes: Uint8Array, topic: string): TopicEntry {
    const { config, router } = this.#context
    const lanes = router.lanes(topic, this.#clientId)
    const unwanted = unwantedReason(topic, lanes, config)
    return {
      bytes,
      topic,
      lanes,
      wantsProperties: lanes.some(({ stream }) => stream.wantsProperties),
      passage: passageOf(lanes),
      isAllowed: false,
      unwanted,
      refusal: refusalOf(unwanted, config),
      isShared: unwanted === null && !isDollarTopic(topic),
      isLocal: false,
      isQueued: false,
      routeVersion: router.version,
      accessVersion: -1,
      localVersion: -1,
    }
  }

  #checkAccess(entry: TopicEntry): void {
    entry.accessVersion = this.#principal.version
    // What is dropped anyway needs no right: a bridge with few rights is not shut out over its
    // notices under `$SYS`.
    entry.isAllowed = entry.unwanted === 'dollar-topic' || this.#principal.mayPublish(entry.topic)
  }

  #checkLocal(entry: TopicEntry): void {
    entry.localVersion = this.#context.subscribers.version
    entry.isLocal = entry.isShared && this.#context.subscribers.matches(entry.topic)
    entry.isQueued = entry.isLocal && this.#context.subscribers.isQueued(entry.topic)
  }
}
