/**
 * What a format of the body is: how the records of a batch become the bytes of a request. One file a
 * format, pure; registry.ts lists them.
 *
 * I4: the same batch under the same fingerprint gives the same bytes, after a kill and on another
 * Node: nothing of a body may depend on a clock, a locale or chance. A change of what a format
 * writes is a higher `version` in its fingerprint, so that a batch in flight becomes a new one.
 */
import { createHash } from 'node:crypto'
import type { Report } from '../../../config/problems.ts'
import type { Schema } from '../../../config/schema.ts'
import type { Path } from '../../../config/walk.ts'
import type { Batch, BatchEncoder, BatchEncoding, SinkPromise } from '../../../ports/sink.ts'
import type { RecordView } from '../../mapping/record-view.ts'

/** A batch as text: prefix, records with the separator between them, suffix. */
interface TextBody {
  readonly prefix: string
  readonly separator: string
  readonly suffix: string
  /**
   * One record, with the placeholders of the mapping at hand. Any text, also of several lines.
   * @throws Unmappable when the record has no place in this format: it is refused
   */
  readonly each: (view: RecordView) => string
}

/** @param key what the batch and its body are known by */
export type QueryOfBatch = (key: string) => Readonly<Record<string, string>>

export interface Format {
  /** Kind and, of an encoded one, what of its configuration changes the bytes. */
  readonly fingerprint: string
  readonly contentType: string
  /** `Content-Encoding`; null: none. */
  readonly contentEncoding: 'gzip' | null
  /** The body is made of the blocks as they lie; null: it is encoded. */
  readonly stitches: BatchEncoding | null
  /** The body of a batch, if it does not stitch. */
  readonly text: (batch: Pick<Batch, 'gateway' | 'stream' | 'spoolId'>) => TextBody
  /** Most records that one request may have; absent: no limit of its own. */
  readonly maxBatchRecords?: number
  /** As its encoder says it. */
  readonly keepsWhole?: BatchEncoder['keepsWhole']
  /** Goes into the url behind its own query. What of the configuration changes it is in the fingerprint. */
  readonly query?: QueryOfBatch
}

export type Compression = 'gzip' | 'none'

/** Where the bodies of a format go. */
export interface FormatTarget {
  readonly url: string
  readonly compression: Compression
  /** As the configuration has it. */
  readonly maxBatchRecords: number
  /** Name of the table that the answers are read by. */
  readonly answers: string
}

/** A format as `format.kind` of the configuration names it. */
export interface FormatType<Config> {
  /** Besides `kind`. */
  readonly keys: Readonly<Record<string, Schema<unknown>>>
  promise(config: Config, target: FormatTarget): SinkPromise
  /** What its keys, and those of its sink, say of each other. */
  check(path: Path, config: Config, target: FormatTarget, report: Report): void
  create(config: Config, compression: Compression): Format
}

/** Of a service that keeps no more of the contract than a status: where it puts what it took is its own. */
export const PLAIN_PROMISE = {
  delivery: 'at least once',
  by: 'with ids',
  ack: 'received',
} as const satisfies SinkPromise

/** What an encoded format states beside its text. */
interface EncodedForm {
  readonly kind: string
  /** Higher than the last one that wrote other bytes for the same configuration. */
  readonly version: number
  /** All that changes the bytes. */
  readonly config: unknown
  readonly contentType: string
  readonly compression: Compression
  readonly maxBatchRecords?: number
  readonly keepsWhole?: true
  readonly query?: QueryOfBatch
}

/** A format that is encoded, record by record. */
export function encodedFormat(form: EncodedForm, text: Format['text']): Format {
  const { kind, version, config, contentType, compression, ...rest } = form
  const hash = createHash('sha256')
    .update(JSON.stringify([version, config]))
    .digest('hex')
  return {
    fingerprint: `${kind}:${hash.slice(0, 8)}:${compression === 'gzip' ? 'gzip' : 'identity'}`,
    contentType,
    contentEncoding: compression === 'gzip' ? 'gzip' : null,
    stitches: null,
    text,
    ...rest,
  }
}

/** A format that takes the blocks as they lie. */
export function stitchedFormat(form: Omit<Format, 'text'>): Format {
  return {
    ...form,
    text: () => {
      throw new Error(`${form.fingerprint} is stitched, not encoded`)
    },
  }
}
