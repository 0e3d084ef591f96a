/**
 * A message of the gateway itself: an operator tries the way of a reading. It goes where a PUBLISH
 * at QoS 1 of any client goes, by the same route and the same append, and to local subscribers; it
 * is acknowledged when a PUBACK would leave. Not tried: a listener, a login, an access rule.
 */
import { type Lane, MUST_WAIT, type Ticket } from '../../ports/appender.ts'
import { DurableTickets } from '../../ports/durable-tickets.ts'
import { checkTopicName } from '../../shared/topics/topics.ts'
import type { Publication } from '../mqtt/publish.ts'
import type { PublishContext } from './context.ts'
import { append, publishLocally } from './hand-over.ts'
import { unwantedReason } from './unwanted.ts'

interface TestMessage {
  readonly clientId: string
  readonly topic: string
  readonly payload: Uint8Array
}

export type TestPublication =
  | {
      readonly ok: true
      /** It has one record in each, the last that was appended. */
      readonly streams: readonly string[]
      readonly arrivedAtMs: number
      /** Never of a commit that does not come. */
      readonly committed: Promise<void>
      /** Nor of a record that was lost before it was delivered (`ack: delivered`). */
      readonly acknowledged: Promise<void>
    }
  | { readonly ok: false; readonly why: 'unrouted' | 'unwanted' | 'full' }

export class TestPublisher {
  readonly #context: PublishContext
  readonly #durable: DurableTickets
  #waiting: (() => void)[] = []

  constructor(context: PublishContext) {
    this.#context = context
    this.#durable = new DurableTickets(context.appender)
    context.appender.onPassed(() => {
      for (const look of this.#waiting.splice(0)) look()
    })
  }

  /** Synchronous, like every append: the caller can tell the number of its record. */
  publish({ clientId, topic, payload }: TestMessage): TestPublication {
    const { config, router, subscribers, nowMs, monotonicMs } = this.#context
    const lanes = router.lanes(topic, clientId)
    const unwanted = unwantedReason(topic, lanes, config)
    if (unwanted !== null || checkTopicName(topic, config) !== null)
      return { ok: false, why: 'unwanted' }
    if (lanes.length === 0) return { ok: false, why: 'unrouted' }
    const arrival = { receivedAtMs: nowMs(), arrivedMs: monotonicMs(), properties: null }
    const route = { lanes, refusal: null }
    const ticket = append(this.#context, route, publicationOf(payload), arrival, false)
    if (ticket === MUST_WAIT) return { ok: false, why: 'full' }
    const copy = { topic, payload, qos: 1, retain: false, from: clientId, options: null } as const
    publishLocally(this.#context, copy, ticket, subscribers.matches(topic), true)
    const committed = this.#durable.until(ticket)
    return {
      ok: true,
      streams: lanes.map(({ stream }) => stream.name),
      arrivedAtMs: arrival.receivedAtMs,
      committed,
      acknowledged: committed.then(() => this.#passed(lanes, ticket)),
    }
  }

  async #passed(lanes: readonly Lane[], ticket: Ticket): Promise<void> {
    const isThrough = ({ stream: { passage } }: Lane): boolean =>
      passage === null || (ticket <= passage.through && !passage.isLost(ticket))
    while (!lanes.every(isThrough))
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }
}

function publicationOf(payload: Uint8Array): Publication {
  const bytes = Buffer.from(payload)
  return { bytes, start: 0, end: payload.length, qos: 1, dup: false, retain: false }
}
