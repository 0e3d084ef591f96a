/**
 * What observe reads of the other stages, and all that it knows of them: functions that return
 * plain data. The composition root implements {@link StatusSources} from the stages' own counts;
 * observe calls it at each scrape and each GET /api/status, so nothing here is on the hot path and
 * nothing is counted twice.
 *
 * Counters are committed values (I5): they are what a restart would find. Times are ms since the
 * epoch, sizes bytes. Not here: the JSON that operators see (status.ts), metric names
 * (metric-table.ts).
 */

import type { SpoolState } from '../spool/stats.ts'

/** What the stages hand over at each look. No function may throw or wait. */
export interface StatusSources {
  identity(): IdentitySnapshot
  /** In configuration order; orphaned streams (in the spool, no longer configured) behind them. */
  streams(): readonly StreamSnapshot[]
  sinks(): readonly SinkSnapshot[]
  broker(): BrokerSnapshot
  spool(): SpoolSnapshot
}

export interface IdentitySnapshot {
  readonly version: string
  /** `gateway.id` as it is in effect. */
  readonly gateway: string
  /** By a monotonic clock: the wall clock of an edge box jumps at boot. */
  readonly uptimeSeconds: number
  /** False: the wall clock is known to be unset, and records say so. */
  readonly clockSet: boolean
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
  /** By reason: see {@link DROP_REASONS}. A reason that never occurred may be missing. */
  readonly dropped: Readonly<Record<string, number>>
  /**
   * Records that are in the spool and not settled; parked ones included. The only one that falls.
   */
  readonly pending: number
}

/**
 * Reasons of {@link ConservationCounters.dropped}; those with a seq also become a gap of the same
 * name (I9).
 */
export const DROP_REASONS = [
  'expired',
  'dropped-oldest',
  'drop-newest',
  'full-qos0',
  'corrupt',
  'purged',
] as const

/** I5, second line: `deadLettered = kept + requeued + sum(removed)`. */
export interface DeadLetterCounters {
  readonly kept: number
  readonly keptBytes: number
  /** Dead letters of this stream that were requeued, into whatever stream. */
  readonly requeued: number
  /** By reason: see {@link DEAD_LETTER_REMOVALS}. */
  readonly removed: Readonly<Record<string, number>>
}

export const DEAD_LETTER_REMOVALS = ['expired', 'quota', 'purged', 'corrupt'] as const

/**
 * How delivery of a stream or a sink stands. `held`: an alarm; nothing is lost, nothing moves until
 * a probe succeeds (I8).
 */
export type DeliveryState = 'ok' | 'retrying' | 'held'

export interface DeliverySnapshot {
  readonly state: DeliveryState
  /** When the state began; null while it is `ok`. */
  readonly sinceMs: number | null
  /** The last answer or error in words, never a secret; null while it is `ok`. */
  readonly why: string | null
  /** When the next try or probe is due; null: nothing is waited for. */
  readonly nextTryAtMs: number | null
}

export interface StreamSnapshot {
  readonly name: string
  /** Name of its sink; null for an orphaned stream, unless an operator gave it to one. */
  readonly sink: string | null
  /** 0 (first) to 9. */
  readonly priority: number
  /** True: the spool holds records of it, the configuration does not name it. */
  readonly orphaned: boolean
  /** Identity under which new records are numbered. */
  readonly spoolId: string
  readonly counters: ConservationCounters
  readonly deadLetters: DeadLetterCounters
  /** Uncompressed NDJSON bytes of the pending records. */
  readonly backlogBytes: number
  /** Bytes of its stored values, the number that `maxBytes` limits. */
  readonly storedBytes: number
  /** 0 for an orphaned stream. */
  readonly maxBytes: number
  /** When the oldest pending record was received; null without one. */
  readonly oldestReceivedAtMs: number | null
  /** Identity of the head; differs from `spoolId` while an older identity drains. */
  readonly headSpoolId: string
  /** Lowest seq that is not settled; equals `nextSeq` if nothing is pending. */
  readonly headSeq: number
  readonly nextSeq: number
  /** Refused records that wait for the proof that the sink does not refuse everything. */
  readonly parked: number
  /** Messages that wait, unacknowledged, for room in this stream (`whenFull: block`, I6). */
  readonly waitingMessages: number
  /** Payloads of `payload: text` that were no UTF-8 and travel as base64, since the start. */
  readonly illFormedTexts: number
  readonly delivery: DeliverySnapshot
}

