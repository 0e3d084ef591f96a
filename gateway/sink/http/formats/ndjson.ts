/** The ingest contract's own format: a record a line, as the blocks lie on disk. */
import type { SinkPromise } from '../../../ports/sink.ts'
import { type Compression, type FormatType, stitchedFormat } from './format.ts'

interface NdjsonConfig {
  readonly kind: 'ndjson'
}

/** Its receivers know a repeat by ids, or by one number a queue. */
const CONTRACT_PROMISE = {
  delivery: 'at least once',
  by: 'with ids; exactly once where the receiver keeps one number a queue',
  ack: 'durable',
} as const satisfies SinkPromise

export const ndjson = {
  keys: {},
  promise: () => CONTRACT_PROMISE,
  check: () => undefined,
  create: (_: NdjsonConfig, compression: Compression) => {
    const stitches = compression === 'gzip' ? 'gzip' : 'identity'
    return stitchedFormat({
      fingerprint: `ndjson:${stitches}`,
      contentType: 'application/x-ndjson',
      contentEncoding: compression === 'gzip' ? 'gzip' : null,
      stitches,
    })
  },
} satisfies FormatType<NdjsonConfig>
