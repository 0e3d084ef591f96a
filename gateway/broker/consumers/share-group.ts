/**
 * One shared subscription (MQTT 5, section 4.8.2): each message goes to one of its members, in
 * turn. Members are connected clients; a message that comes while there is none is not kept for the
 * group. A copy at QoS 1 whose member leaves without having acknowledged it goes to another one
 * [MQTT-4.8.2-5]; one at QoS 2 stays with its session and ends with it [MQTT-4.8.2-4].
 */
import type { Qos } from '../mqtt/publish.ts'
import type { CopyFrames } from './copy-frames.ts'
import type { Published } from './local-delivery.ts'
import type { Subscription } from './subscription.ts'

export class ShareGroup {
  /** Without `$share` and the name of the group. */
  readonly filter: string
  readonly listener: () => void
  readonly #members: Subscription[] = []
  #turn = 0

  constructor(filter: string, onMessage: (group: ShareGroup) => void) {
    this.filter = filter
    this.listener = () => onMessage(this)
  }

  join(member: Subscription): void {
    this.#members.push(member)
  }

  /** True: it was the last one. */
  leave(member: Subscription): boolean {
    const at = this.#members.indexOf(member)
    if (at >= 0) this.#members.splice(at, 1)
    return this.#members.length === 0
  }

  /** To the member whose turn it is, of those that were there when it was published. */
  send(message: Published, frames: CopyFrames): void {
    const { length } = this.#members
    for (let tried = 0; tried < length; tried += 1) {
      const member = this.#members[this.#turn % length]!
      this.#turn += 1
      const { options, since, taker } = member
      if (since >= message.order) continue
      const identifier = options.subscriptionIdentifier
      const wanted = {
        qos: Math.min(message.qos, options.qos) as Qos,
        retain: options.rap === true && message.retain,
        identifiers: identifier === undefined ? [] : [identifier],
      }
      taker.take(message, frames, wanted, { pass: () => this.send(message, frames) })
      return
    }
  }
}
