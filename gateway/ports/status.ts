/**
 * How the gateway stands: the answer of GET /api/status, which `sluice status` prints, for a person
 * or a script. Shows I5 (conservation counters per stream), I6 (limits and what is left of them)
 * and I8 (holds and why). observe makes it, the admin server serves it, commands read it.
 *
 * Units are in the names; `…At` is RFC 3339 UTC with milliseconds. Members may be added, none
 * changes its meaning.
 */

import type { SinkPromise } from './sink.ts'

export interface Status {
  /** Of this document. Rises when a member changes its meaning. */
  readonly statusVersion: 1
  readonly version: string
  /** `gateway.id` as it is in effect. */
  readonly gateway: string
  /** null: read from the folder of a gateway that is not running. */
  readonly uptimeSeconds: number | null
  /** When this was taken. */
  readonly at: string
  /** New messages are taken: the broker listens and the spool can write. */
  readonly accepting: boolean
  /** An operator has taken it out of service: `sluice leave`. */
  readonly leaving: boolean
  /** False: the wall clock is known to be unset; records are marked. */
  readonly clockSet: boolean
  /** null for a stopped gateway. */
  readonly configuration: ConfigurationStatus | null
  readonly spool: SpoolStatus
  /** In configuration order, orphaned ones last. */
  readonly streams: readonly StreamStatus[]
  /** Empty for a stopped gateway. */
  readonly sinks: readonly SinkStatus[]
  /** null for a stopped gateway. */
  readonly broker: BrokerStatus | null
  readonly devices: DevicesStatus
}

/** The table of devices, which outlives a restart. */
interface DevicesStatus {
  /** In the table; `devices.maxDevices` bounds them. */
  readonly count: number
  /** Of those, connected now. */
  readonly connected: number
  /** Of those, silent for longer than `silentAfter` of a stream that they published to. */
  readonly silent: number
  /** Since the start: those that gave way to others. */
  readonly evicted: number
  /** Of each stream with `silentAfter`. */
  readonly silence: readonly SilenceStatus[]
}

interface SilenceStatus {
  readonly stream: string
  readonly silentAfterSeconds: number
  /** Devices that are silent on it. */
  readonly silent: number
  /**
   * False: nobody can be heard, and nobody falls silent meanwhile: the gateway takes no connections
   * or the stream no messages.
   */
  readonly judged: boolean
}

interface ConfigurationStatus {
  /** When it was put into force. */
  readonly since: string
  /** Until then the former one comes back if it fails; null: it is not on probation. */
  readonly probationUntil: string | null
  /** The last reload, if what it wanted is not in force; null: it is, or there was none. */
  readonly failedReload: FailedReload | null
}

/**
 * `refused`: nothing was changed. `went-back`: it failed within its probation, and what was in force
 * before is again. `stuck`: it failed, and what was in force before could not come back.
 */
export interface FailedReload {
  readonly outcome: 'refused' | 'went-back' | 'stuck'
  readonly at: string
  readonly why: string
}

export interface SpoolStatus {
  readonly id: string
  readonly state: SpoolState
  /** When the state began; null for a stopped gateway. */
  readonly since: string | null
  /** Why it is not `ok`, in words. */
  readonly why: string | null
  /** Real size of the folder. */
  readonly bytes: number
  /** Free on its file system. */
  readonly freeBytes: number
  /** `spool.minFreeBytes`: below it ingest closes (I6). */
  readonly minFreeBytes: number
  /** Commits fsynced since the start. */
  readonly commits: number
  readonly commitFailures: number
  readonly lastCommitAt: string | null
  /**
   * Did the background check after opening find every block? null: it still runs, or was not run.
   */
  readonly verified: boolean | null
  /** What was damaged and where it was kept, one sentence each (I7). */
  readonly damage: readonly string[]
  /** A data folder that was restored or copied is noticed at its start (I4). */
  readonly noticesRestore: boolean
  /** Bytes written to disk per day at the pace so far; null: not known. */
  readonly writtenBytesPerDay: number | null
  /**
   * Until ingest closes at `minFreeBytes`, at the pace of the last minutes, whoever fills the disk;
   * null: it is not filling, or not known yet.
   */
  readonly hoursUntilFull: number | null
}

