/** The properties of CONNECT and of its will (MQTT 5, sections 3.1.2.11 and 3.1.3.2). Pure. */
import { hasWildcard } from '../publish.ts'
import type { PacketReader } from '../reader.ts'
import { isForwarded, type MessageOptions } from './message-options.ts'
import { PROPERTY } from './properties.ts'
import { type PacketFault, protocolError, REASON } from './reason-codes.ts'

export interface ConnectOptions {
  /** How long the session outlives its connection, seconds; NO_EXPIRY: for good; 0: not at all. */
  readonly sessionExpirySeconds: number
  /** Copies at QoS 1 and 2 that the client takes without having acknowledged them. */
  readonly receiveMaximum: number
  /** Bytes of a packet that the client takes; null: any. */
  readonly maximumPacketBytes: number | null
  /** The client wants reason strings. */
  readonly wantsReasons: boolean
}

/** A Session Expiry Interval that does not end. */
export const NO_EXPIRY_SECONDS = 0xffff_ffff

const MAX_RECEIVE_MAXIMUM = 65_535

export function readConnectOptions(reader: PacketReader): ConnectOptions | PacketFault {
  let sessionExpirySeconds = 0
  let receiveMaximum = MAX_RECEIVE_MAXIMUM
  let maximumPacketBytes: number | null = null
  let wantsReasons = true
  let hasMethod = false
  let hasData = false
  const fault = reader.properties('CONNECT', (id, value) => {
    if (id === PROPERTY.sessionExpiry) sessionExpirySeconds = value
    else if (id === PROPERTY.receiveMaximum) receiveMaximum = value
    else if (id === PROPERTY.maximumPacketSize) maximumPacketBytes = value
    else if (id === PROPERTY.requestProblemInformation) wantsReasons = value === 1
    else if (id === PROPERTY.authenticationMethod) hasMethod = true
    else if (id === PROPERTY.authenticationData) hasData = true
  })
  if (fault !== null) return fault
  if (hasData && !hasMethod) return protocolError('Authentication Data without a method')
  // Extended authentication is not available [MQTT-4.12.0-1].
  if (hasMethod) {
    return {
      code: REASON.badAuthenticationMethod,
      detail: 'no authentication method is known here',
    }
  }
  return { sessionExpirySeconds, receiveMaximum, maximumPacketBytes, wantsReasons }
}

interface WillOptions {
  readonly delaySeconds: number
  /** `receivedAtMs` is that of the moment in which the will is published: set then. */
  readonly options: MessageOptions | null
}

export function readWillOptions(reader: PacketReader): WillOptions | PacketFault {
  let delaySeconds = 0
  let expirySeconds: number | null = null
  let hasWrongTopic = false
  const parts: Buffer[] = []
  const fault = reader.properties('will', (id, value, start, end) => {
    if (id === PROPERTY.willDelay) delaySeconds = value
    else if (id === PROPERTY.messageExpiry) expirySeconds = value
    else if (isForwarded(id)) parts.push(reader.slice(start - 1, end))
    if (id === PROPERTY.responseTopic) hasWrongTopic ||= hasWildcard(reader.slice(start + 2, end))
  })
  if (fault !== null) return fault
  if (hasWrongTopic) return protocolError('a response topic with wildcards') // [MQTT-3.3.2-14]
  if (parts.length === 0 && expirySeconds === null) return { delaySeconds, options: null }
  const forwarded = Buffer.concat(parts)
  return { delaySeconds, options: { forwarded, expirySeconds, receivedAtMs: 0 } }
}
