/**
 * A record as one message, `window` of them in progress. At least once, with ids: the stream drops a
 * repeat by its `Nats-Msg-Id` as long as its duplicate window remembers it.
 *
 * On a failure nothing more of the batch is sent, and what is in progress is awaited: records before
 * the failure are acked, it and all behind it come again. What the stream had stored behind it stands
 * there before it then; with `window: 1` that cannot be (I2).
 */
import type { Listed, SinkAnswer } from '../../ports/sink.ts'
import { Unmappable } from '../mapping/record-view.ts'
import type { Template } from '../mapping/template.ts'
import type { MessageMode, NatsAttempt } from './attempt.ts'
import type { NatsSinkConfig } from './config.ts'
import { constantTokens, type NatsMessage, RecordMessages, sizeOf } from './encode.ts'
import { takesPrefix, takesSubject } from './jetstream/api.ts'
import { Flight } from './jetstream/flight.ts'
import { LinkFault } from './jetstream/link.ts'
import { acked, answerOf, held, unanswered } from './jetstream/reply.ts'

interface RecordModeOptions {
  readonly config: NatsSinkConfig
  readonly template: Template
}

interface Limits {
  readonly subjects: readonly string[]
  /** Bytes of a message. */
  readonly most: number
}

export class RecordMode implements MessageMode {
  readonly #config: NatsSinkConfig
  readonly #template: Template

  constructor({ config, template }: RecordModeOptions) {
    this.#config = config
    this.#template = template
  }

  async send(attempt: NatsAttempt): Promise<SinkAnswer> {
    const { batch, link } = attempt
    const { jetStream: stream, timeout: timeoutMs } = this.#config
    const { maxMsgSize, subjects } = await attempt.facts('again')
    const tokens = constantTokens(this.#config)
    if (!takesPrefix(subjects, tokens)) {
      const detail = `stream ${stream} takes ${subjects.join(', ')}, nothing like ${tokens.join('.')}: add it there, or set subject`
      throw new LinkFault(held(null, detail, { unsent: true }))
    }
    const most = Math.min(link.maxPayload, maxMsgSize ?? Number.POSITIVE_INFINITY)
    const messages = new RecordMessages(batch, this.#config.body, this.#template)
    const flight = new Flight(link, { stream, timeoutMs })
    const refused: Listed[] = []
    const seqs: number[] = []
    void attempt.over.then(() => flight.giveUp(unanswered('given up')))
    const startedAt = performance.now()
    try {
      for await (const record of batch.records()) {
        if (!(await flight.hasRoom(this.#config.window))) break
        const { seq } = record
        seqs.push(seq)
        const made = tryToMake(() => messages.of(record), { subjects, most })
        if ('why' in made) {
          refused.push({ seq, verdict: 'refused', code: null, reason: made.why })
          continue
        }
        attempt.sent(made.message.body.length)
        flight.publish(seq, made.message)
      }
      await flight.landed()
    } finally {
      flight.end()
    }
    const transfer = { bytes: flight.bytes, ms: performance.now() - startedAt }
    return answerFor(flight, { seqs, refused, transfer })
  }
}

function tryToMake(
  make: () => NatsMessage,
  { subjects, most }: Limits,
): { readonly message: NatsMessage } | { readonly why: string } {
  let message: NatsMessage
  try {
    message = make()
  } catch (error) {
    if (error instanceof Unmappable) return { why: `unmappable: ${error.message}` }
    throw error
  }
  if (!takesSubject(subjects, message.subject))
    return { why: `unmappable: the stream takes ${subjects.join(', ')}, not ${message.subject}` }
  const bytes = sizeOf(message)
  return bytes > most ? { why: `too large: ${bytes} bytes, ${most} are taken` } : { message }
}

interface Course {
  /** Of records that were sent or refused, in order. */
  readonly seqs: readonly number[]
  readonly refused: readonly Listed[]
  readonly transfer: { readonly bytes: number; readonly ms: number }
}

function answerFor(flight: Flight, { seqs, refused, transfer }: Course): SinkAnswer {
  const { failure, firstNotStored } = flight
  const taken = { ...transfer, timedOut: false }
  if (failure === null) return { ...acked(null), listed: refused, transfer: taken }
  const through = seqs.findLast((seq) => seq < firstNotStored)
  if (through === undefined) return answerOf(failure, transfer)
  const listed = refused.filter(({ seq }) => seq <= through)
  return { ...acked(through), listed, transfer: taken }
}
