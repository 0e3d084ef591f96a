/**
 * Reads PUBLISH and PUBREL of a connection, by its version, and finds the topic of a message: what
 * is wrong with a packet closes the connection here, in the words and with the code of its version.
 */
import type { CloseReason } from '../events.ts'
import type { Codec } from '../mqtt/codec.ts'
import type { CLOSED } from '../mqtt/outcome.ts'
import {
  type PacketFault,
  protocolError,
  REASON,
  type ReasonCode,
} from '../mqtt/v5/reason-codes.ts'
import type { PublishContext } from './context.ts'
import type { TopicEntry } from './topic-cache.ts'
import type { Topics } from './topics.ts'
import type { V5Inbound } from './v5-inbound.ts'

export interface Publisher {
  readonly clientId: string
  readonly codec: Pick<Codec, 'readAck'>
  close(reason: CloseReason, detail: string, code?: ReasonCode): typeof CLOSED
}

export class PublishReader {
  readonly #context: Pick<PublishContext, 'reports' | 'view'>
  readonly #publisher: Publisher
  readonly #topics: Topics
  /** null before MQTT 5. */
  readonly #inbound: V5Inbound | null

  constructor(
    context: Pick<PublishContext, 'reports' | 'view'>,
    publisher: Publisher,
    topics: Topics,
    inbound: V5Inbound | null,
  ) {
    this.#context = context
    this.#publisher = publisher
    this.#topics = topics
    this.#inbound = inbound
  }

  /**
   * Fills the view with one whole PUBLISH and finds its topic; null: the connection was closed over
   * it.
   */
  publish(bytes: Buffer, at: number, body: number, end: number): TopicEntry | null {
    return this.#inbound === null
      ? this.#read(bytes, at, body, end)
      : this.#read5(this.#inbound, bytes, at, body, end)
  }

  #read(bytes: Buffer, at: number, body: number, end: number): TopicEntry | null {
    const { view } = this.#context
    const fault = view.read(bytes, at, body, end)
    const entry = fault ?? this.#topics.find(bytes, view.topicStart, view.topicEnd)
    if (typeof entry !== 'string') return entry
    this.#publisher.close('malformed', entry)
    return null
  }

  #read5(
    inbound: V5Inbound,
    bytes: Buffer,
    at: number,
    body: number,
    end: number,
  ): TopicEntry | null {
    const { view } = this.#context
    const fault = view.read5(bytes, at, body, end)
    if (fault !== null) return this.#closeOver(fault)
    if (view.qos !== 0 && inbound.isAtMaximum) {
      const detail = `more than ${inbound.receiveMaximum} messages on their way (Receive Maximum)`
      this.#publisher.close('receive-maximum', detail)
      return null
    }
    const { topicAlias } = view
    if (topicAlias > 0 && !inbound.isAlias(topicAlias))
      return this.#closeOver({
        code: REASON.topicAliasInvalid,
        detail: `topic alias ${topicAlias} was not granted`,
      })
    if (view.topicStart === view.topicEnd) {
      const known = topicAlias === 0 ? null : inbound.topicOf(topicAlias)
      if (known === null) return this.#closeOver(protocolError('no topic, and no alias for one'))
      this.#topics.refresh(known)
      return known
    }
    const entry = this.#topics.find(bytes, view.topicStart, view.topicEnd)
    if (typeof entry === 'string')
      return this.#closeOver({ code: REASON.malformedPacket, detail: entry })
    if (topicAlias > 0 && !inbound.setAlias(topicAlias, entry))
      return this.#closeOver({
        code: REASON.quotaExceeded,
        detail: 'the aliased topics are too long',
      })
    return entry
  }

  /** The packet id of a PUBREL; null: the connection was closed over it. */
  release(bytes: Buffer, body: number, end: number): number | null {
    const ack = this.#publisher.codec.readAck(bytes, body, end, 'PUBREL')
    if ('detail' in ack) return this.#closeOver(ack)
    if (ack.code !== REASON.success) this.#context.reports.received(ack.code)
    return ack.packetId
  }

  #closeOver({ code, detail }: PacketFault): null {
    this.#publisher.close('malformed', detail, code)
    return null
  }
}
