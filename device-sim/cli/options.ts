/**
 * Parsers of command line values, shared by the commands. Each refuses with what it got and what it
 * wants.
 */
import { InvalidArgumentError } from 'commander'
import { isProtocolMix, PROTOCOL_MIXES, type ProtocolMix } from '../fleet/dialect.ts'
import { isModelKind, MODEL_KINDS, type ModelKind } from '../models/model.ts'

export function wholeNumber(
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < least || value > most) {
      const upTo = most === Number.MAX_SAFE_INTEGER ? 'up' : `to ${most}`
      throw new InvalidArgumentError(`Want a whole number from ${least} ${upTo}, got "${text}".`)
    }
    return value
  }
}

export function positiveNumber(text: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value <= 0 || text.trim() === '') {
    throw new InvalidArgumentError(`Want a number above 0, got "${text}".`)
  }
  return value
}

export function rate(text: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value < 0 || text.trim() === '') {
    throw new InvalidArgumentError(`Want a number, 0 or more, got "${text}".`)
  }
  return value
}

/** A share from 0 to 1, also as `5%`. */
export function share(text: string): number {
  const percent = text.endsWith('%')
  const value = Number(percent ? text.slice(0, -1) : text) / (percent ? 100 : 1)
  if (!Number.isFinite(value) || value < 0 || value > 1 || text.trim() === '') {
    throw new InvalidArgumentError(`Want a share from 0 to 1 or 0% to 100%, got "${text}".`)
  }
  return value
}

/** `0:50:50`: weights of QoS 0, 1 and 2. */
export function qosShares(text: string): readonly [number, number, number] {
  const [zero, one, two, ...more] = text
    .split(':')
    .map((part) => (part.trim() === '' ? Number.NaN : Number(part)))
  const wrong = new InvalidArgumentError(
    `Want weights of QoS 0, 1 and 2 such as 0:50:50, not all 0, got "${text}".`,
  )
  if (zero === undefined || one === undefined || two === undefined || more.length > 0) throw wrong
  if (![zero, one, two].every((weight) => Number.isFinite(weight) && weight >= 0)) throw wrong
  if (zero + one + two === 0) throw wrong
  return [zero, one, two]
}

export function protocolMix(text: string): ProtocolMix {
  if (isProtocolMix(text)) return text
  throw new InvalidArgumentError(`Want one of ${PROTOCOL_MIXES.join(', ')}, got "${text}".`)
}

const PLACEHOLDERS = ['{device}', '{model}', '{n}']

/** A topic that devices publish on [MQTT-3.3.2-2, 4.7.3-1, -2], with placeholders. */
export function topicTemplate(text: string): string {
  const unknown = (text.match(/\{[^}]*\}?/g) ?? []).find((one) => !PLACEHOLDERS.includes(one))
  if (unknown !== undefined) {
    throw new InvalidArgumentError(
      `Want no other placeholders than ${PLACEHOLDERS.join(', ')}, got "${unknown}".`,
    )
  }
  if (text === '' || /[+#\0]/.test(text) || text.startsWith('$')) {
    throw new InvalidArgumentError(
      `Want a topic to publish on, without + and # and not beginning with $, got "${text}".`,
    )
  }
  return text
}

export function models(text: string): readonly ModelKind[] {
  const kinds = text.split(',').map((name) => name.trim())
  const known = kinds.filter(isModelKind)
  const wrong = kinds.find((name) => !isModelKind(name))
  if (wrong !== undefined) {
    throw new InvalidArgumentError(
      `Want some of ${MODEL_KINDS.join(', ')}, separated by commas, got "${wrong}".`,
    )
  }
  return known
}

export function brokerUrl(text: string): string {
  const scheme = URL.canParse(text) ? new URL(text).protocol : ''
  if (!['mqtt:', 'mqtts:', 'ws:', 'wss:'].includes(scheme)) {
    throw new InvalidArgumentError(
      `Want mqtt://host:port, mqtts://, ws:// or wss://, got "${text}".`,
    )
  }
  return text
}
