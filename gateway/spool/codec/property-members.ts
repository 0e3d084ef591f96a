/**
 * Members of a record for the properties of MQTT 5 that its stream names or honors, in one order
 * whatever the order of the names: `"messageExpiry":60,"payloadFormat":1,"contentType":"…","responseTopic":"…",
 * "correlationData":"<base64>","userProperties":[["<name>","<value>"],…]`. A property that the
 * message does not have is no member. Pure.
 */
import type { MessageProperties } from '../../ports/appender.ts'

/** The properties that a stream may name. */
export const RECORD_PROPERTIES = [
  'payloadFormat',
  'contentType',
  'responseTopic',
  'correlationData',
  'userProperties',
] as const satisfies readonly (keyof MessageProperties)[]

export type RecordProperty = (typeof RECORD_PROPERTIES)[number]

/** `withExpiry`: its stream honors it. null: the message has none of them. */
export function propertyMembers(
  names: readonly RecordProperty[],
  withExpiry: boolean,
  properties: MessageProperties,
): Uint8Array | null {
  const members: string[] = []
  const { expirySeconds } = properties
  if (withExpiry && expirySeconds !== null) members.push(`"messageExpiry":${expirySeconds}`)
  for (const name of RECORD_PROPERTIES) {
    const value = names.includes(name) ? valueOf(name, properties) : null
    if (value !== null) members.push(`"${name}":${JSON.stringify(value)}`)
  }
  return members.length === 0 ? null : Buffer.from(members.join())
}

function valueOf(name: RecordProperty, properties: MessageProperties): unknown {
  switch (name) {
    case 'correlationData': {
      const { correlationData } = properties
      return correlationData === null ? null : Buffer.from(correlationData).toString('base64')
    }
    case 'userProperties':
      return properties.userProperties.length === 0 ? null : properties.userProperties
    default:
      return properties[name]
  }
}
