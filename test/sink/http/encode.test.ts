import { expect, test } from 'vitest'
import type { Gap } from '../../../gateway/ports/sink.ts'
import {
  gapHeader,
  httpEncoder,
  idempotencyKey,
  MAX_GAP_HEADER_BYTES,
} from '../../../gateway/sink/http/encode.ts'
import { batchOf, expired } from './batches.ts'

const ENCODER = httpEncoder({ format: { kind: 'ndjson' }, compression: 'gzip' })
const OWN = 'k3f9x2m7q4w8z'

test('I4: the idempotency key is a quoted string of identity, bounds and checksum', () => {
  expect(idempotencyKey(batchOf(42, 44))).toMatch(
    /^"edge-01:k3f9x2m7q4w8z:telemetry:42-44:[0-9a-f]{8}"$/,
  )
  expect(idempotencyKey(batchOf(1, 1, { crc32: 0xab }))).toBe(
    '"edge-01:k3f9x2m7q4w8z:telemetry:1-1:000000ab"',
  )
  expect(idempotencyKey(batchOf(1, 1, { crc32: 0xffffffff }))).toContain(':ffffffff"')
})

test('I4: a batch that may have gone out in another form has a key of its own, form by form', () => {
  const plain = httpEncoder({ format: { kind: 'ndjson' }, compression: 'none' })
  expect(plain.fingerprint).not.toBe(ENCODER.fingerprint)
  const before = batchOf(1, 9, { fingerprint: ENCODER.fingerprint })
  const after = batchOf(1, 9, {
    fingerprint: plain.fingerprint,
    formerFingerprints: [ENCODER.fingerprint],
  })
  const back = batchOf(1, 9, {
    fingerprint: ENCODER.fingerprint,
    formerFingerprints: [ENCODER.fingerprint, plain.fingerprint],
  })
  expect(new Set([before, after, back].map(idempotencyKey)).size).toBe(3)
  expect(idempotencyKey(after)).toMatch(/:1-9:[0-9a-f]{8}:http:ndjson:identity"$/)
})

test('gaps of an earlier identity say so', () => {
  const older: Gap = { spoolId: 'older', firstSeq: 4, lastSeq: 9, reason: 'dropped-oldest' }
  expect(gapHeader([], OWN)).toBeNull()
  expect(gapHeader([older, expired(1, 1)], OWN)).toBe(
    '4-9;reason=dropped-oldest;spool=older, 1-1;reason=expired',
  )
})

test('as many gaps fit as the header may have bytes, the oldest first', () => {
  const gaps = Array.from({ length: 300 }, (_, i) => expired(10 * i + 1, 10 * i + 5))
  const count = ENCODER.gapsThatFit(gaps, OWN)
  const bytes = (n: number): number => gapHeader(gaps.slice(0, n), OWN)?.length ?? 0
  expect(bytes(count)).toBeLessThanOrEqual(MAX_GAP_HEADER_BYTES)
  expect(bytes(count + 1)).toBeGreaterThan(MAX_GAP_HEADER_BYTES)
  expect(ENCODER.gapsThatFit(gaps.slice(0, 3), OWN)).toBe(3)
  expect(ENCODER.gapsThatFit([], OWN)).toBe(0)
})
