/**
 * The properties of a message as records have them: read from the block that goes on to local
 * subscribers, which was checked when it came. Pure.
 */
import type { MessageProperties } from '../../../ports/appender.ts'
import type { MessageOptions } from './message-options.ts'
import { PROPERTY, readForwarded, valueAt } from './properties.ts'

/** null: it has none that a record may have. */
export function messageProperties(options: MessageOptions | null): MessageProperties | null {
  if (options === null) return null
  const { expirySeconds, forwarded } = options
  if (forwarded.length === 0 && expirySeconds === null) return null
  const userProperties: (readonly [string, string])[] = []
  const found: { -readonly [K in keyof MessageProperties]: MessageProperties[K] } = {
    expirySeconds,
    payloadFormat: null,
    contentType: null,
    responseTopic: null,
    correlationData: null,
    userProperties,
  }
  readForwarded(forwarded, (id, value, start, end) => {
    if (id === PROPERTY.payloadFormat) found.payloadFormat = value
    else if (id === PROPERTY.contentType) found.contentType = text(forwarded, start, end)
    else if (id === PROPERTY.responseTopic) found.responseTopic = text(forwarded, start, end)
    else if (id === PROPERTY.correlationData) found.correlationData = valueAt(forwarded, start, end)
    else if (id === PROPERTY.userProperty) {
      const middle = start + 2 + forwarded.readUInt16BE(start)
      userProperties.push([text(forwarded, start, middle), text(forwarded, middle, end)])
    }
  })
  return found
}

function text(bytes: Buffer, start: number, end: number): string {
  return valueAt(bytes, start, end).toString('utf8')
}
