/** One JSON array a request: what most services that take several events at once want. */
import { type Compression, encodedFormat, type FormatType, PLAIN_PROMISE } from './format.ts'
import { type Content, contentKey, contentOf, contentTypeKey } from './keys.ts'

interface JsonArrayConfig {
  readonly kind: 'json-array'
  readonly content: Content
  readonly contentType: string
}

export const jsonArray = {
  keys: { content: contentKey, contentType: contentTypeKey('application/json') },
  promise: () => PLAIN_PROMISE,
  check: () => undefined,
  create: ({ content, contentType }: JsonArrayConfig, compression: Compression) =>
    encodedFormat(
      { kind: 'json-array', version: 1, config: { content }, contentType, compression },
      () => ({
        prefix: '[',
        separator: ',\n',
        suffix: ']\n',
        each: (view) => contentOf(view, content),
      }),
    ),
} satisfies FormatType<JsonArrayConfig>
