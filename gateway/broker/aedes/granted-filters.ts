/**
 * The subscriptions of one client of aedes, with an index of what was granted: a copy has the lower
 * of the message's QoS and the highest that was granted to a filter that takes its topic
 * [MQTT-3.3.5-1], and finding that out costs a walk over the levels of the topic, however many
 * filters there are.
 *
 * aedes keeps subscriptions in a plain object and looks for the topic of a copy among the filters
 * by name, so a wildcard filter would get copies above what it was granted, and one at QoS 0 would
 * lower those of every other filter. The object that stands in for it here notes what aedes sets
 * and deletes in the same moment, and answers so that aedes never lowers a copy by name. {@link
 * GrantedFilters.serve} puts it in place.
 */

import { TopicTrie } from '../../shared/topics/topic-trie.ts'
import type { ReplayedConnection } from '../sessions/replay.ts'

/** What aedes keeps per filter, as far as it is used here. */
export interface AedesSubscription {
  readonly qos: number
  readonly func: unknown
  readonly rh?: unknown
  readonly rap?: unknown
}

/** Of a client of aedes, what is replaced. */
export interface ServedClient {
  subscriptions: Record<string, AedesSubscription>
  deliver0: Deliver
  deliverQoS: Deliver
  readonly clean: boolean
  readonly conn: ReplayedConnection
}

export interface GrantHost {
  /** The number of DeliveryOrder that was given last. */
  now(): number
  /** A filter is granted again: another function of aedes gets its messages. */
  onReplaced(former: unknown, next: unknown): void
  /**
   * A filter of a session that goes on: what was published before, and is on its way, is for it
   * too.
   */
  onRestored(listener: unknown): void
}

type Deliver = (packet: { readonly topic: string; readonly qos: number }, done: () => void) => void

/**
 * Unlike what any SUBSCRIBE says: aedes takes a subscription that is sent again for a changed one,
 * and replaces it.
 */
const NEVER_SAME = Symbol('never the same')

/** What aedes gets back for a filter. */
class Grant implements AedesSubscription {
  readonly granted: number
  readonly func: unknown
  readonly rh: unknown
  readonly rap: unknown
  readonly nl = NEVER_SAME
  /** When it was made (DeliveryOrder). */
  readonly since: number
  readonly #filter: string
  readonly #all: GrantedFilters

  constructor(
    filter: string,
    { qos, func, rh, rap }: AedesSubscription,
    all: GrantedFilters,
    since: number,
  ) {
    this.#filter = filter
    this.since = since
    this.#all = all
    this.granted = qos
    this.func = func
    this.rh = rh
    this.rap = rap
  }

  /** Asked for the filter that is the topic of a copy, to lower the copy to it. */
  get qos(): number {
    return Math.max(this.granted, this.#all.qosOf(this.#filter))
  }
}

export class GrantedFilters {
  readonly #index = new TopicTrie<Grant>()
  readonly #grants: Record<string, Grant> = Object.create(null) as Record<string, Grant>
  readonly #record: Record<string, AedesSubscription>
  readonly #host: GrantHost
  #isRestoring = (): boolean => false

  constructor(host: GrantHost) {
    this.#host = host
    this.#record = new Proxy(this.#grants, {
      set: (grants, filter, subscription) => {
        if (typeof filter === 'string') this.#set(grants, filter, subscription as AedesSubscription)
        return true
      },
      deleteProperty: (grants, filter) => {
        if (typeof filter === 'string') this.#delete(grants, filter)
        return true
      },
    })
  }

  /** Before the client has subscribed to anything. */
  serve(client: ServedClient): void {
    client.subscriptions = this.#record
    this.#isRestoring = () => !client.clean && !client.conn.isRestored
    const { deliver0 } = client
    const sendQoS = client.deliverQoS
    const deliverQoS: Deliver = (packet, done) => {
      // It is queued, and will be replayed: sent now, too, it would come twice.
      if (packet.qos > 0 && !client.clean && !client.conn.isReplayed) done()
      else sendQoS(packet, done)
    }
    client.deliverQoS = deliverQoS
    // A filter at QoS 0 may be the first of several to be served; the others' copies are dropped as
    // duplicates then.
    client.deliver0 = (packet, done) => {
      if (packet.qos > 0 && this.qosOf(packet.topic) > 0) deliverQoS(packet, done)
      else deliver0(packet, done)
    }
  }

  /** The highest QoS that was granted to a filter that takes the topic; -1 if there is none. */
  qosOf(topic: string): number {
    const grants: Grant[] = []
    this.#index.collect(topic, grants)
    let highest = -1
    for (const { granted } of grants) if (granted > highest) highest = granted
    return highest
  }

  /** The first moment (DeliveryOrder) in which one of the filters was granted as it is now. */
  sinceOf(filters: readonly string[]): number {
    return Math.min(
      ...filters.map((filter) => this.#grants[filter]?.since ?? Number.POSITIVE_INFINITY),
    )
  }

  #set(grants: Record<string, Grant>, filter: string, subscription: AedesSubscription): void {
    const former = grants[filter]
    if (former !== undefined) this.#host.onReplaced(former.func, subscription.func)
    else if (this.#isRestoring()) this.#host.onRestored(subscription.func)
    this.#delete(grants, filter)
    const grant = new Grant(filter, subscription, this, this.#host.now())
    grants[filter] = grant
    this.#index.add(filter, grant)
  }

  #delete(grants: Record<string, Grant>, filter: string): void {
    const former = grants[filter]
    if (former === undefined) return
    this.#index.remove(filter, former)
    delete grants[filter]
  }
}
