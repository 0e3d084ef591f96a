/**
 * What routes answer, as schemas, by the names that they use for it. They describe and do not
 * check: the OpenAPI document is made of them, and tests hold real answers to them; at run time
 * they are loaded with the first request for the document. Each is bound to the type of what it
 * describes, so that a member which is added there does not compile until it is here. Members that
 * a reader does not know may come with later versions.
 */
import { z } from 'zod'
import type { DevicePage } from '../../ports/devices.ts'
import {
  type ConfigReport,
  type DeadLetterChange,
  type DeadLetterPage,
  LOG_LEVELS,
  type RecordPage,
  type ReloadOutcome,
  type VerifyReport,
} from '../../ports/operator.ts'
import type {
  BrokerStatus,
  SinkStatus,
  SpoolStatus,
  Status,
  StreamStatus,
} from '../../ports/status.ts'
import type { TestReading } from '../../ports/trials.ts'
import type { Caller } from '../sign-in/caller.ts'

const count = z.int().min(0)
const counts = z.record(z.string(), count)
const at = z.iso.datetime()
const name = z.string()

const DeliveryState = z.enum(['ok', 'retrying', 'held'])

const delivery = {
  state: DeliveryState,
  since: at.nullable(),
  why: z.string().nullable(),
  nextTryAt: at.nullable(),
}

const SpoolPart: z.ZodType<SpoolStatus> = z.object({
  id: z.string(),
  state: z.enum(['ok', 'read-only', 'storage-failed', 'closed']),
  since: at.nullable(),
  why: z.string().nullable(),
  bytes: count,
  freeBytes: count,
  minFreeBytes: count,
  commits: count,
  commitFailures: count,
  lastCommitAt: at.nullable(),
  verified: z.boolean().nullable(),
  damage: z.array(z.string()),
  noticesRestore: z.boolean(),
  writtenBytesPerDay: count.nullable(),
  hoursUntilFull: z.number().min(0).nullable(),
})

const StreamPart: z.ZodType<StreamStatus> = z.object({
  name,
  sink: name.nullable(),
  priority: z.int(),
  orphaned: z.boolean(),
  spoolId: z.string(),
  counters: z.object({
    received: count,
    requeued: count,
    delivered: count,
    deadLettered: count,
    dropped: counts,
    pending: count,
  }),
  deadLetters: z.object({
    kept: count,
    keptBytes: count,
    bytesBy: z.object({ ingest: count, refused: count }),
    maxBytes: count,
    whenFull: z.enum(['hold', 'drop-oldest']).nullable(),
    requeued: count,
    removed: counts,
  }),
  backlogRecords: count,
  backlogBytes: count,
  storedBytes: count,
  maxBytes: count,
  hoursUntilFull: z.number().min(0).nullable(),
  oldestAgeSeconds: z.number().min(0).nullable(),
  headSpoolId: z.string(),
  headSeq: count,
  nextSeq: count,
  parked: count,
  waitingMessages: count,
  illFormedTexts: count,
  delivery: z.object(delivery),
})

const SinkPart: z.ZodType<SinkStatus> = z.object({
  name,
  url: z.string(),
  promise: z.object({
    delivery: z.enum(['exactly once', 'idempotent by value', 'at least once']),
    by: z.string(),
    ack: z.enum(['durable', 'replicated', 'received', 'in memory']),
  }),
  ...delivery,
  lastSuccessAt: at.nullable(),
  notConnected: z.exactOptional(z.object({ why: z.string().nullable() })),
  streams: z.array(name),
  inFlight: count,
  requests: counts,
  sentBytes: count,
  clockSkewSeconds: z.number().nullable(),
  learnedBatchBytes: count.nullable(),
})

const BrokerPart: z.ZodType<BrokerStatus> = z.object({
  accepting: z.boolean(),
  listeners: z.array(z.string()),
  connections: count,
  sessions: count,
  sessionsEnded: counts,
  openPacketIds: count,
  sockets: z.object({
    open: count,
    accepted: count,
    handshakesFailed: count,
    undatedCertificates: count,
  }),
  logins: counts,
  loginsFromCache: count,
  passwordHashes: count,
  connectionsOpened: count,
  connectionsRefused: counts,
  connectionsClosed: counts,
  messages: z.object({ qos0: count, qos1: count, qos2: count }),
  messageBytes: count,
  duplicates: count,
  willsPublished: count,
  unrouted: z.object({ accepted: count, refused: count }),
  unwanted: counts,
  mqtt5: z.object({
    connections: count,
    grantedReceiveMaximum: count,
    messagesRefused: counts,
    codesSent: counts,
    codesReceived: counts,
  }),
  neighbors: z
    .object({
      isConnected: z.boolean(),
      why: z.string().nullable(),
      told: count,
      untold: count,
      again: count,
      heard: count,
      ended: count,
      malformed: count,
    })
    .nullable(),
  lastUnrouted: z
    .object({
      topic: z.string(),
      clientId: z.string(),
      nearest: z.object({ filter: z.string(), stream: name }).nullable(),
    })
    .nullable(),
  lastSharedClientId: z
    .object({ clientId: z.string(), addresses: z.array(z.string()), at })
    .nullable(),
  waitingMessages: count,
  unackedMessages: count,
  unackedBytes: count,
  holdBackBytes: count,
  localCopies: counts,
  subscriberBytes: count,
  queuedCopies: z.object({ messages: count, bytes: count, dropped: count }),
  retainedMessages: count,
  retainedBytes: count,
  retainedRefused: count,
})

