/** Configuration of the streams: what goes where, and what happens when it cannot. */
import { z } from 'zod'
import {
  choice,
  duration,
  integer,
  leaf,
  name,
  nullable,
  section,
  sections,
  size,
  text,
} from '../fields.ts'
import { topicFilterFix } from '../topic-filter.ts'

const MAX_AGE_MS = 3650 * 86_400_000

const deadLetters = section('What the sink or the stream itself refused for good.', {
  maxBytes: leaf(
    size(
      'Room for what the sink refused, and the same again for what the stream refused at ingest.',
      {
        min: 1024,
      },
    ),
  ).prefault('64MiB'),
  maxAge: nullable(
    duration('Older ones are removed, counted. null: none are.', { min: 1_000, max: MAX_AGE_MS }),
  ).prefault(null),
  whenFull: leaf(
    choice(
      'hold: the stream waits for the operator, and so does what it refuses; drop-oldest: the oldest are removed, counted.',
      ['hold', 'drop-oldest'],
    ),
  ).prefault('hold'),
})

const topics = z
  .array(
    leaf(
      text('An MQTT topic filter.', {
        wanted: 'an MQTT topic filter',
        check: topicFilterFix,
      }),
    ),
  )
  .min(1)
  .max(1_000)
sections.add(topics, {
  text: 'MQTT topic filters. A message goes to every stream with a filter that matches it.',
})

const device = leaf<'clientId' | `topic:${number}`>({
  kind: 'choice',
  wanted: 'clientId, or topic:<level> with a level from 0',
  text: "The record's device: the client id, or a level of the topic (0 is the first).",
  parse: (input) => {
    if (input === 'clientId') return { value: input }
    const level =
      typeof input === 'string' ? /^topic:(0|[1-9]\d{0,3})$/.exec(input)?.[1] : undefined
    if (level !== undefined) return { value: `topic:${Number(level)}` }
    return { fix: 'write clientId, or for example topic:1 for the second level' }
  },
})

export const streamSection = section('One queue, by name.', {
  topics: topics.prefault(['#']),
  sink: leaf(name('Name of the sink that takes it.')).prefault('cloud'),
  device: device.prefault('clientId'),
  payload: leaf(
    choice(
      'any: JSON as it is, anything else as base64; json: anything else becomes a dead letter; text: every payload, JSON too, ' +
        'as a JSON string, what is no UTF-8 as base64, counted.',
      ['any', 'json', 'text'],
    ),
  ).prefault('any'),
  priority: leaf(
    integer('Order among the streams of a sink, 0 first. A lower one is never starved.', {
      min: 0,
      max: 9,
    }),
  ).prefault(0),
  maxRecordBytes: leaf(
    size(
      'A larger record is acknowledged and becomes a dead letter: whole while there is room, else its first KiB.',
      {
        min: 256,
        max: 64 * 1024 * 1024,
      },
    ),
  ).prefault('256KiB'),
  maxBytes: leaf(
    size('Room on disk for what waits, as stored (compressed).', { min: 1024 }),
  ).prefault('1GiB'),
  maxAge: nullable(
    duration('Older records are dropped, counted, reported to the sink. null: none are.', {
      min: 1_000,
      max: MAX_AGE_MS,
    }),
  ).prefault(null),
  whenFull: leaf(
    choice('block: acks wait, the device keeps its data; or which records are dropped, counted.', [
      'block',
      'drop-oldest',
      'drop-newest',
    ]),
  ).prefault('block'),
  deadLetters: deadLetters.prefault({}),
})

/** Names are checked with the cross checks, which can say what to write instead. */
export const streamsSlice = z.record(z.string(), streamSection)
sections.add(streamsSlice, { text: 'The queues, by name.' })
