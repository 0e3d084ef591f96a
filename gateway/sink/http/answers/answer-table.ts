/**
 * How a family of receivers answers: what a named table brings. A new one is a file with an
 * {@link AnswerTable}, and a line in tables.ts.
 *
 * I8: what `read` cannot make sense of is `hold` or `malformed`, never an ack. Only what a body
 * says of records is listed as refused; what it says of credentials, names or load is `hold` or
 * `retry`, whatever the status.
 */
import type { Listed } from '../../../ports/sink.ts'
import type { HttpAnswer, Sent } from './answer.ts'
import type { AnswerBody } from './body.ts'
import type { AnswerMeaning, StatusMeanings } from './statuses.ts'

/** What a table makes of an answer whose body it has read. */
export type Reading =
  | {
      readonly kind: 'verdicts'
      readonly ackedThrough: number | null
      /** In order of seq, each once. Records that are not listed are acked. */
      readonly listed: readonly Listed[]
    }
  /** As if the status meant that. `why`, for people, goes on behind `answered 400`. */
  | { readonly kind: Exclude<AnswerMeaning, 'acked'> | 'malformed'; readonly why: string }

export interface AnswerTable {
  /** What statuses mean there, where that is not what they mean by the contract. */
  readonly statuses: StatusMeanings
  /**
   * Does the body of such an answer decide? It is then read to its end, and not before.
   * @param isAck its status alone would be an ack
   */
  reads(status: number, isAck: boolean): boolean
  /** What the body says; null: no more than the status does. Called for what {@link reads} names. */
  read(answer: HttpAnswer, body: AnswerBody, sent: Sent): Reading | null
}
