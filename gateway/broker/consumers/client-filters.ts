/**
 * The filters of one connected client: which are granted, with what, and which it has. It is put
 * into the desk with each, and out again.
 */
import { isDollarTopic, isSysTopic } from '../../shared/topics/topics.ts'
import type { MqttConfig } from '../config.ts'
import type { Codec } from '../mqtt/codec.ts'
import { type Subscribe, type SubscribeRequest, sharedFilter } from '../mqtt/subscribe.ts'
import { REASON, type ReasonCode } from '../mqtt/v5/reason-codes.ts'
import type { Reports } from '../reports.ts'
import type { Subscribing } from '../sessions/stored-subscriptions.ts'
import type { SubscriberDesk } from './desk.ts'
import type { ReceiveRights } from './receive-rights.ts'
import type { Subscription, Taker } from './subscription.ts'

interface FilterContext {
  readonly config: Pick<MqttConfig, 'maxSubscriptions' | 'sysInterval'>
  readonly desk: SubscriberDesk
  readonly reports: Pick<Reports, 'sent'>
}

interface FilterClient {
  /** It is another broker: it gets nothing back of what it published, and RETAIN as published. */
  readonly isBridge: boolean
  readonly codec: Codec
}

/** Before MQTT 5 every refusal of a filter. */
const REFUSED = 0x80

export class ClientFilters {
  readonly #context: FilterContext
  readonly #taker: Taker
  readonly #rights: ReceiveRights
  readonly #client: FilterClient
  readonly #subscriptions = new Map<string, Subscription>()

  constructor(context: FilterContext, taker: Taker, rights: ReceiveRights, client: FilterClient) {
    this.#context = context
    this.#taker = taker
    this.#rights = rights
    this.#client = client
  }

  /**
   * `codes`: for SUBACK, one a filter; `added`: what is granted, each filter once: as if each had
   * come in a SUBSCRIBE of its own [MQTT-3.8.4-4], the last one stays. Nothing is installed yet.
   */
  grant({ identifier, requests }: Subscribe): { codes: Uint8Array; added: Subscribing[] } {
    const granted = new Map<string, Subscribing>()
    let room = this.#context.config.maxSubscriptions - this.#subscriptions.size
    const codes = requests.map((request) => {
      const { filter, options } = request
      const isNew = !this.#subscriptions.has(filter) && !granted.has(filter)
      const refusal = this.#refusalOf(request, isNew && room <= 0)
      if (refusal !== null) return refusal
      granted.set(filter, this.#subscribingOf(request, identifier))
      if (isNew) room -= 1
      return options.qos
    })
    return { codes: Uint8Array.from(codes), added: [...granted.values()] }
  }

  /** One that is there already goes on: what is on its way is for it. */
  install(options: Subscribing, since: number): void {
    const former = this.#subscriptions.get(options.topic)
    if (former !== undefined) this.#context.desk.unsubscribe(former)
    const subscription = this.#context.desk.subscribe(this.#taker, options, former?.since ?? since)
    this.#subscriptions.set(options.topic, subscription)
  }

  /** Of a session that goes on: what was published before, and is on its way, is for it too. */
  restore(options: Subscribing): void {
    const filter = sharedFilter(options.topic)?.filter ?? options.topic
    if (this.#rights.mayHold(filter)) this.install(options, 0)
  }

  /** False: the client does not have it. */
  remove(filter: string): boolean {
    const known = this.#subscriptions.get(filter)
    if (known === undefined) return false
    this.#context.desk.unsubscribe(known)
    return this.#subscriptions.delete(filter)
  }

  clear(): void {
    for (const filter of this.#subscriptions.keys()) this.remove(filter)
  }

  /**
   * Why a filter is not granted; null: it is. Refused is what the rules forbid, what is over a limit
   * of topics or of subscriptions (I6), and what nothing would ever come for: a grant would be
   * silence. `isTooMany`: it would be one subscription more than the client may have.
   */
  #refusalOf({ filter, isOverLimit }: SubscribeRequest, isTooMany: boolean): number | null {
    const { config } = this.#context
    const { isV5 } = this.#client.codec
    const taken = (isV5 ? sharedFilter(filter)?.filter : undefined) ?? filter
    const isSilent = isDollarTopic(taken) && (config.sysInterval === null || !isSysTopic(taken))
    let refusal: ReasonCode | null = null
    if (isOverLimit || isSilent) refusal = REASON.topicFilterInvalid
    else if (!this.#rights.mayHold(taken)) refusal = REASON.notAuthorized
    else if (isTooMany) refusal = REASON.quotaExceeded
    if (refusal === null) return null
    if (!isV5) return REFUSED
    this.#context.reports.sent(refusal)
    return refusal
  }

  #subscribingOf(
    { filter: topic, options: { qos, nl, rap, rh } }: SubscribeRequest,
    identifier: number | null,
  ): Subscribing {
    if (this.#client.isBridge) return { topic, qos, nl: true, rap: true }
    if (!this.#client.codec.isV5) return { topic, qos }
    const options = { topic, qos, nl, rap, rh }
    return identifier === null ? options : { ...options, subscriptionIdentifier: identifier }
  }

  /** [MQTT-3.3.1-9] to [MQTT-3.3.1-11]; none for a shared subscription (section 4.8.2). */
  wantsRetained({ rh, topic }: Subscribing): boolean {
    if (this.#client.codec.isV5 && sharedFilter(topic) !== null) return false
    return rh === 1 ? !this.#subscriptions.has(topic) : rh !== 2
  }
}
