/**
 * What is known of brokers that are not like others, by their documents: limits, where records go,
 * who connects, what their silence means. Pure. Where it is from:
 *
 * - AWS IoT Core: "AWS IoT Core endpoints and quotas" (AWS General Reference), and the limits that
 *   its device SDK keeps (ClientExtendedValidationAndFlowControl). What is published faster is
 *   dropped there without an answer, and the connection stays.
 * - Azure IoT Hub: "Communicate with an IoT hub using the MQTT protocol".
 * - ThingsBoard: thingsboard.yml (NETTY_MAX_PAYLOAD_SIZE) and MqttTransportHandler.java of its
 *   repository.
 */
export const PROFILE_NAMES = ['generic', 'aws-iot-core', 'azure-iot-hub', 'thingsboard'] as const
export type ProfileName = (typeof PROFILE_NAMES)[number]

/** What is published of a record: see README.md. */
export type MessageForm = 'payload' | 'record' | 'thingsboard'

export interface BrokerProfile {
  readonly topic: string
  readonly message: MessageForm
  readonly maxQos: 1 | 2
  /** Of a payload; null: not known. */
  readonly maxMessageBytes: number | null
  readonly maxTopicBytes: number
  /** Most slashes in a topic; null: no limit. */
  readonly maxTopicSlashes: number | null
  readonly maxClientIdBytes: number | null
  readonly maxWindow: number
  /** What a connection may publish; null: no limit is known. */
  readonly rate: { readonly messagesPerSecond: number; readonly bytesPerSecond: number } | null
  /** In front of a topic, and no part of its limits; null: nothing. */
  readonly freePrefix: RegExp | null
  readonly maxKeepAliveSeconds: number
  /** It knows a client by one id: a second connection ends the first. */
  readonly hasOneClientId: boolean
  readonly versions: readonly ('3.1.1' | '5')[]
  readonly retain: boolean
  readonly tlsOnly: boolean
  /** What an end of the connection without a word mostly is, for people. */
  readonly closed: string
}

const CLOSED_IN_3 = 'MQTT 3.1.1 has no word for why'

export const PROFILES: Readonly<Record<ProfileName, BrokerProfile>> = {
  generic: {
    topic: '${topic}',
    message: 'payload',
    maxQos: 2,
    maxMessageBytes: null,
    maxTopicBytes: 65_535,
    maxTopicSlashes: null,
    maxClientIdBytes: null,
    maxWindow: 1000,
    rate: null,
    freePrefix: null,
    maxKeepAliveSeconds: 65_535,
    hasOneClientId: false,
    versions: ['3.1.1', '5'],
    retain: true,
    tlsOnly: false,
    closed: CLOSED_IN_3,
  },
  'aws-iot-core': {
    topic: '${topic}',
    message: 'payload',
    maxQos: 1,
    maxMessageBytes: 128 * 1024,
    maxTopicBytes: 256,
    maxTopicSlashes: 7,
    maxClientIdBytes: 128,
    maxWindow: 100,
    rate: { messagesPerSecond: 100, bytesPerSecond: 512 * 1024 },
    freePrefix: /^\$aws\/rules\/[^/]+\//,
    maxKeepAliveSeconds: 1200,
    hasOneClientId: false,
    versions: ['3.1.1', '5'],
    retain: true,
    tlsOnly: true,
    closed:
      'AWS IoT Core closes when the policy of the certificate does not allow this client id or topic, or another client has this client id',
  },
  'azure-iot-hub': {
    topic: 'devices/${clientId}/messages/events/',
    message: 'payload',
    maxQos: 1,
    maxMessageBytes: 256 * 1024,
    maxTopicBytes: 65_535,
    maxTopicSlashes: null,
    maxClientIdBytes: 128,
    maxWindow: 100,
    rate: null,
    freePrefix: null,
    maxKeepAliveSeconds: 1767,
    hasOneClientId: true,
    versions: ['3.1.1'],
    retain: false,
    tlsOnly: true,
    closed:
      'Azure IoT Hub closes when the token expired, the topic is not devices/CLIENT-ID/messages/events/, a message is over 256 KiB, or another client has this client id',
  },
  thingsboard: {
    topic: 'v1/gateway/telemetry',
    message: 'thingsboard',
    maxQos: 1,
    maxMessageBytes: 64 * 1024,
    maxTopicBytes: 65_535,
    maxTopicSlashes: null,
    maxClientIdBytes: null,
    maxWindow: 1000,
    rate: null,
    freePrefix: null,
    maxKeepAliveSeconds: 65_535,
    hasOneClientId: false,
    versions: ['3.1.1', '5'],
    retain: true,
    tlsOnly: false,
    closed:
      'ThingsBoard closes when a message is not what its topic takes, is over its limit of size, or messages come faster than the profile of its tenant or device allows',
  },
}