export interface StreamStatus {
  readonly name: string
  /** null: orphaned, and no sink was named for it. */
  readonly sink: string | null
  readonly priority: number
  readonly orphaned: boolean
  readonly spoolId: string
  /** I5, first line. Committed values, since the spool was created. */
  readonly counters: ConservationCounters
  /** I5, second line. */
  readonly deadLetters: DeadLetterCounters
  /** Records not settled yet, parked ones included: `counters.pending`. */
  readonly backlogRecords: number
  /** Their uncompressed NDJSON bytes. */
  readonly backlogBytes: number
  /** Their bytes on disk as `maxBytes` counts them. */
  readonly storedBytes: number
  readonly maxBytes: number
  /**
   * Until `storedBytes` is `maxBytes`, at the pace of the last minutes; null: it is not filling, or
   * not known yet.
   */
  readonly hoursUntilFull: number | null
  /** Age of the oldest pending record; null without one. */
  readonly oldestAgeSeconds: number | null
  /** Identity of the head; differs from `spoolId` while an older identity drains. */
  readonly headSpoolId: string
  readonly headSeq: number
  readonly nextSeq: number
  readonly parked: number
  /** Messages that wait, unacknowledged, for room in this stream. */
  readonly waitingMessages: number
  /** Payloads of `payload: text` that were no UTF-8 and travel as base64, since the start. */
  readonly illFormedTexts: number
  readonly delivery: DeliveryStatus
}

export interface DeliveryStatus {
  readonly state: DeliveryState
  readonly since: string | null
  readonly why: string | null
  readonly nextTryAt: string | null
}

export interface SinkStatus {
  readonly name: string
  readonly url: string
  readonly promise: SinkPromise
  readonly state: DeliveryState
  readonly since: string | null
  readonly why: string | null
  readonly lastSuccessAt: string | null
  readonly nextTryAt: string | null
  /** Only of a sink that keeps a connection and is without it: why, null if it does not say. */
  readonly notConnected?: { readonly why: string | null }
  readonly streams: readonly string[]
  readonly inFlight: number
  /** Requests since the start by outcome. */
  readonly requests: Readonly<Record<string, number>>
  readonly sentBytes: number
  /** The sink's clock minus ours at its last dated answer; null: none yet. */
  readonly clockSkewSeconds: number | null
  /**
   * Uncompressed bytes that a batch may hold, where the sink's answers or the pace of the link
   * taught a limit below the configured one; null: they did not.
   */
  readonly learnedBatchBytes: number | null
}

/**
 * The left and right side of I5 for one stream: `received + requeued = delivered + deadLettered +
 * sum(dropped) + pending`.
 */
export interface ConservationCounters {
  readonly received: number
  /** Dead letters that came back into this stream as new records. */
  readonly requeued: number
  readonly delivered: number
  readonly deadLettered: number
  /** By reason: A reason that never occurred may be missing. */
  readonly dropped: Readonly<Record<string, number>>
  /**
   * Records that are in the spool and not settled; parked ones included. The only one that falls.
   */
  readonly pending: number
}

/** I5, second line: `deadLettered = kept + requeued + sum(removed)`. */
export interface DeadLetterCounters {
  readonly kept: number
  readonly keptBytes: number
  /** Of those bytes, what the stream refused at ingest and what its sink refused. */
  readonly bytesBy: { readonly ingest: number; readonly refused: number }
  /** For each of the two; 0 for an orphaned stream, which takes none. */
  readonly maxBytes: number
  /** null: of an orphaned stream. */
  readonly whenFull: 'hold' | 'drop-oldest' | null
  /** Dead letters of this stream that were requeued, into whatever stream. */
  readonly requeued: number
  /** By reason: expired, quota, purged, corrupt. */
  readonly removed: Readonly<Record<string, number>>
}

/**
 * How delivery of a stream or a sink stands. `held`: an alarm; nothing is lost, nothing moves until
 * a probe succeeds (I8).
 */
export type DeliveryState = 'ok' | 'retrying' | 'held'

/**
 * `read-only`: below `minFreeBytes`; ingest is closed, delivery and deletion go on (I6).
 * `storage-failed`: nothing can be written; acks are withheld. After a rejected write a reopening
 * is tried every 5 s; a commit that runs for more than 5 s is waited for.
 */
export type SpoolState = 'ok' | 'read-only' | 'storage-failed' | 'closed'

