/**
 * Logs of OpenTelemetry over HTTP, as JSON: a log record for each record, one resource a batch. By
 * the JSON mapping of protobuf that OTLP asks for: numbers of 64 bits are strings, bytes are base64.
 * What a receiver answers: ../answers/receivers/otlp.ts.
 */
import { choice, text } from '../../../config/fields.ts'
import { leaf, map } from '../../../config/schema.ts'
import type { Batch, SinkPromise } from '../../../ports/sink.ts'
import { mappedKey, timeKey } from '../../mapping/keys.ts'
import { type RecordView, Unmappable } from '../../mapping/record-view.ts'
import { compileMapped } from '../../mapping/template.ts'
import { compileTime, type TimeConfig } from '../../mapping/time.ts'
import { type Compression, encodedFormat, type FormatType } from './format.ts'

type Attributes = Readonly<Record<string, string>>

const RESOURCE: Attributes = { 'service.name': 'sluice', 'service.instance.id': '${gateway}' }
const ATTRIBUTES: Attributes = { 'sluice.device': '${device}', 'sluice.topic': '${topic}' }

interface OtlpLogsConfig {
  readonly kind: 'otlp-logs'
  readonly body: 'text' | 'value'
  /** null: {@link RESOURCE}. */
  readonly resource: Attributes | null
  /** null: {@link ATTRIBUTES}. */
  readonly attributes: Attributes | null
  readonly time: TimeConfig
}

const PROMISE = {
  delivery: 'at least once',
  by: 'with the attribute sluice.id',
  ack: 'received',
} as const satisfies SinkPromise

export const otlpLogs = {
  keys: {
    body: leaf(
      choice('text: the payload as a string; value: its JSON as values of OTLP.', [
        'text',
        'value',
      ]),
    ).prefault('text'),
    resource: map(
      'Attributes of the resource. null: service.name sluice, service.instance.id the gateway.',
      'attribute',
      leaf(resourceKey()),
    )
      .nullable()
      .prefault(null),
    attributes: map(
      'Attributes of a log record. One without a value is left out. null: sluice.device, sluice.topic.',
      'attribute',
      leaf(mappedKey('Value of the attribute.')),
    )
      .nullable()
      .prefault(null),
    time: timeKey,
  },
  promise: () => PROMISE,
  check: () => undefined,
  create: ({ kind, ...config }: OtlpLogsConfig, compression: Compression) =>
    encodedFormat(
      { kind, version: 1, config, contentType: 'application/json', compression },
      (batch) => ({
        prefix: `{"resourceLogs":[{"resource":{"attributes":[${resourceOf(config.resource ?? RESOURCE, batch)}]},"scopeLogs":[{"scope":{"name":"sluice"},"logRecords":[`,
        separator: ',',
        suffix: ']}]}]}',
        each: compileLogRecord(config),
      }),
    ),
} satisfies FormatType<OtlpLogsConfig>

/** One resource stands for a whole batch: nothing of a single record can be in it. */
function resourceKey() {
  return text('Value of the attribute. Its placeholders are ${gateway} and ${stream}.', {
    wanted: 'a text, with ${gateway} and ${stream} as the only placeholders',
    check: (input) =>
      /\$\{(?!(?:gateway|stream)\})/.test(input)
        ? 'write ${gateway} or ${stream}, or put it into attributes'
        : null,
  })
}

function resourceOf(
  resource: Attributes,
  { gateway, stream }: Pick<Batch, 'gateway' | 'stream'>,
): string {
  const all = Object.entries(resource).map(([key, source]) => {
    const value = source.replaceAll('${gateway}', gateway).replaceAll('${stream}', stream)
    return pair(key, anyValue(value, 0))
  })
  return all.join(',')
}

/** Names are written once; devices that make up new ones cost no memory. */
const MAX_KNOWN_KEYS = 4096
const knownKeys = new Map<string, string>()

