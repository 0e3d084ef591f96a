/**
 * A body that the configuration writes out: a text a record, joined. For services whose JSON, CSV or
 * XML is their own.
 */
import { choice, text } from '../../../config/fields.ts'
import { type LeafSpec, leaf } from '../../../config/schema.ts'
import { templateKey } from '../../mapping/keys.ts'
import { compileTemplate, type Escape, fillBatch, parseTemplate } from '../../mapping/template.ts'
import { type Compression, encodedFormat, type FormatType, PLAIN_PROMISE } from './format.ts'
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
  check: () => undefined,
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
