/** Reason codes of MQTT 5 that the gate sends or reads (section 2.4), under the standard's names. */
export const REASON = {
  success: 0x00,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  useAnotherServer: 0x9c,
  sharedSubscriptionsNotSupported: 0x9e,
} as const

export type ReasonCode = (typeof REASON)[keyof typeof REASON]

const CODES: ReadonlySet<number> = new Set(Object.values(REASON))

export function isReasonCode(code: number): code is ReasonCode {
  return CODES.has(code)
}

/** The message is not taken: codes from 0x80 on are final [MQTT-4.4.0-1]. */
export function isRefusal(code: number): boolean {
  return code >= 0x80
}

/** What is wrong with a packet: the code that the client is told, and words for it and for the log. */
export interface PacketFault {
  readonly code: ReasonCode
  readonly detail: string
}

/** Not the bytes that the standard asks for (section 1.2, "Malformed Packet"). */
export function malformed(detail: string): PacketFault {
  return { code: REASON.malformedPacket, detail }
}

/** Well-formed, and not allowed (section 1.2, "Protocol Error"). */
export function protocolError(detail: string): PacketFault {
  return { code: REASON.protocolError, detail }
}
