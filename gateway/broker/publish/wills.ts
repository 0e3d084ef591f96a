/**
 * Wills on their way into the spool: like any message, through access rule, route and append,
 * marked `will`, and then to local subscribers. Nobody waits for their ack. A will for a full
 * stream waits here; its stored copy is deleted in the commit that carries it, or later, so a kill
 * in between repeats a will and never loses one.
 */

import { type Lane, MUST_WAIT } from '../../ports/appender.ts'
import { isDollarTopic } from '../../shared/topics/topics.ts'
import type { WillMessage } from '../aedes/aedes-server.ts'
import type { Principal } from '../auth/authenticator.ts'
import type { UnwantedReason } from '../events.ts'
import type { GateShared } from '../gate/context.ts'
import { WAITING_SHARE } from '../limits.ts'
import { countUnwanted, refusalOf, unwantedReason } from './unwanted.ts'

interface DueWill {
  readonly clientId: string
  readonly will: WillMessage
  readonly lanes: readonly Lane[]
  readonly unwanted: UnwantedReason | null
  readonly receivedAtMs: number
  readonly arrivedMs: number
  readonly done: () => void
}

export class Wills {
  readonly #shared: GateShared
  #waiting: DueWill[] = []

  constructor(shared: GateShared) {
    this.#shared = shared
  }

  /**
   * `access`: null for a will of an earlier run, which was allowed when it was set. `done`: it was appended, or will
   * never be; its stored copy may go.
   */
  publish(clientId: string, will: WillMessage, access: Principal | null, done: () => void): void {
    const { config, router, emit, nowMs, monotonicMs } = this.#shared
    const lanes = router.route(will.topic).map((stream) => ({
      stream,
      envelope: stream.envelope(router.deviceOf(stream, clientId, will.topic), will.topic),
    }))
    const unwanted = unwantedReason(will.topic, lanes, config)
    if (access !== null && unwanted !== 'dollar-topic' && !access.mayPublish(will.topic)) {
      emit({ type: 'broker.will-dropped', clientId, topic: will.topic, why: 'forbidden' })
      done()
      return
    }
    const due = {
      clientId,
      will,
      lanes,
      unwanted,
      receivedAtMs: nowMs(),
      arrivedMs: monotonicMs(),
      done,
    }
    if (this.#append(due)) return
    if (!this.#hasRoom(will.payload.length)) {
      emit({ type: 'broker.will-dropped', clientId, topic: will.topic, why: 'no-room' })
      done()
      return
    }
    this.#waiting.push(due)
    this.#count(due, 1)
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

  #append({ clientId, will, lanes, unwanted, receivedAtMs, arrivedMs, done }: DueWill): boolean {
    const { appender, config, delivery, local, message, stageCopies, stageRetained, stats } =
      this.#shared
    const { topic, payload, qos, retain } = will
    let ticket = appender.durableTicket
    if (lanes.length > 0) {
      message.payload = payload
      message.start = 0
      message.end = payload.length
      message.qos = qos
      message.dup = false
      message.retain = retain
      message.will = true
      message.refusal = refusalOf(unwanted, config)
      message.receivedAtMs = receivedAtMs
      message.arrivedMs = arrivedMs
      const appended = appender.append(lanes, message)
      message.will = false
      if (appended === MUST_WAIT && qos > 0) return false
      if (appended !== MUST_WAIT) ticket = appended
    }
    if (unwanted !== null) {
      countUnwanted(this.#shared, unwanted, clientId, topic, lanes)
    } else if (!isDollarTopic(topic)) {
      if (retain) ticket = Math.max(ticket, stageRetained(topic, payload, qos) ?? 0)
      if (local.matches(topic)) {
        const copies = qos > 0 ? stageCopies(topic, payload, qos as 1 | 2, retain, clientId) : null
        if (copies !== null) ticket = Math.max(ticket, copies.ticket)
        delivery.offer(topic, payload, qos, retain, clientId, ticket, copies)
      }
    }
    stats.willsPublished += 1
    done()
    return true
  }

  #hasRoom(bytes: number): boolean {
    const { config, stats } = this.#shared
    return (
      stats.waitingMessages < config.maxUnackedMessagesTotal * WAITING_SHARE &&
      stats.waitingBytes + bytes <= config.maxUnackedBytesTotal * WAITING_SHARE
    )
  }

  #count({ will, lanes }: DueWill, by: 1 | -1): void {
    const { stats } = this.#shared
    stats.waitingMessages += by
    stats.waitingBytes += by * will.payload.length
    for (const { stream } of lanes) {
      stats.waitingByStream.set(stream.name, (stats.waitingByStream.get(stream.name) ?? 0) + by)
    }
  }
}
