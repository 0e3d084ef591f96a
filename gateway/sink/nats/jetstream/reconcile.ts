/**
 * Is a batch already in the stream? The last message of its subject tells: batches of one queue
 * stand there in their order, so the queue's newest one says how far it came (I4). Pure.
 *
 * `Nats-Expected-Last-Subject-Sequence` then makes sure that the message goes behind exactly the one
 * that was looked at: a try that arrives late finds another last message and is refused. That needs
 * no duplicate window, and works after weeks.
 *
 * Limits of the stream may take that message away. What then proves that the batch is not there: it
 * is new in this process; or nothing was removed from the stream since the first try, which a note
 * with the pin remembers. Without proof the operator's word decides, and the doubt is counted.
 */
import { TRIAL_MARK } from '../../../ports/sink.ts'

/** Whose a message is, by its headers. */
export interface MessageOwner {
  readonly gateway: string
  readonly spoolId: string
  readonly stream: string
  readonly firstSeq: number
  readonly lastSeq: number
}

/** Of `sluice sinks test`: it stands behind the message that tells, and tells nothing itself. */
export function isTrial({ owner }: LastMessage, { gateway, spoolId, stream }: QueueName): boolean {
  if (owner === null || owner.spoolId === spoolId || !owner.spoolId.startsWith(TRIAL_MARK))
    return false
  return owner.gateway === gateway && owner.stream === stream
}

type QueueName = Pick<MessageOwner, 'gateway' | 'spoolId' | 'stream'>

export interface LastMessage {
  readonly seq: number
  /** null: no batch of a Sluice. */
  readonly owner: MessageOwner | null
}

/** What of the stream's state says whether something was removed. */
export interface StreamHistory {
  readonly firstSeq: number
  readonly lastSeq: number
  /** Between the two. */
  readonly deleted: number
}

interface QueueReading {
  readonly batch: MessageOwner
  /** What was noted before an earlier try; null: nothing. */
  readonly note: string | null
  /** No earlier try of it can have been: it is not the first of this process. */
  readonly isNew: boolean
  /** Last message of the subject that tells; null: there is none. */
  readonly last: LastMessage | null
  /** Sequence of the last one of all, behind which the next goes; 0: there is none. */
  readonly end: number
  readonly history: StreamHistory
  readonly whenGone: 'send' | 'hold'
}

export type NextStep =
  /** Behind the message with this sequence; 0: as the first of its subject. */
  | {
      readonly kind: 'send'
      readonly after: number
      /** To be kept before; null: nothing new. */
      readonly note: string | null
      /** Why it may be there twice afterwards; null: it cannot. */
      readonly doubt: string | null
    }
  /** The last message holds its records, or the first of them: compare. */
  | { readonly kind: 'compare'; readonly through: number }
  | { readonly kind: 'hold'; readonly cloned: boolean; readonly detail: string }

export function nextStep(reading: QueueReading): NextStep {
  const { batch, end, last } = reading
  if (last === null) return withoutLast(reading)
  const { owner, seq } = last
  if (owner === null || owner.gateway !== batch.gateway || owner.stream !== batch.stream)
    return hold(
      false,
      `the last message of its subject (sequence ${seq}) is not of this gateway's stream ${batch.stream}: whole batches need a subject of their own`,
    )
  if (owner.spoolId !== batch.spoolId) return behindAnotherSpool(reading, owner, seq)
  if (owner.lastSeq < batch.firstSeq) return send(end)
  if (owner.firstSeq > batch.lastSeq)
    return hold(
      true,
      `its subject is at record ${owner.lastSeq} already, this batch ends with ${batch.lastSeq}: the spool was rolled back or cloned`,
    )
  return { kind: 'compare', through: Math.min(owner.lastSeq, batch.lastSeq) }
}

/** A queue goes on under a fresh spool id: its first batch follows the last one of the former id. */
function behindAnotherSpool(
  { batch, note, isNew, end }: QueueReading,
  { spoolId }: MessageOwner,
  seq: number,
): NextStep {
  const mine = `after ${seq}`
  if (!isNew && (note === null || note === mine))
    return { kind: 'send', after: end, note: note === null ? mine : null, doubt: null }
  return hold(
    true,
    `the last message of its subject (sequence ${seq}) is of spool ${spoolId}, this one is ${batch.spoolId}: two gateways write under one id`,
  )
}

function withoutLast({ note, isNew, history, whenGone, end }: QueueReading): NextStep {
  if (isNew) return send(end)
  const mine = note ?? `alone ${history.lastSeq} ${history.deleted}`
  const kept = note === null ? mine : null
  if (isUntouched(note, history)) return { kind: 'send', after: end, note: kept, doubt: null }
  const detail = 'no message of its subject is left, and the stream has lost messages'
  if (whenGone === 'hold')
    return hold(
      false,
      `${detail}: nobody can tell whether this batch arrived before; look, then set whenLastMessageIsGone to send`,
    )
  return { kind: 'send', after: end, note: kept, doubt: detail }
}

/** Nothing was removed since the note, or ever. */
function isUntouched(note: string | null, { firstSeq, deleted }: StreamHistory): boolean {
  if (note === null) return firstSeq <= 1 && deleted === 0
  const [, lastSeq, before] = /^alone (\d+) (\d+)$/.exec(note) ?? []
  return lastSeq !== undefined && firstSeq <= Number(lastSeq) + 1 && deleted === Number(before)
}

function send(after: number): NextStep {
  return { kind: 'send', after, note: null, doubt: null }
}

function hold(cloned: boolean, detail: string): NextStep {
  return { kind: 'hold', cloned, detail }
}
