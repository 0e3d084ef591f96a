/**
 * A batch as one message, exactly once (I4): it goes behind the message that is the last of its
 * subject, and nowhere else. What the last message tells of earlier tries: jetstream/reconcile.ts.
 *
 * `Nats-Msg-Id` is set as well. It is no part of the promise; it helps where a server lets two tries
 * that are in progress side by side pass the check (nats-server issue 4320, clustered).
 */
import type { Batch, BatchEncoding, SinkAnswer } from '../../ports/sink.ts'
import type { Template } from '../mapping/template.ts'
import type { MessageMode, NatsAttempt } from './attempt.ts'
import type { NatsSinkConfig } from './config.ts'
import { batchMessage, batchSubject, formerPlace, type NatsMessage, sizeOf } from './encode.ts'
import {
  type ApiOptions,
  requestFailure,
  type StoredMessage,
  storedMessage,
  subjectAt,
  takesSubject,
} from './jetstream/api.ts'
import { LinkFault } from './jetstream/link.ts'
import { isTrial, type NextStep, nextStep } from './jetstream/reconcile.ts'
import {
  acked,
  answerOf,
  held,
  heldAnswer,
  type PublishReply,
  readReply,
  unanswered,
} from './jetstream/reply.ts'

/** The first servers that know the header. */
const OLDEST_VERSION = [2, 3, 4] as const
/** A try that came late may be found once more; then somebody else writes there. */
const ROUNDS = 3
const UNSENT = { unsent: true } as const

interface QueueEnd {
  readonly spoolId: string
  readonly lastSeq: number
}

/** What is known of one subject. */
interface Place {
  /** Its last message, as this process put or saw it; null: to be looked up. */
  known: (QueueEnd & { readonly seq: number }) | null
  /** A batch of it was acked by this process: what comes behind is new. */
  hasSettled: boolean
  /** How far tries went whose end is not known. */
  tried: QueueEnd | null
}

/** What is at the end of a subject. */
interface SubjectEnd {
  /** The last message that is no trial; null: there is none. */
  readonly last: StoredMessage | null
  /** Sequence of the last one of all; 0: there is none. */
  readonly end: number
}

interface BatchModeOptions {
  readonly config: NatsSinkConfig
  readonly template: Template
  readonly encoding: BatchEncoding
}

export class BatchMode implements MessageMode {
  readonly #config: NatsSinkConfig
  readonly #template: Template
  readonly #encoding: BatchEncoding
  readonly #places = new Map<string, Place>()
  #lacks: string | null = null

  constructor({ config, template, encoding }: BatchModeOptions) {
    this.#config = config
    this.#template = template
    this.#encoding = encoding
  }

  /** What the server does not do for exactly once, as far as it showed; null: nothing. */
  get lacks(): string | null {
    return this.#lacks
  }

  async send(attempt: NatsAttempt): Promise<SinkAnswer> {
    const { batch } = attempt
    const subject = batchSubject(batch, this.#template)
    await this.#checkPlace(attempt, subject)
    const place = this.#placeOf(subject)
    const found = await this.#lookUpFormer(attempt, subject)
    if (found !== null) return found
    for (let round = 0; round < ROUNDS; round++) {
      const step = this.#stepFromMemory(place, batch) ?? (await this.#look(attempt, subject, place))
      if ('answer' in step) return step.answer
      const answer = await this.#publish(attempt, subject, place, step)
      if (answer !== 'not-last') return answer
    }
    const detail = `${subject} gets other messages all the time: nobody else may publish there`
    return { ...heldAnswer(detail), scope: 'stream' }
  }

  #placeOf(subject: string): Place {
    const known = this.#places.get(subject)
    if (known !== undefined) return known
    const place: Place = { known: null, hasSettled: false, tried: null }
    this.#places.set(subject, place)
    return place
  }

