/**
 * Keys that say how the answers of a sink are read. `answers` is a table by its name, or statuses
 * with their meaning, in either of two ways that say the same:
 *
 *     answers: status
 *     answers: { table: influx, 409: acked, 5xx: hold }
 *     answers: { ack: [200], retry: [5xx, 429], hold: [401], refuse: [400] }
 */
import { choice } from '../../../config/fields.ts'
import { type LeafResult, leaf, list, map } from '../../../config/schema.ts'
import { ANSWER_MEANINGS } from './statuses.ts'
import { ANSWER_TABLES } from './tables.ts'

/** What stands under one key of `answers`: a meaning, a table's name, or statuses. */
type AnswerEntry = string | readonly string[]

export interface AnswerConfig {
  readonly ack: 'status' | 'body' | 'any-body'
  readonly ackStatus: readonly number[]
  readonly answers: Readonly<Record<string, AnswerEntry>>
}

export const USUAL_ACK_STATUS: readonly number[] = [200, 201, 204]

/** A batch is named by its sink's word; 207 always needs a body, and other statuses are no acks. */
const ackStatus = list(
  'Answers that mean: every record is yours now.',
  leaf<number>({
    kind: 'integer',
    wanted: 'a status from 200 to 299, without 207',
    text: 'An HTTP status.',
    shape: { type: 'integer', minimum: 200, maximum: 299, not: { const: 207 } },
    parse: (input) => {
      if (typeof input !== 'number' || !Number.isInteger(input))
        return { fix: 'write a number such as 200' }
      if (input === 207)
        return { fix: 'remove it: 207 acks through its body alone, whatever is listed here' }
      return input >= 200 && input <= 299
        ? { value: input }
        : { fix: 'only a 2xx status can be an ack' }
    },
  }),
  { min: 1, max: 100 },
)

const TABLE_NAMES = Object.keys(ANSWER_TABLES)

const entry = leaf<AnswerEntry>({
  kind: 'choice',
  wanted: `one of ${ANSWER_MEANINGS.join(', ')}; under table: one of ${TABLE_NAMES.join(', ')}; under ack, retry, hold, refuse, tooLarge: a list of statuses`,
  text: 'What a status (409) or a class of statuses (5xx) means at this sink; or, under ack, retry, hold, refuse and tooLarge, which statuses mean that; or, under table, the named table that all of it differs from. A name alone is that table.',
  shape: {
    anyOf: [
      { enum: [...ANSWER_MEANINGS, ...TABLE_NAMES] },
      { type: 'array', items: { type: ['string', 'number'] } },
    ],
  },
  parse: (input): LeafResult<AnswerEntry> => {
    if (Array.isArray(input)) {
      const items = input as readonly unknown[]
      return items.every((item) => typeof item === 'string' || typeof item === 'number')
        ? { value: items.map(String) }
        : { fix: 'write statuses, such as [200, 2xx]' }
    }
    const found = [...ANSWER_MEANINGS, ...TABLE_NAMES].includes(String(input))
    const words = choice('', [...ANSWER_MEANINGS, ...TABLE_NAMES]).parse(input)
    return found ? { value: String(input) } : 'fix' in words ? words : { fix: 'write a meaning' }
  },
})

export const answerKeys = {
  ack: leaf(
    choice(
      'status: an answer of ackStatus acks unless its body says otherwise or is a page; body: only one that says so in JSON does; any-body: a page acks as well, a captive portal with it.',
      ['status', 'body', 'any-body'],
    ),
  ).prefault('status'),
  ackStatus: ackStatus.prefault([...USUAL_ACK_STATUS]),
  answers: map(
    'How answers are read: the name of a table, or statuses with their meaning.',
    'status',
    entry,
    { word: 'table' },
  ).prefault({}),
}
