/**
 * What the broker stage tells the world. `type` is `<stage>.<what>`; every event carries plain data
 * only. Events that an outsider can cause are damped where they are emitted (one per kind and
 * client or address a minute), so nobody can flood the log; `suppressed` is how many of the same
 * kind were left out since the last one.
 */

/**
 * Why the gateway closed a connection, or how it ended by itself (`client-disconnect`: DISCONNECT
 * came; `connection-lost`: it did not). Names are label values of metrics: they are not renamed.
 */
export const CLOSE_REASONS = [
  'client-disconnect',
  'connection-lost',
  'malformed',
  'packet-too-large',
  'connect-timeout',
  'keepalive',
  'frame-timeout',
  'forbidden-topic',
  'unrouted',
  'takeover',
  'slow-subscriber',
  'slow-reader',
  'qos2-window',
  'receive-maximum',
  'lost-before-delivery',
  'listener-removed',
  'leaving',
  'stopping',
  'internal-error',
] as const

export type CloseReason = (typeof CLOSE_REASONS)[number]

/** Why the gateway refused a connection before CONNACK 0. Label values, too. */
export const REFUSE_REASONS = [
  'too-many-connections',
  'stopping',
  'protocol-version',
  'identifier-rejected',
  'bad-credentials',
  'not-authorized',
  'will-forbidden',
  'login-busy',
  'login-damped',
  'sessions-full',
  'auth-timeout',
  'server-unavailable',
] as const

export type RefuseReason = (typeof REFUSE_REASONS)[number]

/**
 * Why a message that is well-formed was taken and not made a record (3.1.1 has no negative ack, and
 * a device whose connection is closed over a message sends it first again after each reconnect).
 * `dollar-topic`: under `$`, and no stream names it literally. Over a limit of topics: a dead
 * letter of each stream that takes it. Label values of a metric.
 */
export const UNWANTED_REASONS = ['dollar-topic', 'topic-too-long', 'topic-too-deep'] as const

export type UnwantedReason = (typeof UNWANTED_REASONS)[number]

/** Where a connection failed before MQTT began. */
export type HandshakeFailure = 'proxy' | 'tls' | 'client-certificate' | 'websocket' | 'timeout'