  async #checkPlace(attempt: NatsAttempt, subject: string): Promise<void> {
    const { jetStream: stream } = this.#config
    if (isOlder(attempt.link.version))
      this.#lacks = `nats-server ${attempt.link.version} knows no Nats-Expected-Last-Subject-Sequence`
    let facts = await attempt.facts()
    if (!takesSubject(facts.subjects, subject)) facts = await attempt.facts('again')
    if (!takesSubject(facts.subjects, subject)) {
      const detail = `stream ${stream} takes ${facts.subjects.join(', ')}, not ${subject}: add it there, or set subject`
      throw new LinkFault(held(null, detail, UNSENT))
    }
    if (facts.renamesSubjects) {
      const detail = `stream ${stream} renames subjects (subject_transform): whole batches cannot be found again there; set message to record`
      throw new LinkFault(held(null, detail, UNSENT))
    }
  }

  #stepFromMemory(place: Place, { spoolId, firstSeq }: Batch): SendStep | null {
    const { known } = place
    if (known === null || (known.spoolId === spoolId && known.lastSeq >= firstSeq)) return null
    return { kind: 'send', after: known.seq, note: null, doubt: null }
  }

  async #look(
    attempt: NatsAttempt,
    subject: string,
    place: Place,
  ): Promise<SendStep | { readonly answer: SinkAnswer }> {
    const { batch } = attempt
    const { jetStream: stream, whenLastMessageIsGone: whenGone } = this.#config
    const { last, end } = await this.#endOf(attempt, stream, subject)
    const { history } = await attempt.facts(last === null ? 'again' : undefined)
    const isNew = isNewIn(place, batch)
    const step = nextStep({ batch, note: batch.note, isNew, last, end, history, whenGone })
    if (step.kind === 'send') return step
    if (step.kind === 'hold') {
      const { cloned, detail } = step
      return { answer: { ...heldAnswer(detail), scope: 'stream', cloned } }
    }
    const seen = { last: last as StoredMessage, end, through: step.through }
    return { answer: await this.#compare(batch, seen, place) }
  }

  /** @throws LinkFault */
  async #endOf({ batch, link }: NatsAttempt, stream: string, subject: string): Promise<SubjectEnd> {
    let last = await storedMessage(link, stream, { last_by_subj: subject }, this.#api)
    const end = last?.seq ?? 0
    while (last !== null && isTrial(last, batch))
      last =
        last.behind > 0 ? await storedMessage(link, stream, { seq: last.behind }, this.#api) : null
    return { last, end }
  }

  /** The last message has the seqs of this batch, or of its first records: are they the same? */
  async #compare(
    batch: Batch,
    { last, end, through }: { last: StoredMessage; end: number; through: number },
    place: Place,
  ): Promise<SinkAnswer> {
    const lines = last.lines()
    for await (const { seq, line } of batch.records()) {
      if (seq > through) break
      if (lines?.has(Buffer.from(line.subarray(0, -1)).toString()) === true) continue
      const detail = `message ${last.seq} has other records under the numbers of this batch, from ${seq}: the spool was rolled back or cloned`
      return { ...heldAnswer(detail), scope: 'stream', cloned: true }
    }
    const { spoolId } = batch
    settle(place, { spoolId, lastSeq: last.owner?.lastSeq ?? through, seq: end }, batch)
    return acked(through < batch.lastSeq ? through : null)
  }

  async #publish(
    attempt: NatsAttempt,
    subject: string,
    place: Place,
    step: SendStep,
  ): Promise<SinkAnswer | 'not-last'> {
    const { batch } = attempt
    const message = await batchMessage(batch, this.#encoding, subject)
    const bytes = sizeOf(message)
    const tooLarge = await tooLargeFor(attempt, bytes)
    if (tooLarge !== null) return tooLarge
    if (step.note !== null) await keepNote(batch, step.note)
    if (attempt.isOver) throw new LinkFault(unanswered('given up before it was sent', UNSENT))
    if (step.doubt !== null) attempt.mayRepeat(step.doubt)
    else if (this.#lacks !== null && !isNewIn(place, batch)) attempt.mayRepeat(this.#lacks)
    const triedBefore = place.tried
    place.known = null
    place.tried = furthest(place.tried, batch)
    const startedAt = performance.now()
    const reply = await this.#request(attempt, message, step.after)
    const transfer = { bytes, ms: performance.now() - startedAt }
    if (reply.kind === 'stored') {
      if (!attempt.isOver) settle(place, { ...endOf(batch), seq: reply.seq }, batch)
      return { ...acked(null), transfer: { ...transfer, timedOut: false } }
    }
    if (reply.kind !== 'not-last') return answerOf(reply, transfer)
    // The server says that it did not take this try: the batch is as new as it was.
    place.tried = triedBefore
    await this.#judgeCheck(attempt, subject, step.after, reply.found)
    if (reply.found === null || reply.found === step.after)
      // Another try of it is in progress there.
      return answerOf(
        { kind: 'retry', scope: 'stream', code: null, answered: true, detail: reply.detail },
        transfer,
      )
    return 'not-last'
  }

  async #request(attempt: NatsAttempt, message: NatsMessage, after: number): Promise<PublishReply> {
    const { link } = attempt
    const { jetStream: stream, timeout } = this.#config
    const expected: Array<readonly [string, string]> = [['Nats-Expected-Stream', stream]]
    if (this.#lacks === null) expected.push(['Nats-Expected-Last-Subject-Sequence', String(after)])
    const headers = link.headersOf(message, expected)
    attempt.sent(message.body.length)
    try {
      const request = link.connection.request(message.subject, message.body, { timeout, headers })
      request.catch(() => undefined)
      const answer = await Promise.race([request, link.ended])
      if (typeof answer === 'string') return unanswered(answer)
      return readReply(answer.data, stream)
    } catch (error) {
      return requestFailure(error, link.library, `no answer to a batch on ${message.subject}`)
    }
  }

  /**
   * A server that compares with the last message of the stream instead of the subject's, as some are
   * reported to do, names a sequence that another subject has.
   */
  async #judgeCheck(
    attempt: NatsAttempt,
    subject: string,
    expected: number,
    found: number | null,
  ): Promise<void> {
    if (found === null || found === 0 || found === expected) return
    const { jetStream: stream } = this.#config
    const at = await subjectAt(attempt.link, stream, found, this.#api)
    if (at === null || at === subject) return
    this.#lacks = `nats-server ${attempt.link.version} compares Nats-Expected-Last-Subject-Sequence with message ${found}, which is of ${at}`
  }

  /** Under another subject, or in another stream, before its configuration was changed. */
  async #lookUpFormer(attempt: NatsAttempt, subject: string): Promise<SinkAnswer | null> {
    const { batch } = attempt
    for (const fingerprint of batch.formerFingerprints) {
      const former = formerPlace(batch, fingerprint)
      if (former === null) continue
      if (former.subject === subject && former.jetStream === this.#config.jetStream) continue
      const { last, end } = await this.#formerEnd(attempt, former.jetStream, former.subject)
      const owner = last?.owner ?? null
      if (last === null || owner === null || owner.spoolId !== batch.spoolId) continue
      if (owner.gateway !== batch.gateway || owner.stream !== batch.stream) continue
      if (owner.lastSeq < batch.firstSeq || owner.firstSeq > batch.firstSeq) continue
      const elsewhere: Place = { known: null, hasSettled: false, tried: null }
      const through = Math.min(owner.lastSeq, batch.lastSeq)
      return await this.#compare(batch, { last, end, through }, elsewhere)
    }
    return null
  }

  async #formerEnd(attempt: NatsAttempt, stream: string, subject: string): Promise<SubjectEnd> {
    try {
      return await this.#endOf(attempt, stream, subject)
    } catch (error) {
      // With the stream its messages are gone.
      if (error instanceof LinkFault && error.failure.code === '10059')
        return { last: null, end: 0 }
      throw error
    }
  }

  get #api(): ApiOptions {
    return { domain: this.#config.domain, timeoutMs: this.#config.timeout }
  }
}

