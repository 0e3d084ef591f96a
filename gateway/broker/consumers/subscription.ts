/** One filter of a connected client, and what the desk asks of the client. */
import type { Qos } from '../mqtt/publish.ts'
import type { KeptCopy } from '../sessions/session-queues.ts'
import type { Subscribing } from '../sessions/stored-subscriptions.ts'
import type { CopyFrames } from './copy-frames.ts'
import type { Published } from './local-delivery.ts'
import type { Share } from './outbound-queue.ts'

/** A connected client, as far as the desk sees it. */
export interface Taker {
  readonly clientId: string
  /** A copy that is kept nowhere. `share`: it is for a group, of which this is one member. */
  take(message: Published, frames: CopyFrames, wanted: Wanted, share: Share | null): void
  /** A copy that is kept for its session. */
  takeKept(copy: KeptCopy, frames: CopyFrames): void
}

/** One filter of a connected client. */
export class Subscription {
  readonly taker: Taker
  readonly options: Subscribing
  /** Messages up to this number (DeliveryOrder) were published before it. */
  readonly since: number
  readonly listener: () => void

  constructor(
    taker: Taker,
    options: Subscribing,
    since: number,
    onMessage: (subscription: Subscription) => void,
  ) {
    this.taker = taker
    this.options = options
    this.since = since
    this.listener = () => onMessage(this)
  }
}

/** What a client's filters say together about one message [MQTT-3.3.5-1], [MQTT-3.3.4-2]. */
export interface Wanted {
  qos: Qos
  retain: boolean
  readonly identifiers: number[]
}
