/**
 * Configuration of the spool: commits and disk; and of the streams: what goes where, and what
 * happens when it cannot.
 */
import { choice, duration, integer, name, size, text } from '../config/fields.ts'
import { type Report, showValue } from '../config/problems.ts'
import { changes, leaf, list, map, nullable, type Schema, section } from '../config/schema.ts'
import { formatDuration, formatSize } from '../config/units.ts'
import type { Path } from '../config/walk.ts'
import { checkTopicFilter, PROTOCOL_TOPIC_LIMITS } from '../shared/topics/topics.ts'
import { RECORD_PROPERTIES, type RecordProperty } from './codec/property-members.ts'

export interface StreamConfig {
  /** MQTT topic filters; `#` does not match topics that begin with `$`. */
  readonly topics: readonly string[]
  /** The name of exactly one sink. */
  readonly sink: string
  /** The record's `device`: the client id, or a topic level (0 is the first) as `topic:<level>`. */
  readonly device: 'clientId' | `topic:${number}`
  readonly payload: 'any' | 'json' | 'text'
  /** Of MQTT 5, those that its records have as members. */
  readonly properties: readonly RecordProperty[]
  readonly messageExpiry: 'ignore' | 'honor'
  readonly ack: 'spooled' | 'delivered'
  /** 0 is served first, 9 last. */
  readonly priority: number
  readonly maxRecordBytes: number
  readonly maxBytes: number
  /** ms, null: no limit. */
  readonly maxAge: number | null
  readonly whenFull: 'block' | 'drop-oldest' | 'drop-newest'
  /** ms, null: it is not told of silent devices. */
  readonly silentAfter: number | null
  readonly deadLetters: DeadLetterConfig
}

interface DeadLetterConfig {
  /** Applies to ingest and to sink refusals each. */
  readonly maxBytes: number
  readonly maxAge: number | null
  readonly whenFull: 'hold' | 'drop-oldest'
}

export interface SpoolConfig {
  readonly commitInterval: number
  readonly commitBurst: number
  readonly minFreeBytes: number
}

/** What the spool has to know of a sink. */
export interface SinkBatchLimits {
  readonly maxBatchRecords: number
  readonly maxBatchBytes: number
}

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

