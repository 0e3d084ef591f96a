/**
 * What the broker's doors tell the world: listeners, certificates, credentials, and the state kept
 * for local consumers. Joined into the broker's union in `events.ts`. Events that an outsider can
 * cause are damped where they are emitted (one per kind and address a minute, with the number of
 * those left out), so nobody can flood the log.
 */

export type DoorEvent =
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

/** Where a connection failed before MQTT began. */
export type HandshakeFailure = 'tls' | 'client-certificate' | 'websocket' | 'timeout'

export type EmitDoorEvent = (event: DoorEvent) => void

/** For callers that do not listen. */
export const noDoorEvents: EmitDoorEvent = () => {}
