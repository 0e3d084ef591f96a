/**
 * Wills on their way into the spool: like any message, through access rule, route and append,
 * marked `will`, and then to local subscribers. No client waits for their ack. A will for a full
 * stream waits here; its stored copy is deleted in the commit that carries it, or later, so a kill
 * in between repeats a will and never loses one.
 */

import { type Lane, type MessageProperties, MUST_WAIT } from '../../ports/appender.ts'
import { isDollarTopic } from '../../shared/topics/topics.ts'
import type { Principal } from '../auth/principal.ts'
import type { UnwantedReason } from '../events.ts'
import type { Will } from '../mqtt/connect.ts'
import type { Publication } from '../mqtt/publish.ts'
import { optionsBytes } from '../mqtt/v5/message-options.ts'
import { messageProperties } from '../mqtt/v5/message-properties.ts'
import type { PublishContext } from '../publish/context.ts'
import { append, publishLocally } from '../publish/hand-over.ts'
import { refusalOf, unwantedReason } from '../publish/unwanted.ts'
import { countWaiting, hasRoomToWait } from '../publish/waiting-messages.ts'

interface DueWill {
  readonly clientId: string
  readonly will: Will
  readonly lanes: readonly Lane[]
  readonly unwanted: UnwantedReason | null
  readonly receivedAtMs: number
  readonly arrivedMs: number
  readonly properties: MessageProperties | null
  /** What it takes in memory. */
  readonly heldBytes: number
  readonly done: () => void
}

export class Wills {
  readonly #context: PublishContext
  #waiting: DueWill[] = []
  #isSuppressed = false

  constructor(context: PublishContext) {
    this.#context = context
  }

  /** The gateway stops, and wills are not to be published then. */
  suppress(): void {
    this.#isSuppressed = true
  }

  /**
   * `principal`: null for a will of an earlier run, which was allowed when it was set. `done`: it
   * was appended, or will never be; its stored copy may go.
   */
  publish(clientId: string, will: Will, principal: Principal | null, done: () => void): void {
    if (this.#isSuppressed) {
      done()
      return
    }
    const { config, router, reports, nowMs, monotonicMs } = this.#context
    const lanes = router.lanes(will.topic, clientId)
    const unwanted = unwantedReason(will.topic, lanes, config)
    if (principal !== null && unwanted !== 'dollar-topic' && !principal.mayPublish(will.topic)) {
      reports.willDropped(clientId, will.topic, 'forbidden')
      done()
      return
    }
    const wantsProperties = lanes.some(({ stream }) => stream.wantsProperties)
    const due: DueWill = {
      clientId,
      will,
      lanes,
      unwanted,
      receivedAtMs: nowMs(),
      arrivedMs: monotonicMs(),
      properties: wantsProperties ? messageProperties(will.options) : null,
      heldBytes: will.payload.length + optionsBytes(will.options),
      done,
    }
    if (this.#append(due)) return
    if (!hasRoomToWait(this.#context, due.heldBytes)) {
      reports.willDropped(clientId, will.topic, 'no-room')
      done()
      return
    }
    this.#waiting.push(due)
    this.#count(due, 1)
  }

  /** The streams are others: those that wait go where their topics go now. */
  reroute(): void {
    const { router } = this.#context
    const waiting = this.#waiting
    for (const due of waiting) this.#count(due, -1)
    this.#waiting = waiting.map((due) => {
      const { clientId, will } = due
      return { ...due, lanes: router.lanes(will.topic, clientId) }
    })
    for (const due of this.#waiting) this.#count(due, 1)
  }

  /** There may be room in a stream. */
  retry(): void {
    if (this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const due of waiting) {
      if (this.#append(due)) this.#count(due, -1)
      else this.#waiting.push(due)
    }
  }

  #append(due: DueWill): boolean {
    const { clientId, will, lanes, unwanted, done } = due
    const { config, reports, stats, subscribers } = this.#context
    const { topic, payload, qos, retain } = will
    const refusal = refusalOf(unwanted, config)
    const ticket = append(this.#context, { lanes, refusal }, publicationOf(will), due, true)
    if (ticket === MUST_WAIT) return false
    if (unwanted !== null) {
      reports.unwanted(clientId, topic, unwanted, lanes)
    } else if (!isDollarTopic(topic)) {
      const options = will.options && { ...will.options, receivedAtMs: due.receivedAtMs }
      const publication = { topic, payload, qos, retain, from: clientId, options }
      publishLocally(this.#context, publication, ticket, subscribers.matches(topic), true)
    }
    stats.willsPublished += 1
    done()
    return true
  }

  #count({ heldBytes, lanes }: DueWill, by: 1 | -1): void {
    countWaiting(this.#context.stats, lanes, heldBytes, by)
  }
}

function publicationOf({ payload, qos, retain }: Will): Publication {
  return { bytes: payload, start: 0, end: payload.length, qos, dup: false, retain }
}
