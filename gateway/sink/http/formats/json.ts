/** One record a request: for services that take a single event, such as a function or a webhook. */
import { type Compression, encodedFormat, type FormatType, PLAIN_PROMISE } from './format.ts'
import { type Content, contentKey, contentOf, contentTypeKey } from './keys.ts'

interface JsonConfig {
  readonly kind: 'json'
  readonly content: Content
  readonly contentType: string
}

export const json = {
  keys: { content: contentKey, contentType: contentTypeKey('application/json') },
  promise: () => PLAIN_PROMISE,
  check: () => undefined,
  create: ({ content, contentType }: JsonConfig, compression: Compression) =>
    encodedFormat(
      {
        kind: 'json',
        version: 1,
        config: { content },
        contentType,
        compression,
        maxBatchRecords: 1,
      },
      () => ({
        prefix: '',
        separator: '\n',
        suffix: '\n',
        each: (view) => contentOf(view, content),
      }),
    ),
} satisfies FormatType<JsonConfig>
