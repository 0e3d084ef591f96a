/**
 * The effective configuration, after defaults, environment and units were applied: what every stage
 * is given. Names are those of the YAML file. Durations are milliseconds, sizes are bytes; YAML
 * carries the unit.
 */

/**
 * A secret as configured: a literal, or a file that is read again when it changes (trailing newline
 * cut).
 */
export type Secret = { readonly value: string } | { readonly file: string }

export interface Config {
  readonly gateway: GatewayConfig
  readonly mqtt: MqttConfig
  /** By stream name, `[a-z0-9][a-z0-9-]{0,62}`. */
  readonly streams: Readonly<Record<string, StreamConfig>>
  /** By sink name, same alphabet. */
  readonly sinks: Readonly<Record<string, HttpSinkConfig>>
  readonly spool: SpoolConfig
  readonly admin: AdminConfig
  readonly log: LogConfig
}

export interface GatewayConfig {
  /** null: derived once from the host name and kept in the spool. */
  readonly id: string | null
  /** Absolute path. */
  readonly dataDir: string
  /** How long a stop may take before it becomes a hard one, ms. */
  readonly stopTimeout: number
}

export interface ServerTlsConfig {
  readonly cert: string
  readonly key: string
  readonly ca: string | null
  readonly requireClientCert: boolean
}

export interface AuthConfig {
  /** null: clients are known by their certificate, or not at all. */
  readonly passwordFile: string | null
  readonly aclFile: string | null
}

export interface ListenerConfig {
  readonly host: string
  readonly port: number
  readonly tls: ServerTlsConfig | null
  readonly websocket: boolean
  /** Overrides `mqtt.auth`; undefined: that one. */
  readonly auth?: AuthConfig | null
}

/**
 * Every limit of the broker: name, unit, default in the schema; the policy is in README's table of
 * limits.
 */
export interface MqttLimits {
  readonly maxConnections: number
  /** null: as many as `maxConnections`. */
  readonly maxConnectionsPerAddress: number | null
  readonly maxPacketBytes: number
  readonly maxConnectPacketBytes: number
  readonly maxTopicBytes: number
  readonly maxTopicLevels: number
  readonly maxUnackedMessages: number
  readonly maxUnackedBytes: number
  readonly maxUnackedMessagesTotal: number
  readonly maxUnackedBytesTotal: number
  readonly maxHoldBackBytes: number
  readonly maxHoldBackBytesTotal: number
  readonly connectTimeout: number
  readonly authTimeout: number
  readonly maxSessions: number
  readonly sessionExpiry: number
  readonly maxSubscriberMessages: number
  readonly maxSubscriberBytes: number
  readonly maxSubscriberBytesTotal: number
  readonly maxSubscriptions: number
  readonly maxRetainedMessages: number
  readonly maxRetainedMessageBytes: number
  readonly maxRetainedBytes: number
}

export interface MqttConfig extends MqttLimits {
  readonly listeners: readonly ListenerConfig[]
  readonly auth: AuthConfig | null
  readonly allowAnonymous: boolean
  readonly unrouted: 'accept' | 'refuse'
  /** On stop: wills of connected clients are appended before the last commit, or not. */
  readonly willsOnStop: 'publish' | 'suppress'
  /** ms; null: there is no `$SYS` tree. */
  readonly sysInterval: number | null
}

export interface StreamConfig {
  /** MQTT topic filters; `#` does not match topics that begin with `$`. */
  readonly topics: readonly string[]
  /** The name of exactly one sink. */
  readonly sink: string
  /** The record's `device`: the client id, or a topic level (0 is the first) as `topic:<level>`. */
  readonly device: 'clientId' | `topic:${number}`
  readonly payload: 'any' | 'json' | 'text'
  /** 0 is served first, 9 last. */
  readonly priority: number
  readonly maxRecordBytes: number
  readonly maxBytes: number
  /** ms, null: no limit. */
  readonly maxAge: number | null
  readonly whenFull: 'block' | 'drop-oldest' | 'drop-newest'
  readonly deadLetters: DeadLetterConfig
}

export interface DeadLetterConfig {
  /** Applies to ingest and to sink refusals each. */
  readonly maxBytes: number
  readonly maxAge: number | null
  readonly whenFull: 'hold' | 'drop-oldest'
}

export interface ClientTlsConfig {
  readonly ca: string | null
  readonly cert: string | null
  readonly key: string | null
}

/** Rows of the contract's answer table. */
export type AnswerMeaning = 'acked' | 'retry' | 'refused' | 'too-large' | 'hold'

export interface HttpSinkConfig {
  readonly type: 'http'
  readonly url: string
  readonly headers: Readonly<Record<string, Secret>>
  readonly bearerToken: Secret | null
  readonly tls: ClientTlsConfig | null
  readonly format: 'ndjson'
  readonly compression: 'gzip' | 'none'
  readonly ack: 'status' | 'body'
  readonly ackStatus: readonly number[]
  /**
   * What a status outside of 2xx means at this sink, where that differs from the contract's table.
   * By status.
   */
  readonly answers: Readonly<Record<string, AnswerMeaning>>
  /**
   * How many streams of this sink may have a request in progress; never more than one per stream.
   */
  readonly maxInFlight: number
  readonly maxBatchRecords: number
  readonly maxBatchBytes: number
  readonly linger: number
  readonly connectTimeout: number
  readonly timeout: number
  readonly minBytesPerSecond: number
  readonly maxRetryAfter: number
  readonly recoveryJitter: number
  readonly maxBytesPerSecond: number | null
  readonly maxRefusedShare: number
  readonly allowInsecure: boolean
}

export interface SpoolConfig {
  readonly commitInterval: number
  readonly commitBurst: number
  readonly minFreeBytes: number
}

export interface AdminConfig {
  readonly host: string
  readonly port: number
  readonly token: Secret | null
}

export interface LogConfig {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error'
  readonly format: 'auto' | 'json' | 'pretty'
}
