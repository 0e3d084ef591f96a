/**
 * Line protocol, for InfluxDB 1, 2 and 3, VictoriaMetrics and QuestDB: a line a record. How a line
 * is made: influx/line.ts. What these receivers answer: ../answers/receivers/influx.ts.
 */
import { choice, text } from '../../../config/fields.ts'
import { leaf, map } from '../../../config/schema.ts'
import type { SinkPromise } from '../../../ports/sink.ts'
import { mappedKey, pointerKey, templateKey, timeKey } from '../../mapping/keys.ts'
import { type Compression, encodedFormat, type FormatTarget, type FormatType } from './format.ts'
import { compileLine, type LineConfig } from './influx/line.ts'
import { nameFault } from './influx/line-text.ts'

interface InfluxConfig extends LineConfig {
  readonly kind: 'influx'
}

export const influx = {
  keys: {
    measurement: leaf(templateKey('Name of the measurement, or of the table.')).prefault(
      '${stream}',
    ),
    tags: map(
      'Tags of a point: what tells series apart. One without a value is left out. null: the device.',
      'tag',
      leaf(mappedKey('Value of the tag.')),
    )
      .nullable()
      .prefault(null),
    fields: leaf(
      pointerKey('Where the fields are: an object, flattened, or one value, the field value.'),
    ).prefault('/'),
    time: timeKey,
    precision: leaf(
      choice('Unit of the time in a line. Has to be what the url says.', ['s', 'ms', 'us', 'ns']),
    ).prefault('ns'),
    separator: leaf(
      text('Between the names of an object and of its member, in the name of a field.', {
        wanted: 'at most 8 characters without a line break or a backslash',
        check: (input) => (/^[^\n\r\0\\]{1,8}$/.test(input) ? null : 'write _ or .'),
      }),
    ).prefault('_'),
    integers: leaf(
      choice('float: every number is one; keep: a number without a point is an integer.', [
        'float',
        'keep',
      ]),
    ).prefault('float'),
    strings: leaf(
      choice('keep: fields; leave-out: numbers and booleans alone are fields.', [
        'keep',
        'leave-out',
      ]),
    ).prefault('keep'),
    lists: leaf(
      choice('index: a field an item, by its index; refuse: a record with a list is refused.', [
        'index',
        'refuse',
      ]),
    ).prefault('index'),
  },
  promise: (_: InfluxConfig, { url, answers }: FormatTarget) => promiseOf(new URL(url), answers),
  check: (path, config, { url, answers }, report) => {
    for (const tag of Object.keys(config.tags ?? {})) {
      const fault = nameFault(tag)
      if (fault === null) continue
      const got = `${JSON.stringify(tag)}, which ${fault}`
      report.complain([...path, 'tags', tag], {
        got,
        wanted: 'another name',
        fix: 'rename the tag',
      })
    }
    const isCoarse = config.precision === 's' || config.precision === 'ms'
    if (config.time.at === null && isCoarse && answers !== 'victoria-metrics')
      report.warn(
        [...path, 'precision'],
        `of readings that a device sends within one ${config.precision} the last stays: write ns or us`,
      )
    const said = precisionIn(new URL(url))
    if (said !== null && said !== config.precision)
      report.complain([...path, 'precision'], {
        got: `${config.precision}, where the url says ${said}`,
        wanted: 'one unit in both',
        fix: `write precision: ${said}, or change precision in the url`,
      })
    if (answers === 'victoria-metrics' && config.strings === 'keep')
      report.complain([...path, 'strings'], {
        got: 'keep, for VictoriaMetrics',
        wanted: 'leave-out: it keeps numbers alone, and takes a string for 0',
        fix: 'write strings: leave-out',
      })
  },
  create: ({ kind, ...config }: InfluxConfig, compression: Compression) =>
    encodedFormat(
      { kind, version: 1, config, contentType: 'text/plain; charset=utf-8', compression },
      () => ({ prefix: '', separator: '', suffix: '', each: withLineBreak(compileLine(config)) }),
    ),
} satisfies FormatType<InfluxConfig>

function withLineBreak(lineOf: ReturnType<typeof compileLine>): typeof lineOf {
  return (view) => `${lineOf(view)}\n`
}

/** What the names of units mean in the `precision` of a URL, in any of the versions. */
const UNITS: Readonly<Record<string, LineConfig['precision']>> = {
  n: 'ns',
  ns: 'ns',
  nanosecond: 'ns',
  u: 'us',
  us: 'us',
  microsecond: 'us',
  ms: 'ms',
  millisecond: 'ms',
  s: 's',
  second: 's',
}

/** The unit that a receiver reads times in, or the word that it does not know; null: it guesses. */
function precisionIn({ pathname, searchParams }: URL): string | null {
  const said = searchParams.get('precision')
  // InfluxDB 3 tells units apart by how large a time is.
  if (said === 'auto' || (said === null && pathname.endsWith('/api/v3/write_lp'))) return null
  return said === null ? 'ns' : (UNITS[said] ?? said)
}

const DURABLE = {
  delivery: 'idempotent by value',
  by: 'with measurement, tags and time',
  ack: 'durable',
} as const satisfies SinkPromise

function promiseOf({ hostname, searchParams }: URL, answers: string): SinkPromise {
  if (answers === 'victoria-metrics') {
    const by = 'with labels and time; once with -dedup.minScrapeInterval=1ms there'
    return { delivery: 'at least once', by, ack: 'in memory' }
  }
  if (answers === 'questdb') {
    const by = 'with time; once where the table has DEDUP UPSERT KEYS'
    return { delivery: 'at least once', by, ack: 'received' }
  }
  // "InfluxDB may still reject points after you receive success", and a log that is written later.
  if (/(?:^|\.)influxdata\.com$/.test(hostname)) return { ...DURABLE, ack: 'received' }
  return searchParams.get('no_sync') === 'true' ? { ...DURABLE, ack: 'in memory' } : DURABLE
}
