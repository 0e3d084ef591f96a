/**
 * What went wrong with a batch -> an answer, by the error codes of Kafka's protocol. Pure. A code
 * says whose trouble it is: a partition's for a while (retry), an operator's (hold), the size's, or
 * one record's. One that is not in the table holds: nothing is given up for a code that nobody here
 * knows (I8). Where partitions disagree the most careful meaning counts.
 */
import type { Scope, SinkAnswer } from '../../ports/sink.ts'
import { errorMessage, systemCode } from '../../shared/errors.ts'
import { printable } from '../http/answers/answer.ts'
import { hideInAnswer } from '../http/answers/hide-secrets.ts'
import type { Shown } from './credentials.ts'

type Meaning =
  | { readonly kind: 'retry'; readonly scope: Scope; readonly throttled?: true }
  | { readonly kind: 'hold'; readonly scope: Scope; readonly fix: string }
  | { readonly kind: 'too-large' | 'refused' }

const LATER: Meaning = { kind: 'retry', scope: 'stream' }
const LATER_ALL: Meaning = { kind: 'retry', scope: 'sink' }
const TOO_LARGE: Meaning = { kind: 'too-large' }
const REFUSED: Meaning = { kind: 'refused' }
const hold = (scope: Scope, fix: string): Meaning => ({ kind: 'hold', scope, fix })

const MEANINGS: Readonly<Record<string, Meaning>> = {
  // A partition or its replicas, for a while.
  LEADER_NOT_AVAILABLE: LATER,
  NOT_LEADER_OR_FOLLOWER: LATER,
  FENCED_LEADER_EPOCH: LATER,
  UNKNOWN_LEADER_EPOCH: LATER,
  REPLICA_NOT_AVAILABLE: LATER,
  NOT_ENOUGH_REPLICAS: LATER,
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: LATER,
  REQUEST_TIMED_OUT: LATER,
  KAFKA_STORAGE_ERROR: LATER,
  CORRUPT_MESSAGE: LATER,
  UNKNOWN_SERVER_ERROR: LATER,
  // The producer's number or its sequence was lost: the next try has new ones.
  OUT_OF_ORDER_SEQUENCE_NUMBER: LATER,
  DUPLICATE_SEQUENCE_NUMBER: LATER,
  UNKNOWN_PRODUCER_ID: LATER,
  INVALID_PRODUCER_EPOCH: LATER,
  INVALID_PRODUCER_ID_MAPPING: LATER,
  PRODUCER_FENCED: LATER,
  // A broker, for a while.
  BROKER_NOT_AVAILABLE: LATER_ALL,
  NETWORK_EXCEPTION: LATER_ALL,
  COORDINATOR_LOAD_IN_PROGRESS: LATER_ALL,
  COORDINATOR_NOT_AVAILABLE: LATER_ALL,
  NOT_COORDINATOR: LATER_ALL,
  NOT_CONTROLLER: LATER_ALL,
  THROTTLING_QUOTA_EXCEEDED: { kind: 'retry', scope: 'sink', throttled: true },
  // What was sent.
  MESSAGE_TOO_LARGE: TOO_LARGE,
  RECORD_LIST_TOO_LARGE: TOO_LARGE,
  INVALID_RECORD: REFUSED,
  INVALID_TIMESTAMP: REFUSED,
  // What an operator has to see to, for the topics of a stream.
  UNKNOWN_TOPIC_OR_PARTITION: hold('stream', 'create the topic: the gateway does not'),
  INVALID_TOPIC_EXCEPTION: hold('stream', 'change topic: the cluster takes no such name'),
  TOPIC_AUTHORIZATION_FAILED: hold('stream', 'give the user the right to write to the topic'),
  POLICY_VIOLATION: hold('stream', 'a policy of the cluster forbids it'),
  UNSUPPORTED_FOR_MESSAGE_FORMAT: hold('stream', 'the topic keeps a format before Kafka 0.11'),
  INVALID_REQUIRED_ACKS: hold('stream', 'the topic does not allow acks of all replicas'),
  // The same, for all of them.
  CLUSTER_AUTHORIZATION_FAILED: hold('sink', 'give the user the right IdempotentWrite'),
  SASL_AUTHENTICATION_FAILED: hold('sink', 'correct sasl: the brokers refuse this user'),
  UNSUPPORTED_SASL_MECHANISM: hold('sink', 'change sasl.mechanism: the brokers have others'),
  ILLEGAL_SASL_STATE: hold('sink', 'set sasl as the brokers want it'),
  SECURITY_DISABLED: hold('sink', 'set sasl: null'),
  UNSUPPORTED_COMPRESSION_TYPE: hold('sink', 'change compression: the brokers take others'),
  UNSUPPORTED_VERSION: hold('sink', 'this cluster is too old, or too new'),
}

/** Of what somebody else says, characters. */
const MAX_WORDS = 200

/** Of several, the first of these that there is counts. */
const CAREFUL = ['hold', 'retry', 'too-large', 'refused'] as const

/** One thing that went wrong, as the client's errors tell it. */
interface Fault {
  readonly meaning: Meaning
  readonly code: string | null
  readonly words: string
  /** A broker said so. */
  readonly answered: boolean
}

