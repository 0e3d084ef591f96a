/**
 * The contract's NDJSON as a gzip file: the same bytes as `ndjson`, but as something to keep, not as
 * a coding of the way. For receivers that store a body as it comes.
 */
import type { Report } from '../../../config/problems.ts'
import type { Path } from '../../../config/walk.ts'
import { type FormatTarget, type FormatType, PLAIN_PROMISE, stitchedFormat } from './format.ts'
import { contentTypeKey } from './keys.ts'

interface RawConfig {
  readonly kind: 'raw'
  readonly contentType: string
}

export const raw = {
  keys: { contentType: contentTypeKey('application/gzip') },
  promise: () => PLAIN_PROMISE,
  check: (path: Path, _: RawConfig, { compression }: FormatTarget, report: Report) => {
    if (compression === 'gzip') return
    report.complain(path, {
      got: 'format raw with compression none',
      wanted: 'compression gzip: raw is the gzip file itself',
      fix: 'remove compression, or write format: ndjson',
    })
  },
  create: ({ contentType }: RawConfig) =>
    stitchedFormat({
      fingerprint: 'raw:gzip',
      contentType,
      contentEncoding: null,
      stitches: 'gzip',
    }),
} satisfies FormatType<RawConfig>
