/**
 * The formats of a body, a line each. What a format does is known in its file; here is only its
 * name, as `format.kind` in the configuration says it.
 */
import { variant } from '../../../config/variant.ts'
import { cloudeventsBatch } from './cloudevents-batch.ts'
import type { Compression, Format, FormatType } from './format.ts'
import { json } from './json.ts'
import { jsonArray } from './json-array.ts'
import { ndjson } from './ndjson.ts'
import { raw } from './raw.ts'
import { template } from './template.ts'

const FORMATS = {
  ndjson,
  raw,
  'json-array': jsonArray,
  json,
  template,
  'cloudevents-batch': cloudeventsBatch,
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

export function formatTypeOf({ kind }: FormatConfig): FormatType<FormatConfig> {
  return FORMATS[kind]
}

export function formatOf(config: FormatConfig, compression: Compression): Format {
  return formatTypeOf(config).create(config, compression)
}