const StatusDocument: z.ZodType<Status> = z.object({
  statusVersion: z.literal(1),
  version: z.string(),
  gateway: name,
  uptimeSeconds: z.number().min(0).nullable(),
  at,
  accepting: z.boolean(),
  leaving: z.boolean(),
  clockSet: z.boolean(),
  configuration: z
    .object({
      since: at,
      probationUntil: at.nullable(),
      failedReload: z
        .object({
          outcome: z.enum(['refused', 'went-back', 'stuck']),
          at,
          why: z.string(),
        })
        .nullable(),
    })
    .nullable(),
  spool: SpoolPart,
  streams: z.array(StreamPart),
  sinks: z.array(SinkPart),
  broker: BrokerPart.nullable(),
  devices: z.object({
    count,
    connected: count,
    silent: count,
    evicted: count,
    silence: z.array(
      z.object({
        stream: name,
        silentAfterSeconds: z.number().min(0),
        silent: count,
        judged: z.boolean(),
      }),
    ),
  }),
})

const Session: z.ZodType<Caller> = z.object({
  user: z.string().nullable(),
  role: z.enum(['viewer', 'operator']),
  via: z.enum(['loopback', 'token', 'login', 'socket']),
})

const DeadLetters: z.ZodType<DeadLetterPage> = z.object({
  deadLetters: z.array(
    z.object({
      id: z.string(),
      stream: name,
      origin: z.enum(['ingest', 'refused']),
      status: z.union([z.string(), z.number()]).nullable(),
      reason: z.string(),
      deadLetteredAtMs: z.number().nullable(),
      bytes: count,
      truncated: z.boolean(),
      record: z.string(),
    }),
  ),
  next: z.string().nullable(),
})

const DeadLettersChanged: z.ZodType<DeadLetterChange> = z.object({
  changed: count,
  skipped: z.array(z.object({ id: z.string(), why: z.string() })),
})

const Devices: z.ZodType<DevicePage> = z.object({
  devices: z.array(
    z.object({
      id: z.string(),
      connected: z.boolean(),
      firstSeenAtMs: z.number(),
      lastSeenAtMs: z.number(),
      messagesPerMinute: z.number().min(0),
      messages: count,
      lastTopic: z.string().nullable(),
      lastRefusal: z
        .object({ reason: z.string(), detail: z.string(), atMs: z.number() })
        .nullable(),
      silentSinceMs: z.number().nullable(),
    }),
  ),
  total: count,
  next: z.string().nullable(),
})

const Records: z.ZodType<RecordPage> = z.object({
  records: z.array(z.string()),
  unreadable: count,
  next: z.string().nullable(),
})

const Reading: z.ZodType<TestReading> = z.object({
  id: z.string(),
  topic: z.string(),
  stages: z.array(
    z.object({
      stage: z.enum(['arrived', 'committed', 'acknowledged', 'sent', 'stored']),
      atMs: z.number().nullable(),
      detail: z.exactOptional(z.string()),
    }),
  ),
})

const Verified: z.ZodType<VerifyReport> = z.object({
  blocks: count,
  missing: count,
  damage: z.array(z.string()),
})

const Changes = z.object({
  changes: z.array(
    z.object({
      key: name,
      from: z.unknown(),
      to: z.unknown(),
      effect: z.enum(['live', 'replaced', 'restart']),
    }),
  ),
  refused: z.array(z.object({ key: name, why: z.string() })),
})

const Configuration: z.ZodType<ConfigReport> = z.object({
  path: z.string().nullable(),
  effective: z.unknown(),
  loadedAtMs: count,
  file: z.object({ readable: z.boolean(), problems: z.array(z.string()) }),
  plan: Changes,
  probation: z.object({ sinceMs: count, untilMs: count }).nullable(),
  wentBack: z.object({ atMs: count, why: z.string() }).nullable(),
})

const Reloaded: z.ZodType<ReloadOutcome> = z.object({
  applied: z.boolean(),
  plan: Changes,
  problems: z.array(z.string()),
  warnings: z.array(z.string()),
})

export const ANSWERS = {
  ConfigReport: Configuration,
  DeadLetterChange: DeadLettersChanged,
  DeadLetterPage: DeadLetters,
  DevicePage: Devices,
  Draining: z.object({ draining: name, sink: name }),
  Forgotten: z.object({ forgotten: z.string() }),
  Health: z.object({ status: z.enum(['ok', 'failed']), reasons: z.array(z.string()) }),
  Leaving: z.object({ leaving: z.literal(true) }),
  LogLevel: z.object({ level: z.enum(LOG_LEVELS) }),
  LoggedOut: z.object({ loggedOut: z.literal(true) }),
  OpenApi: z.looseObject({ openapi: z.string() }),
  Parked: z.object({ parked: name, seq: count }),
  RecordPage: Records,
  Refusal: z.object({
    error: z.looseObject({ code: z.string(), message: z.string() }),
  }),
  ReloadOutcome: Reloaded,
  Retrying: z.object({ retrying: name, state: DeliveryState }),
  Session,
  SinkPreview: z.object({ sink: name, preview: z.string() }),
  SinkTrial: z.object({
    sink: name,
    id: z.string(),
    target: z.string(),
    taken: z.boolean(),
    meaning: z.string(),
    code: z.union([z.string(), z.number()]).nullable(),
  }),
  SpoolId: z.object({ spoolId: z.string() }),
  Status: StatusDocument,
  TestReading: Reading,
  VerifyReport: Verified,
}

export type AnswerName = keyof typeof ANSWERS
