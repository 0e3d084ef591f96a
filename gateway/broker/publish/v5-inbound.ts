/**
 * What a connection of MQTT 5 has beside its acks: topic aliases (section 3.3.2.3.4), and how many
 * messages it has on their way against the Receive Maximum that it was granted (section 4.9).
 */
import { REASON, type ReasonCode } from '../mqtt/v5/reason-codes.ts'
import type { TopicEntry } from './topic-cache.ts'

export class V5Inbound {
  /** Granted with CONNACK, and kept as long as the connection. */
  readonly receiveMaximum: number
  readonly #maxReasonBytes: number
  readonly #topicAliasMaximum: number
  readonly #maxAliasBytes: number
  #aliases: Map<number, TopicEntry> | null = null
  #aliasBytes = 0
  /** PUBLISHes, less what ended. */
  #inFlight = 0

  /** `maxTopicBytes`: of a topic; so many for each alias are kept at most. */
  constructor(options: {
    readonly receiveMaximum: number
    readonly maxReasonBytes: number
    readonly topicAliasMaximum: number
    readonly maxTopicBytes: number
  }) {
    this.receiveMaximum = options.receiveMaximum
    this.#maxReasonBytes = options.maxReasonBytes
    this.#topicAliasMaximum = options.topicAliasMaximum
    this.#maxAliasBytes = options.topicAliasMaximum * options.maxTopicBytes
  }

  // Aliases.

  /** The topic that an alias stands for; null: none, or it is none that was granted. */
  topicOf(alias: number): TopicEntry | null {
    return this.#aliases?.get(alias) ?? null
  }

  isAlias(alias: number): boolean {
    return alias > 0 && alias <= this.#topicAliasMaximum
  }

  /** From now on the alias stands for this topic. False: the topics of all aliases are too long. */
  setAlias(alias: number, entry: TopicEntry): boolean {
    const aliases = (this.#aliases ??= new Map())
    const former = aliases.get(alias)
    if (former === entry) return true
    const bytes = this.#aliasBytes + entry.bytes.length - (former?.bytes.length ?? 0)
    if (bytes > this.#maxAliasBytes) return false
    this.#aliasBytes = bytes
    aliases.set(alias, entry)
    return true
  }

  // Flow control.

  /** One more message would be more than was granted [MQTT-4.9.0-2]. */
  get isAtMaximum(): boolean {
    return this.#inFlight >= this.receiveMaximum
  }

  /** A message at QoS 1 or 2 was taken. */
  began(): void {
    this.#inFlight += 1
  }

  /**
   * So many PUBACKs, PUBCOMPs and refusing PUBRECs left. It may fall below zero: PUBRELs that are sent
   * again give a client its quota back, too, perhaps for a PUBLISH that comes behind them (section
   * 4.9). `maxUnackedMessages` bounds what is held all the same.
   */
  ended(count: number): void {
    this.#inFlight -= count
  }

  /** A code in words, for the client; null: it wants none, or they would say nothing. */
  readonly describe = (code: ReasonCode): string | null => {
    const words = WORDS[code] ?? null
    return words !== null && words.length <= this.#maxReasonBytes ? words : null
  }
}

const WORDS: Partial<Record<ReasonCode, string>> = {
  [REASON.implementationSpecificError]:
    'larger than maxRecordBytes of its stream: the first bytes are kept as a dead letter',
  [REASON.notAuthorized]: 'the access rules do not allow to publish on this topic',
  [REASON.topicNameInvalid]: 'no stream and no subscriber takes this topic',
  [REASON.quotaExceeded]: 'the stream is full, and drops what is new',
  [REASON.payloadFormatInvalid]:
    'the payload is not UTF-8, which its Payload Format Indicator says',
}