/** The broker's counts since the start. */
export interface BrokerStatus {
  /** True: listeners are bound and new connections and messages are taken. */
  readonly accepting: boolean
  /** As URLs, `mqtt://127.0.0.1:1883`. */
  readonly listeners: readonly string[]
  readonly connections: number
  readonly sessions: number
  /** Sessions that ended without their client, by why (I9). */
  readonly sessionsEnded: Readonly<Record<string, number>>
  /** QoS 2 packet ids between PUBLISH and PUBREL, in all sessions (I3). */
  readonly openPacketIds: number
  /** What the listeners see before there is MQTT; counters since this start, except `open`. */
  readonly sockets: {
    /** Open now, also those whose handshake is not done. */
    readonly open: number
    /** Also those that were refused at accept. */
    readonly accepted: number
    /** TLS, client certificate, WebSocket, or too slow. */
    readonly handshakesFailed: number
    /** Client certificates taken without regard to their dates, because the clock is not set. */
    readonly undatedCertificates: number
  }
  /**
   * Verdicts of authentication by outcome: accepted, credentials (wrong, or none where some are
   * needed), busy and damped (both: not judged, to be tried again later). Without `auth` every
   * CONNECT is accepted.
   */
  readonly logins: Readonly<Record<string, number>>
  /** Of the accepted ones, those whose credentials were known: they cost no hash. */
  readonly loginsFromCache: number
  /** Slow hashes computed. */
  readonly passwordHashes: number
  /** Counters since this start. */
  readonly connectionsOpened: number
  /** By reason: authentication, limits, protocol. */
  readonly connectionsRefused: Readonly<Record<string, number>>
  /**
   * Connections that the gateway closed, by reason (malformed, packet-too-large, forbidden-topic,
   * keepalive, …).
   */
  readonly connectionsClosed: Readonly<Record<string, number>>
  /**
   * PUBLISH packets of devices, by QoS, repeats included; gateway-wide, whatever became of them.
   */
  readonly messages: { readonly qos0: number; readonly qos1: number; readonly qos2: number }
  readonly messageBytes: number
  /** QoS 2 repeats that were recognized and not stored again (I3). */
  readonly duplicates: number
  readonly willsPublished: number
  /** Messages that no stream and no local subscription took (I9). */
  readonly unrouted: { readonly accepted: number; readonly refused: number }
  /** Messages and wills that were acknowledged and made no record, by reason (I9). */
  readonly unwanted: Readonly<Record<string, number>>
  /** Clients of MQTT 5: those that are connected, what they are granted, and what codes said. */
  readonly mqtt5: {
    readonly connections: number
    /** Receive Maximum of all of them. */
    readonly grantedReceiveMaximum: number
    /** Messages that got a refusing code under `mqtt.refusals: code`, by reason (I9). */
    readonly messagesRefused: Readonly<Record<string, number>>
    /** Reason codes other than success, by number (`0x97`). */
    readonly codesSent: Readonly<Record<string, number>>
    readonly codesReceived: Readonly<Record<string, number>>
  }
  /** What gateways tell each other of clients; null: nothing (`cluster.takeover`). */
  readonly neighbors: {
    readonly isConnected: boolean
    /** Why not; null: it is, or was not tried yet. */
    readonly why: string | null
    /** Connects here that they were told of, and those that nobody was told of. */
    readonly told: number
    readonly untold: number
    /** Connects here that they were told of again, after they could not be told of any. */
    readonly again: number
    /** Connects elsewhere that they told of, and connections here that ended over one. */
    readonly heard: number
    readonly ended: number
    readonly malformed: number
  } | null
  /** The last message that no stream took; null: none since this start. */
  readonly lastUnrouted: UnroutedMessage | null
  /** The last two clients that fought for one id; null: none since this start. */
  readonly lastSharedClientId: SharedClientId | null
  /** Messages whose verdict is not final: they wait for room in a stream. */
  readonly waitingMessages: number
  readonly unackedMessages: number
  readonly unackedBytes: number
  readonly holdBackBytes: number
  /** Copies for local subscribers that are connected, by outcome (delivered, dropped). */
  readonly localCopies: Readonly<Record<string, number>>
  /** Bytes of copies that wait: for their commit, for their turn, for a slow subscriber (I6). */
  readonly subscriberBytes: number
  /**
   * Copies kept for persistent sessions until they acknowledge them; `dropped` by a bound (I6, I9).
   */
  readonly queuedCopies: {
    readonly messages: number
    readonly bytes: number
    readonly dropped: number
  }
  readonly retainedMessages: number
  readonly retainedBytes: number
  /** Messages that a limit kept from being retained; they were delivered like any other. */
  readonly retainedRefused: number
}

export interface UnroutedMessage {
  readonly topic: string
  readonly clientId: string
  /** The filter closest to the topic, and its stream; null: none is close. */
  readonly nearest: { readonly filter: string; readonly stream: string } | null
}

/** Clients that end each other's connection, again and again. */
export interface SharedClientId {
  readonly clientId: string
  /** One, if both come from the same. */
  readonly addresses: readonly string[]
  readonly at: string
}

/** The answer of a probe. */
export interface Health {
  readonly ok: boolean
  /** One sentence each; empty if ok. */
  readonly reasons: readonly string[]
}

/** What observe shows besides the status document. */
export interface Views {
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>
  /** The last lines of the log, JSON each, whatever form they were written in. */
  recentLog(): string
  /**
   * Calls `listener` with each line of level warn and above, as JSON, until the returned function
   * is called.
   */
  followWarnings(listener: (line: string) => void): () => void
  live(): Health
  ready(): Health
}