type SendStep = Extract<NextStep, { readonly kind: 'send' }>

function settle(place: Place, known: NonNullable<Place['known']>, batch: Batch): void {
  place.known = known
  place.hasSettled = true
  const { tried } = place
  if (tried?.spoolId === batch.spoolId && tried.lastSeq <= known.lastSeq) place.tried = null
}

/** No try of it can have been: neither by this process, nor by one before. */
function isNewIn({ hasSettled, tried }: Place, batch: Batch): boolean {
  if (!hasSettled || batch.formerFingerprints.length > 0) return false
  return tried === null || (tried.spoolId === batch.spoolId && batch.firstSeq > tried.lastSeq)
}

function furthest(tried: QueueEnd | null, batch: Batch): QueueEnd {
  if (tried === null || tried.spoolId !== batch.spoolId) return endOf(batch)
  return { spoolId: batch.spoolId, lastSeq: Math.max(tried.lastSeq, batch.lastSeq) }
}

function endOf({ spoolId, lastSeq }: Batch): QueueEnd {
  return { spoolId, lastSeq }
}

async function keepNote(batch: Batch, note: string): Promise<void> {
  try {
    await batch.keepNote(note)
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error)
    throw new LinkFault(unanswered(`not sent: the spool keeps no note: ${words}`, UNSENT))
  }
}

/** null: it is not. */
async function tooLargeFor(attempt: NatsAttempt, bytes: number): Promise<SinkAnswer | null> {
  const { maxMsgSize } = await attempt.facts()
  const most = Math.min(attempt.link.maxPayload, maxMsgSize ?? Number.POSITIVE_INFINITY)
  if (bytes <= most) return null
  const detail = `a message of ${bytes} bytes, ${most} are taken (max_payload, max_msg_size)`
  return { kind: 'too-large', code: null, sinkDateMs: null, detail }
}

function isOlder(version: string): boolean {
  const parts = version.split(/[.-]/).map(Number)
  for (const [index, wanted] of OLDEST_VERSION.entries()) {
    const part = parts[index] ?? 0
    if (Number.isNaN(part) || part > wanted) return false
    if (part < wanted) return true
  }
  return false
}