/** The members of the client's errors that are read; all of them may be missing. */
interface ClientError {
  readonly code?: unknown
  readonly apiId?: unknown
  readonly serverErrorMessage?: unknown
  readonly path?: unknown
  readonly response?: unknown
  readonly errors?: unknown
  readonly cause?: unknown
}

/** What surrounds an error. */
interface ErrorContext {
  /** The brokers, for people. */
  readonly target: string
  /** Nothing of the batch can have left. */
  readonly unsent: boolean
  /** What the brokers were shown, and may quote. */
  readonly shown: Shown
}

export function answerTo(error: unknown, { target, unsent, shown }: ErrorContext): SinkAnswer {
  const answer = meaningOf(error, target, unsent)
  return shown.sasl === undefined ? answer : hideInAnswer(answer, [shown.sasl.password])
}

function meaningOf(error: unknown, target: string, unsent: boolean): SinkAnswer {
  const faults = faultsOf(error, null)
  const kind = CAREFUL.find((one) => faults.some(({ meaning }) => meaning.kind === one)) ?? 'retry'
  const fault = faults.find(({ meaning }) => meaning.kind === kind)
  const { meaning, code, words, answered } = fault ?? networkFault(error)
  const said = { code, sinkDateMs: null }
  const detail = answered ? `${target} answered ${words}` : `no answer from ${target}: ${words}`
  switch (meaning.kind) {
    case 'retry':
      return { ...said, ...meaning, retryAfterMs: null, detail, answered, unsent }
    case 'hold': {
      const { kind: held, scope, fix } = meaning
      return { ...said, kind: held, scope, detail: `${detail}; ${fix}`, unsent }
    }
    default:
      return { ...said, kind: meaning.kind, detail }
  }
}

/** All faults below an error, in the order in which they were met. */
function faultsOf(error: unknown, response: unknown): Fault[] {
  if (typeof error !== 'object' || error === null) return []
  const { apiId, errors, cause, response: own = response } = error as ClientError
  if (typeof apiId === 'string') return [protocolFault(error, apiId, own)]
  const said = saidByClient(error as ClientError & Error)
  const below = [...(Array.isArray(errors) ? errors : []), ...(cause === undefined ? [] : [cause])]
  const found = below.flatMap((each) => faultsOf(each, own))
  return said === null ? found : [said, ...found]
}

function protocolFault(error: ClientError, id: string, response: unknown): Fault {
  const topic = topicAt(error.path, response)
  const unknown = hold('stream', 'this code is not known here: nothing is given up for it')
  const { serverErrorMessage: own } = error
  const told = typeof own === 'string' && own !== '' ? `: ${printable(own, MAX_WORDS)}` : ''
  const words = `${id}${topic === null ? '' : ` for topic ${topic}`}${told}`
  return {
    meaning: (Object.hasOwn(MEANINGS, id) ? MEANINGS[id] : undefined) ?? unknown,
    code: id,
    words,
    answered: true,
  }
}

/** What the client itself makes of an answer, or of its absence. */
function saidByClient({ code, message }: ClientError & { readonly message: string }): Fault | null {
  const topic = /^Unknown topic (.+)\.$/.exec(message)?.[1]
  if (topic !== undefined) return protocolFault({ path: topic }, 'UNKNOWN_TOPIC_OR_PARTITION', null)
  if (message === 'Broker requires TLS.') {
    const meaning = hold('sink', 'the port wants TLS: write tls: {}')
    return { meaning, code: null, words: 'with TLS', answered: true }
  }
  if (code === 'PLT_KFK_AUTHENTICATION') {
    const meaning = hold('sink', 'correct sasl: the brokers refuse this user')
    return { meaning, code: 'SASL_AUTHENTICATION_FAILED', words: message, answered: true }
  }
  if (code === 'PLT_KFK_UNSUPPORTED_API' || code === 'PLT_KFK_UNSUPPORTED_COMPRESSION') {
    const meaning = hold('sink', 'this client cannot talk to it')
    return { meaning, code: null, words: message, answered: true }
  }
  return null
}

/** Nobody answered, or what came was no answer: the deepest reason that there is. */
function networkFault(error: unknown): Fault {
  const root = rootOf(error)
  const words = printable(errorMessage(root), MAX_WORDS)
  return { meaning: LATER_ALL, code: systemCode(root), words, answered: false }
}

function rootOf(error: unknown): unknown {
  const { errors, cause } = (error ?? {}) as ClientError
  const below: unknown = Array.isArray(errors) ? errors.at(-1) : cause
  return below === undefined || below === null ? error : rootOf(below)
}

/** `/responses/0/partition_responses/1` of what a broker answered; a name in place of it. */
function topicAt(path: unknown, response: unknown): string | null {
  if (typeof path !== 'string' || path === '/') return null
  const index = /^\/(responses|topics)\/(\d+)/.exec(path)
  if (index === null) return path.startsWith('/') ? null : path
  const list = (response as Readonly<Record<string, unknown>> | null)?.[index[1] ?? '']
  const one: unknown = Array.isArray(list) ? list[Number(index[2])] : undefined
  const name = (one as { readonly name?: unknown } | undefined)?.name
  return typeof name === 'string' ? name : null
}
