/**
 * Which streams a topic goes to: a function of the configuration alone. It keeps one array per set
 * of streams; topic-cache.ts keeps what a route gives per connection and topic.
 *
 * All matching streams get the message, in the order of the configuration: the verdicts of one
 * message are the same on every run (I5). A topic that no stream takes has the empty route; that is
 * counted elsewhere (I9).
 */
import type { Lane, StreamIntake } from '../../ports/appender.ts'
import { TopicTrie } from '../../shared/topics/topic-trie.ts'

export class Router {
  /** Rises with `replace`: earlier answers may have changed. */
  version = 1
  #streams: readonly StreamIntake[] = []
  #trie = new TopicTrie<number>()
  /**
   * One array per set of streams that occurs: a route costs no allocation once its set is known.
   */
  readonly #routes = new Map<string, readonly StreamIntake[]>()
  /** The routes of one stream each, which are nearly all. */
  #alone: readonly (readonly StreamIntake[])[] = []
  readonly #levels = new Map<StreamIntake, number>()

  /** `streams` in configuration order; their filters are valid (the configuration checked them). */
  constructor(streams: readonly StreamIntake[]) {
    this.#learn(streams)
  }

  /** Other streams, or the same with other filters. */
  replace(streams: readonly StreamIntake[]): void {
    this.version += 1
    this.#routes.clear()
    this.#levels.clear()
    this.#trie = new TopicTrie()
    this.#learn(streams)
  }

  #learn(streams: readonly StreamIntake[]): void {
    this.#streams = streams
    this.#alone = streams.map((stream) => Object.freeze([stream]))
    for (const [index, stream] of streams.entries()) {
      for (const filter of stream.topics) this.#trie.add(filter, index)
      if (stream.device !== 'clientId') this.#levels.set(stream, levelOf(stream.device))
    }
  }

  /** All streams that take the topic, in configuration order, each once. Empty: none does. */
  route(topic: string): readonly StreamIntake[] {
    const found: number[] = []
    this.#trie.collect(topic, found)
    const [only] = found
    if (only === undefined) return NO_STREAMS
    if (found.length === 1) return this.#alone[only] ?? NO_STREAMS
    found.sort((x, y) => x - y)
    const key = found.join()
    const known = this.#routes.get(key)
    if (known !== undefined) return known
    const route = Object.freeze(this.#streams.filter((_, index) => found.includes(index)))
    if (this.#routes.size < MAX_KEPT_ROUTES) this.#routes.set(key, route)
    return route
  }

  /** The streams that take a client's message on this topic, each with its envelope. */
  lanes(topic: string, clientId: string): readonly Lane[] {
    return this.route(topic).map((stream) => ({
      stream,
      envelope: stream.envelope(this.deviceOf(stream, clientId, topic), topic),
    }))
  }

  /**
   * The record's `device`: the client id, or the topic level that the stream names (0 is the
   * first). A topic that has no such level, or an empty one there, falls back to the client id: a
   * reading always has a device.
   */
  deviceOf(stream: StreamIntake, clientId: string, topic: string): string {
    const level = this.#levels.get(stream)
    if (level === undefined) return clientId
    return topicLevel(topic, level) || clientId
  }
}

const NO_STREAMS: readonly StreamIntake[] = Object.freeze([])

/** Sets of streams are few; the bound is for configurations made to have many. */
const MAX_KEPT_ROUTES = 10_000

function levelOf(device: `topic:${number}`): number {
  return Number(device.slice('topic:'.length))
}

function topicLevel(topic: string, level: number): string {
  let from = 0
  for (let skipped = 0; skipped < level; skipped += 1) {
    const slash = topic.indexOf('/', from)
    if (slash < 0) return ''
    from = slash + 1
  }
  const to = topic.indexOf('/', from)
  return topic.slice(from, to < 0 ? undefined : to)
}