export type BrokerEvent =
  | { readonly type: 'broker.started'; readonly listeners: readonly string[] }
  /** An operator takes it out of service: devices are sent away from now on. */
  | { readonly type: 'broker.leaving'; readonly connections: number }
  /** None of them is left. */
  | { readonly type: 'broker.left' }
  | { readonly type: 'broker.stopped'; readonly connections: number; readonly unacked: number }
  /** The configuration does not name its address any more. */
  | { readonly type: 'broker.listener-closed'; readonly listener: string }
  | {
      readonly type: 'broker.listening'
      readonly host: string
      readonly port: number
      readonly tls: boolean
      readonly websocket: boolean
    }
  /**
   * The operating system reported an error of a listener that was up (for example: too many open
   * files).
   */
  | { readonly type: 'broker.listener-error'; readonly listener: string; readonly message: string }
  /** The host gives less than the configuration allows: descriptors, or memory. */
  | {
      readonly type: 'broker.limit-capped'
      readonly key: string
      readonly configured: number
      readonly effective: number
      readonly because: 'descriptors' | 'memory'
    }
  /** The gateway starts, but the kernel may end it under load. */
  | { readonly type: 'broker.memory-small'; readonly bytes: number; readonly wanted: number }
  /**
   * A connection was refused at accept, because so many are open. `most`: the address that has most
   * of them.
   */
  | {
      readonly type: 'broker.connection-refused'
      readonly limit: 'maxConnections' | 'maxConnectionsPerAddress'
      readonly most: { readonly address: string; readonly connections: number }
      readonly address: string
      readonly openConnections: number
      readonly suppressed: number
    }
  /** A connection ended before it was an MQTT connection. */
  | {
      readonly type: 'broker.handshake-failed'
      readonly kind: HandshakeFailure
      readonly listener: string
      readonly address: string
      readonly message: string
      readonly suppressed: number
    }
  /** The clock is not set: a client certificate was taken without regard to its dates. */
  | {
      readonly type: 'broker.certificate-undated'
      readonly listener: string
      readonly subject: string
      readonly suppressed: number
    }
  /** New certificates are used for new connections; connections that are open go on. */
  | {
      readonly type: 'broker.certificate-loaded'
      readonly listener: string
      readonly validTo: string
    }
  /** The certificate files changed, but cannot be used; the former ones stay in use. */
  | {
      readonly type: 'broker.certificate-refused'
      readonly listener: string
      readonly message: string
    }
  | {
      readonly type: 'broker.credentials-loaded'
      readonly file: string
      readonly users: number
    }
  | { readonly type: 'broker.access-rules-loaded'; readonly file: string; readonly rules: number }
  /** A password or access file changed, but cannot be used; the former content stays in force. */
  | { readonly type: 'broker.auth-file-refused'; readonly file: string; readonly message: string }
  /**
   * A retained message was delivered but not kept, because a limit of the retained store is
   * reached.
   */
  | {
      readonly type: 'broker.retained-refused'
      readonly reason: 'too-many' | 'too-large' | 'store-full'
      readonly topic: string
      readonly suppressed: number
    }
  /**
   * Copies queued for a session that is away were dropped, because its queue or all queues are
   * full.
   */
  | {
      readonly type: 'broker.queued-copies-dropped'
      readonly clientId: string
      readonly reason: 'session-full' | 'all-full'
      readonly suppressed: number
    }
  /**
   * A stored retained message, subscription or will cannot be read; it is left in the store and not
   * used.
   */
  | {
      readonly type: 'broker.stored-state-unreadable'
      readonly space: 'retained' | 'subscriptions' | 'wills' | 'copies'
      readonly key: string
      readonly message: string
    }
  /** A function that takes local deliveries threw; the other subscribers were served. */
  | {
      readonly type: 'broker.local-delivery-failed'
      readonly message: string
      readonly suppressed: number
    }
  | {
      readonly type: 'broker.client-refused'
      readonly reason: RefuseReason
      readonly clientId: string | null
      readonly remoteAddress: string
      readonly detail: string
      readonly suppressed: number
    }
  /** Not told for connections that ended by themselves: those are counted. */
  | {
      readonly type: 'broker.connection-closed'
      readonly reason: CloseReason
      readonly clientId: string | null
      readonly remoteAddress: string
      readonly detail: string
      readonly suppressed: number
    }
  /** Clients end each other's connections: two have this id. */
  | {
      readonly type: 'broker.client-id-shared'
      readonly clientId: string
      /** The one or two that the last takeover was between. */
      readonly addresses: readonly string[]
      /** Within the last minute. */
      readonly takeovers: number
      readonly suppressed: number
    }
  /** Another gateway that runs tells of clients under this one's id. */
  | {
      readonly type: 'broker.gateway-id-shared'
      readonly gateway: string
      readonly suppressed: number
    }
  /** I9: no stream and no local subscriber takes this topic. */
  | {
      readonly type: 'broker.message-unrouted'
      readonly clientId: string
      readonly topic: string
      readonly policy: 'accept' | 'refuse'
      /** The filter closest to the topic; null: none is close. */
      readonly nearest: string | null
      readonly suppressed: number
    }
  /**
   * I9: acknowledged and not a record, see {@link UNWANTED_REASONS}. `streams`: those that keep it
   * as a dead letter.
   */
  | {
      readonly type: 'broker.message-unwanted'
      readonly reason: UnwantedReason
      readonly clientId: string
      readonly topic: string
      readonly streams: readonly string[]
      readonly suppressed: number
    }
  /** A client of MQTT 5 was told with a code that its message is not taken. */
  | {
      readonly type: 'broker.message-refused'
      readonly reason: 'forbidden-topic' | 'unrouted'
      readonly clientId: string
      readonly topic: string
      readonly suppressed: number
    }
  /** Copies for a local subscriber that is too slow; the records themselves are not touched. */
  | {
      readonly type: 'broker.copies-dropped'
      readonly clientId: string | null
      readonly suppressed: number
    }
  | {
      readonly type: 'broker.will-dropped'
      readonly clientId: string
      readonly topic: string
      readonly why: 'forbidden' | 'no-room'
    }
  | {
      readonly type: 'broker.sessions-recovered'
      readonly sessions: number
      readonly packetIds: number
    }
  | {
      readonly type: 'broker.session-ended'
      readonly clientId: string
      readonly why: 'expired' | 'evicted'
      readonly openPacketIds: number
    }
  /** Part of the stored session state could not be read; what was readable is in use (I7). */
  | { readonly type: 'broker.sessions-damaged'; readonly detail: string }
  /** A fault inside the broker that was contained; a defect to be reported. */
  | { readonly type: 'broker.internal-error'; readonly where: string; readonly detail: string }

export type EmitBrokerEvent = (event: BrokerEvent) => void