/** The time was to be in the payload, and is that of its arrival. */
const ARRIVAL_MARK = `,${pair('sluice.time_is_arrival', '{"boolValue":true}')}`

export function compileLogRecord(
  config: Pick<OtlpLogsConfig, 'body' | 'attributes' | 'time'>,
): (view: RecordView) => string {
  const timeOf = compileTime(config.time)
  const attributesOf = compileAttributes(config.attributes ?? ATTRIBUTES)
  const isText = config.body === 'text'
  return (view) => {
    const { id, receivedAtMs } = view.record
    const arrival = receivedAtMs > 0 ? `${receivedAtMs}000000` : '0'
    const said = config.time.at === null ? null : timeOf(view)
    const happened = said === null || said.fellBack ? arrival : said.nanoseconds
    const own = pair('sluice.id', `{"stringValue":${JSON.stringify(id)}}`)
    const mark = said?.fellBack === true ? ARRIVAL_MARK : ''
    return (
      `{"timeUnixNano":"${happened}","observedTimeUnixNano":"${arrival}",` +
      `"body":${bodyOf(view, isText)},"attributes":[${own}${mark}${attributesOf(view)}]}`
    )
  }
}

function bodyOf(view: RecordView, isText: boolean): string {
  const { payload, payloadKind } = view.record
  if (payloadKind === 'bytes') return `{"bytesValue":"${Buffer.from(payload).toString('base64')}"}`
  if (!isText) return anyValue(view.payload, 0)
  // A payload that is a string is its text, without JSON's quotes.
  const isString = view.json.startsWith('"')
  return `{"stringValue":${isString ? view.json : JSON.stringify(view.json)}}`
}

/** Each with a comma before it. */
function compileAttributes(attributes: Attributes): (view: RecordView) => string {
  const all = Object.entries(attributes).map(
    ([key, source]) => [key, compileMapped(source)] as const,
  )
  return (view) => {
    let out = ''
    for (const [key, of] of all) {
      const { type, text: value } = of(view)
      if (type === 'missing' || type === 'null') continue
      out += `,${pair(key, anyValue(type === 'text' ? value : JSON.parse(value), 0))}`
    }
    return out
  }
}

/** Deeper than any reading, and far from the end of the stack. */
const MAX_DEPTH = 32

/** An integer that a number cannot hold exactly is a double, as JSON.parse reads it. */
function anyValue(value: unknown, depth: number): string {
  if (depth > MAX_DEPTH) throw new Unmappable(`a member is nested deeper than ${MAX_DEPTH}`)
  if (typeof value === 'string') return `{"stringValue":${JSON.stringify(value)}}`
  if (typeof value === 'boolean') return `{"boolValue":${value}}`
  if (typeof value === 'number') return numberValue(value)
  if (typeof value !== 'object' || value === null) return '{}'
  let all = ''
  if (Array.isArray(value)) {
    for (const item of value) all += `${all === '' ? '' : ','}${anyValue(item, depth + 1)}`
    return `{"arrayValue":{"values":[${all}]}}`
  }
  const members = value as Readonly<Record<string, unknown>>
  for (const key in members)
    all += `${all === '' ? '' : ','}${pair(key, anyValue(members[key], depth + 1))}`
  return `{"kvlistValue":{"values":[${all}]}}`
}

function numberValue(value: number): string {
  if (Number.isSafeInteger(value)) return `{"intValue":"${value}"}`
  // Beyond what a double holds, which the mapping of protobuf has names for.
  if (!Number.isFinite(value)) return `{"doubleValue":"${value < 0 ? '-' : ''}Infinity"}`
  return `{"doubleValue":${value}}`
}

function pair(key: string, value: string): string {
  return `${keyText(key)}${value}}`
}

function keyText(key: string): string {
  const known = knownKeys.get(key)
  if (known !== undefined) return known
  if (knownKeys.size >= MAX_KNOWN_KEYS) knownKeys.clear()
  const text = `{"key":${JSON.stringify(key)},"value":`
  knownKeys.set(key, text)
  return text
}
