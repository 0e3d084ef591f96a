/**
 * Which version of MQTT a device speaks, and what of version 5 it makes use of: decided by the seed
 * and the device alone, so that a fleet is as mixed as the field and one seed reproduces it. Pure.
 */
import { Random } from '../random.ts'

export type Protocol = '3.1.1' | '5'

/** What a fleet may be told; `mix`: half and half, by the seed. */
export const PROTOCOL_MIXES = ['3.1.1', '5', 'mix'] as const
export type ProtocolMix = (typeof PROTOCOL_MIXES)[number]

export interface Dialect {
  readonly protocol: Protocol
  /** Sends a number in place of a topic that it has sent before on the connection. */
  readonly usesAliases: boolean
  /** Gives its readings a content type and user properties. */
  readonly usesProperties: boolean
}

const SHARE_OF_5 = 0.5
const SHARE_WITH_ALIASES = 0.5
const SHARE_WITH_PROPERTIES = 0.5

export function dialectOf(mix: ProtocolMix, seed: string, device: string): Dialect {
  const random = new Random(seed, `dialect/${device}`)
  // The same numbers are drawn whatever is decided.
  const drawn: Protocol = random.chance(SHARE_OF_5) ? '5' : '3.1.1'
  const aliases = random.chance(SHARE_WITH_ALIASES)
  const properties = random.chance(SHARE_WITH_PROPERTIES)
  const protocol = mix === 'mix' ? drawn : mix
  const is5 = protocol === '5'
  return { protocol, usesAliases: is5 && aliases, usesProperties: is5 && properties }
}

export function isProtocolMix(text: string): text is ProtocolMix {
  return (PROTOCOL_MIXES as readonly string[]).includes(text)
}