export interface SinkSnapshot {
  readonly name: string
  /** Without user, password and query. */
  readonly url: string
  readonly delivery: DeliverySnapshot
  /** When it last acked something; null: not since this start. */
  readonly lastSuccessAtMs: number | null
  /** Names of the streams that it serves. */
  readonly streams: readonly string[]
  /** Requests by outcome since this start: see {@link SINK_OUTCOMES}. */
  readonly requests: Readonly<Record<string, number>>
  /** Compressed bytes of request bodies since this start, repeats included. */
  readonly sentBytes: number
  readonly inFlight: number
  readonly requestSeconds: HistogramSnapshot
  /** Sink's `Date` minus our clock at the last answer that had one; null: none yet. */
  readonly clockSkewSeconds: number | null
}

/** Kinds of answer as the contract's table groups them. */
export const SINK_OUTCOMES = [
  'acked',
  'partial',
  'retry',
  'too-large',
  'refused',
  'malformed',
  'hold',
] as const

export interface BrokerSnapshot {
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
   * Verdicts of authentication by outcome: see {@link LOGIN_OUTCOMES}. Without `auth` every CONNECT
   * is accepted.
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
  /** QoS 2 repeats that were recognised and not stored again (I3). */
  readonly duplicates: number
  /**
   * QoS 0 messages that the spool could take into no stream; those of a full stream are in its
   * `full-qos0` (I9).
   */
  readonly qos0Refused: number
  readonly willsPublished: number
  /** Messages that no stream and no local subscription took (I9). */
  readonly unrouted: { readonly accepted: number; readonly refused: number }
  /** Messages and wills that were acknowledged and made no record, by reason (I9). */
  readonly unwanted: Readonly<Record<string, number>>
  /** The last of those; null: none since this start. */
  readonly lastUnrouted: UnroutedMessage | null
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
  /** From the arrival of a QoS 1 or 2 PUBLISH to its ack on the wire. */
  readonly ackSeconds: HistogramSnapshot
}

export interface UnroutedMessage {
  readonly topic: string
  readonly clientId: string
  /** The filter that the topic misses by least, and its stream; null: none is close. */
  readonly nearest: { readonly filter: string; readonly stream: string } | null
}

/**
 * `credentials`: wrong, or none where some are needed; `busy`, `damped`: not judged, to be tried again later.
 */
export const LOGIN_OUTCOMES = ['accepted', 'credentials', 'busy', 'damped'] as const

export interface SpoolSnapshot {
  readonly id: string
  readonly state: SpoolState
  readonly sinceMs: number
  /** Why it is not `ok`, in words; null if it is. */
  readonly why: string | null
  /** Real size of the folder. */
  readonly folderBytes: number
  readonly freeBytes: number
  readonly minFreeBytes: number
  /** Commits fsynced since this start. */
  readonly commits: number
  /** Commits that failed and were answered by close, reopen, replay, since this start. */
  readonly commitFailures: number
  /** Records that these commits made durable. */
  readonly committedRecords: number
  /** Bytes of the operations handed to the store, without its own amplification. */
  readonly committedBytes: number
  /** When the last commit was fsynced; null: none since this start. */
  readonly lastCommitAtMs: number | null
  /**
   * How long the commit in flight has been running, by a monotonic clock; null: none is. One that
   * does not end is a wedged spool (/livez).
   */
  readonly commitRunningSeconds: number | null
  /** Did the background check find every block between heads and next seqs? null: it still runs. */
  readonly verified: boolean | null
  /** What was damaged and where the damaged files were kept, one sentence each (I7). */
  readonly damage: readonly string[]
  /**
   * A data folder that was restored or copied is noticed at its start: the file system tells its
   * files apart.
   */
  readonly noticesRestore: boolean
  /** From handing a batch to the store to its fsync. */
  readonly commitSeconds: HistogramSnapshot
}

/**
 * A latency histogram as plain numbers. `counts[i]` observations were at most `bucketsSeconds[i]`
 * and more than the bound before it (not cumulative); one count more than bounds, for the rest.
 */
export interface HistogramSnapshot {
  readonly bucketsSeconds: readonly number[]
  readonly counts: readonly number[]
  readonly sumSeconds: number
  readonly count: number
}
