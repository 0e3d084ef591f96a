/**
 * The formats of a body, a line each. What a format does is known in its file; here is only its
 * name, as `format.kind` in the configuration says it.
 */
import type { Report } from '../../../config/problems.ts'
import { variant } from '../../../config/variant.ts'
import type { Path } from '../../../config/walk.ts'
import type { SinkPromise } from '../../../ports/sink.ts'
import { tableOf } from '../answers/rules.ts'
import { cloudeventsBatch } from './cloudevents-batch.ts'
import { esBulk } from './es-bulk.ts'
import type { Compression, Format, FormatTarget, FormatType } from './format.ts'
import { influx } from './influx.ts'
import { json } from './json.ts'
import { jsonArray } from './json-array.ts'
import { jsonEachRow } from './json-each-row.ts'
import { ndjson } from './ndjson.ts'
import { otlpLogs } from './otlp-logs.ts'
import { raw } from './raw.ts'
import { template } from './template.ts'

const FORMATS = {
  ndjson,
  raw,
  'json-array': jsonArray,
  json,
  template,
  'cloudevents-batch': cloudeventsBatch,
  influx,
  'es-bulk': esBulk,
  'json-each-row': jsonEachRow,
  'otlp-logs': otlpLogs,
}

type Formats = typeof FORMATS

export type FormatConfig = {
  [Kind in keyof Formats]: Parameters<Formats[Kind]['create']>[0]
}[keyof Formats]

export const formatKey = variant('Form of the body.', {
  key: 'kind',
  keyText: 'Form of the body. A word in place of the section is its kind.',
  usual: 'ndjson',
  types: FORMATS,
  common: {},
  word: true,
}).prefault({ kind: 'ndjson' })

function formatTypeOf({ kind }: FormatConfig): FormatType<FormatConfig> {
  return FORMATS[kind]
}

export function promiseOf(sink: SinkOfFormat): SinkPromise {
  return formatTypeOf(sink.format).promise(sink.format, targetOf(sink))
}

/** What a format and its sink say of each other. */
export function checkFormat(path: Path, sink: SinkOfFormat, report: Report): void {
  formatTypeOf(sink.format).check(path, sink.format, targetOf(sink), report)
}

type SinkOfFormat = Parameters<typeof tableOf>[0] &
  Omit<FormatTarget, 'answers'> & { readonly format: FormatConfig }

function targetOf(sink: SinkOfFormat): FormatTarget {
  const { url, compression, maxBatchRecords } = sink
  return { url, compression, maxBatchRecords, answers: tableOf(sink) }
}

export function formatOf(config: FormatConfig, compression: Compression): Format {
  return formatTypeOf(config).create(config, compression)
}
