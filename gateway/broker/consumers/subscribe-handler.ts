/**
 * SUBSCRIBE and UNSUBSCRIBE on their way to aedes and SUBACK on its way back. aedes 1.2 stores the
 * filters that access rules refuse together with the others, answers a filter that is named twice
 * only once, and closes the connection over one with too many levels; so it gets each filter that
 * is taken once, and the SUBACK for the client is put together here, one code per filter of the
 * packet [MQTT-3.9.3-1].
 */
import { bodyOffset, SUBACK, suback, unsuback } from '../mqtt/packets.ts'
import { type Subscribe, subscribeFrame, unsubscribeFrame } from '../mqtt/subscribe.ts'

const REFUSED = 0x80

/**
 * `forward`: for aedes, null if it has nothing to do; `answer`: for the client at once, or null.
 */
interface SubscribeResult {
  readonly forward: Buffer | null
  readonly answer: Buffer | null
}

export class SubscribeHandler {
  readonly #maxSubscriptions: number
  readonly #pending = new Map<number, { packet: Subscribe; allowed: readonly string[] }>()

  constructor(maxSubscriptions: number) {
    this.#maxSubscriptions = maxSubscriptions
  }

  /**
   * `whole`: the frame as it came. `held`: filters that the client has; beyond the bound new ones are refused (I6),
   * and so is a filter over a limit of topics: 3.1.1 has a code for that.
   */
  subscribe(
    whole: Buffer,
    packet: Subscribe,
    maySubscribe: (filter: string) => boolean,
    held: Readonly<Record<string, unknown>>,
  ): SubscribeResult {
    const allowed = new Map<string, number>()
    let count = Object.keys(held).length
    for (const [index, filter] of packet.filters.entries()) {
      if (packet.overLimit.has(filter) || !maySubscribe(filter)) continue
      const isNew = !(filter in held) && !allowed.has(filter)
      if (isNew && count >= this.#maxSubscriptions) continue
      if (isNew) count += 1
      allowed.set(filter, packet.qos[index] ?? 0)
    }
    if (allowed.size === packet.filters.length) return { forward: withFlags(whole), answer: null }
    if (allowed.size === 0) {
      const codes = new Uint8Array(packet.filters.length).fill(REFUSED)
      return { forward: null, answer: suback(packet.packetId, codes) }
    }
    this.#pending.set(packet.packetId, { packet, allowed: [...allowed.keys()] })
    return { forward: subscribeFrame(packet.packetId, allowed), answer: null }
  }

  /** Filters over a limit are none that the client has: there is nothing to do about them. */
  unsubscribe(whole: Buffer, packet: Subscribe): SubscribeResult {
    if (packet.overLimit.size === 0) return { forward: withFlags(whole), answer: null }
    const known = packet.filters.filter((filter) => !packet.overLimit.has(filter))
    if (known.length === 0) return { forward: null, answer: unsuback(packet.packetId) }
    return { forward: unsubscribeFrame(packet.packetId, known), answer: null }
  }

  /**
   * A frame of aedes; a SUBACK to a packet that was changed becomes the answer to what the client
   * sent.
   */
  translate(frame: Buffer): Buffer {
    if ((frame[0]! & 0xf0) !== SUBACK) return frame
    const body = bodyOffset(frame, 0)
    const packetId = frame.readUInt16BE(body)
    const pending = this.#pending.get(packetId)
    if (pending === undefined) return frame
    this.#pending.delete(packetId)
    const { filters, qos } = pending.packet
    const granted = new Set(
      pending.allowed.filter((_, index) => frame[body + 2 + index] !== REFUSED),
    )
    // As if each filter had come in a SUBSCRIBE of its own [MQTT-3.8.4-4]: the last one of a filter
    // is the one that stays.
    const codes = filters.map((filter, index) =>
      granted.has(filter) ? (qos[index] ?? 0) : REFUSED,
    )
    return suback(packetId, Uint8Array.from(codes))
  }
}

/** A copy with the flags of 3.1.1, whatever a client of MQTT 3.1 has set there: DUP, for one. */
function withFlags(whole: Buffer): Buffer {
  const copy = Buffer.from(whole)
  copy[0] = (copy[0]! & 0xf0) | 2
  return copy
}
