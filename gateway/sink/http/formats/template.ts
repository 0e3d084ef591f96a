/**
 * A body that the configuration writes out: a text a record, joined. For services whose JSON, CSV or
 * XML is their own.
 */
import { choice, text } from '../../../config/fields.ts'
import type { Report } from '../../../config/problems.ts'
import { type LeafSpec, leaf } from '../../../config/schema.ts'
import type { Path } from '../../../config/walk.ts'
import { ExampleView } from '../../mapping/example-view.ts'
import { templateKey } from '../../mapping/keys.ts'
import { compileTemplate, type Escape, fillBatch, parseTemplate } from '../../mapping/template.ts'
import {
  type Compression,
  encodedFormat,
  type FormatTarget,
  type FormatType,
  PLAIN_PROMISE,
} from './format.ts'
import { jsonFault } from './json-text.ts'
import { contentTypeKey, percentEncoded } from './keys.ts'

interface TemplateFormatConfig {
  readonly kind: 'template'
  readonly text: string
  readonly prefix: string
  readonly separator: string
  readonly suffix: string
  readonly escape: keyof typeof ESCAPES
  readonly contentType: string
}

const insideQuotes = (value: string): string => JSON.stringify(value).slice(1, -1)

const XML: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
}

const ESCAPES = {
  /** The quotes stand in the template; what is JSON already needs none. */
  json: ({ type, text: value }) => (type === 'text' ? insideQuotes(value) : value),
  'json-text': ({ text: value }) => insideQuotes(value),
  csv: ({ type, text: value }) => (type === 'number' ? value : `"${value.replaceAll('"', '""')}"`),
  xml: ({ text: value }) =>
    value.replaceAll(/[&<>"']|(?![\t\n\r])\p{Cc}/gu, (char) => XML[char] ?? '\ufffd'),
  url: ({ text: value }) => percentEncoded(value),
  none: ({ text: value }) => value,
} satisfies Readonly<Record<string, Escape>>

/** Around and between records: may be empty, and knows no record. */
function batchText(description: string): LeafSpec<string> {
  const spec = text(description, {
    wanted: 'a text, in which ${gateway} and ${stream} may stand',
    check: (input) => {
      const parsed = parseTemplate(input, 'batch')
      return 'fix' in parsed ? parsed.fix : null
    },
  })
  return {
    ...spec,
    shape: { type: 'string' },
    parse: (input) => (input === '' ? { value: '' } : spec.parse(input)),
  }
}

const SHOWN_CHARS = 120

/**
 * A body that says it is JSON is, of one record and of several, before the first record comes. What
 * a pointer finds passes for a number, which fits in quotes and without: a text where none are is
 * seen with the record alone.
 */
function checkJson(
  path: Path,
  format: TemplateFormatConfig,
  { maxBatchRecords }: FormatTarget,
  report: Report,
): void {
  for (const count of maxBatchRecords > 1 ? [1, 2] : [1]) {
    const body = exampleOf(format, count)
    const fault = jsonFault(body, format.contentType)
    if (fault === null) continue
    const shown = JSON.stringify(
      body.length > SHOWN_CHARS ? `${body.slice(0, SHOWN_CHARS)}…` : body,
    )
    return report.complain([...path, 'text'], {
      got: `a body of ${count === 1 ? 'one record' : 'two records'} that would be ${shown}: ${fault}`,
      wanted: `JSON, in one piece or a line each, as contentType ${format.contentType} says`,
      fix: 'correct text, escape, prefix, separator or suffix (texts in quotes, as in "${device}", numbers without), or set contentType to what it is, such as text/plain',
    })
  }
}

function exampleOf(format: TemplateFormatConfig, count: number): string {
  const places = { gateway: 'gateway', stream: 'stream' }
  const escape = ESCAPES[format.escape]
  const [prefix, separator, suffix] = [format.prefix, format.separator, format.suffix].map((text) =>
    fillBatch(text, places, escape),
  )
  const record = compileTemplate(format.text).render(new ExampleView(places), escape)
  return `${prefix}${Array.from({ length: count }, () => record).join(separator)}${suffix}`
}

export const template = {
  keys: {
    text: leaf(templateKey('Of each record.')).prefault('${record}'),
    prefix: leaf(batchText('Before the first record.')).prefault(''),
    separator: leaf(batchText('Between two records.')).prefault('\n'),
    suffix: leaf(batchText('Behind the last record.')).prefault('\n'),
    escape: leaf(
      choice<keyof typeof ESCAPES>(
        'What placeholders give: json: texts as inside quotes, numbers and JSON as they are; json-text: all as inside quotes; csv: quoted, but numbers; xml, url: with entities, with %.',
        ['json', 'json-text', 'csv', 'xml', 'url', 'none'],
      ),
    ).prefault('json'),
    contentType: contentTypeKey('application/json'),
  },
  promise: () => PLAIN_PROMISE,
  check: checkJson,
  create: (format: TemplateFormatConfig, compression: Compression) => {
    const { contentType, kind, ...config } = format
    const record = compileTemplate(config.text)
    const escape = ESCAPES[config.escape]
    return encodedFormat({ kind, version: 1, config, contentType, compression }, (batch) => ({
      prefix: fillBatch(config.prefix, batch, escape),
      separator: fillBatch(config.separator, batch, escape),
      suffix: fillBatch(config.suffix, batch, escape),
      each: (view) => record.render(view, escape),
    }))
  },
} satisfies FormatType<TemplateFormatConfig>