const topics = list(
  'MQTT topic filters. A message goes to every stream with a filter that matches it.',
  leaf(
    text('An MQTT topic filter.', {
      wanted: 'an MQTT topic filter',
      // `#` last, wildcards alone in their level; `$` begins none of ours.
      pattern: /^(?!\$)(([^+#/]*|\+)\/)*([^+#/]*|\+|#)$/,
      check: topicFilterFix,
    }),
  ),
  { min: 1, max: 1_000 },
)

const device = leaf<'clientId' | `topic:${number}`>({
  kind: 'choice',
  wanted: 'clientId, or topic:<level> with a level from 0',
  text: "The record's device: the client id, or a level of the topic (0 is the first).",
  shape: { type: 'string', pattern: '^(clientId|topic:(0|[1-9]\\d{0,3}))$' },
  parse: (input) => {
    if (input === 'clientId') return { value: input }
    const level =
      typeof input === 'string' ? /^topic:(0|[1-9]\d{0,3})$/.exec(input)?.[1] : undefined
    if (level !== undefined) return { value: `topic:${Number(level)}` }
    return { fix: 'write clientId, or for example topic:1 for the second level' }
  },
})

const properties = list(
  'Properties of MQTT 5 that its records have as members; userProperties are pairs of name and value.',
  leaf(choice('A property of MQTT 5.', RECORD_PROPERTIES)),
  { max: RECORD_PROPERTIES.length },
)

const streamSection: Schema<StreamConfig> = section('One queue, by name.', {
  topics: topics.prefault(['#']),
  sink: leaf(name('Name of the sink that takes its records.')).prefault('cloud'),
  device: device.prefault('clientId'),
  payload: leaf(
    choice(
      'any: JSON as it is, anything else as base64; json: anything else becomes a dead letter; text: every payload, JSON too, ' +
        'as a JSON string; what is not UTF-8 as base64, counted.',
      ['any', 'json', 'text'],
    ),
  ).prefault('any'),
  properties: properties.prefault([]),
  messageExpiry: leaf(
    choice(
      'Message Expiry Interval of MQTT 5. ignore: only your limits drop records; honor: a record whose device wanted it ' +
        'gone by now is not sent, but counted and reported to the sink as a gap (expired-by-device).',
      ['ignore', 'honor'],
    ),
  ).prefault('ignore'),
  ack: leaf(
    choice(
      'When PUBACK and PUBREC leave. spooled: when the record is on this disk (I1); delivered: when the sink has it, too, ' +
        'durably: then a destroyed box loses nothing acknowledged.',
      ['spooled', 'delivered'],
    ),
  ).prefault('spooled'),
  priority: leaf(
    integer('Order among the streams of a sink, 0 first. A later one is never starved.', {
      min: 0,
      max: 9,
    }),
  ).prefault(0),
  maxRecordBytes: leaf(
    size(
      'A larger record (payload, with the properties that the stream names) is acknowledged and becomes a dead letter: ' +
        'whole while there is room, else its first KiB.',
      {
        min: 256,
        max: 64 * 1024 * 1024,
      },
    ),
  ).prefault('256KiB'),
  maxBytes: leaf(
    size('Room on disk for records that wait, as stored (compressed).', { min: 1024 }),
  ).prefault('1GiB'),
  maxAge: nullable(
    duration('Older records are dropped, counted, reported to the sink. null: none are.', {
      min: 1_000,
      max: MAX_AGE_MS,
    }),
  ).prefault(null),
  whenFull: leaf(
    choice(
      'block: acks wait and the device keeps its data; else which records are dropped, counted.',
      ['block', 'drop-oldest', 'drop-newest'],
    ),
  ).prefault('block'),
  silentAfter: changes(
    'restart',
    nullable(
      duration(
        'A device that published to the stream and then falls silent for so long makes a record in it, and another one when ' +
          'it is back. null: none does.',
        { min: 1_000, max: MAX_AGE_MS },
      ),
    ).prefault(null),
  ),
  deadLetters: deadLetters.prefault({}),
})

export const streamsSection = map('The queues, by name.', 'name', streamSection)

export const spoolSection: Schema<SpoolConfig> = section('Commits and disk.', {
  commitInterval: leaf(
    duration(
      'Pace of commits under a steady trickle, and the most that it adds to an ack; spares the flash. A burst, 128 KiB ' +
        'for each stream, and devices that wait for their acks do not wait for it.',
      {
        min: 0,
        max: 60_000,
      },
    ),
  ).prefault('50ms'),
  commitBurst: leaf(
    integer(
      'How many small commits may start at once; the budget refills by one per commitInterval.',
      {
        min: 0,
        max: 1_000_000,
      },
    ),
  ).prefault(1_000),
  minFreeBytes: leaf(
    size(
      'Below this much free disk ingest closes, before the disk is full; delivery goes on (I6).',
      {
        min: 1024 * 1024,
      },
    ),
  ).prefault('256MiB'),
})

/** What a stream's keys say of each other. */
export function checkStreams(
  streams: Readonly<Record<string, StreamConfig>>,
  report: Report,
): void {
  const names = Object.entries(streams)
  if (names.length === 0) {
    const fix = 'add a stream, or remove the key streams for the default one'
    report.complain(['streams'], { got: 'no stream', wanted: 'at least one', fix })
  }
  for (const [stream, config] of names) {
    const path = ['streams', stream]
    checkSizes(path, config, report)
    if (config.ack === 'delivered') checkDelivered(path, config, report)
    for (const [index, topic] of config.topics.entries()) {
      if (config.topics.indexOf(topic) < index)
        report.warn(
          [...path, 'topics', index],
          `${showValue(topic)} is there twice; once is enough`,
        )
    }
  }
}

/** What was not delivered is not acknowledged, so no limit may take it. */
function checkDelivered(path: Path, stream: StreamConfig, report: Report): void {
  const wanted = 'nothing that drops records of a stream with ack: delivered'
  if (stream.whenFull !== 'block')
    report.complain([...path, 'whenFull'], {
      got: stream.whenFull,
      wanted,
      fix: 'write block, or ack: spooled',
    })
  if (stream.maxAge !== null)
    report.complain([...path, 'maxAge'], {
      got: formatDuration(stream.maxAge),
      wanted,
      fix: 'remove it, or write ack: spooled',
    })
  if (stream.messageExpiry === 'honor')
    report.complain([...path, 'messageExpiry'], {
      got: 'honor',
      wanted,
      fix: 'write ignore, or ack: spooled',
    })
}

function checkSizes(path: Path, stream: StreamConfig, report: Report): void {
  const record = formatSize(stream.maxRecordBytes)
  for (const [key, bytes] of [
    ['maxBytes', stream.maxBytes],
    ['deadLetters.maxBytes', stream.deadLetters.maxBytes],
  ] as const) {
    if (bytes >= stream.maxRecordBytes) continue
    report.complain([...path, ...key.split('.')], {
      got: formatSize(bytes),
      wanted: `room for one record of maxRecordBytes (${record}), or it would wait forever`,
      fix: `write ${record} or more, or lower maxRecordBytes`,
    })
  }
}

const LENGTH_FIX = `write well-formed UTF-8 of at most ${PROTOCOL_TOPIC_LIMITS.maxTopicBytes} bytes`

/** What to do about a filter that is none, or null if it is fine. */
function topicFilterFix(filter: string): string | null {
  if (/\p{Surrogate}/u.test(filter)) return LENGTH_FIX
  if (filter.startsWith('$'))
    return 'write a filter that does not begin with $: such topics are refused, and $share is no filter of a stream'
  switch (checkTopicFilter(filter, PROTOCOL_TOPIC_LIMITS)) {
    case null:
      return null
    case 'topic-empty':
      return 'write at least one character; # alone takes every topic'
    case 'topic-has-null':
      return 'remove the NUL character'
    case 'filter-wildcard-misplaced':
      return wildcardFix(filter)
    default:
      return LENGTH_FIX
  }
}

function wildcardFix(filter: string): string {
  const mixed = filter.split('/').find((level) => level.length > 1 && /[+#]/.test(level))
  if (mixed === undefined) return 'put # last: it matches everything below its level'
  return `let + or # stand alone between slashes; ${JSON.stringify(mixed)} mixes them with text`
}
