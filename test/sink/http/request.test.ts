import { expect, test } from 'vitest'
import { headerFault } from '../../../gateway/sink/http/header-rules.ts'
import { idempotencyKey, requestHeaders } from '../../../gateway/sink/http/request.ts'
import { batchOf } from './batches.ts'

const KEY = /^"edge-01:k3f9x2m7q4w8z:telemetry:42-44:[0-9a-f]{8}"$/

test('I4: the idempotency key is a quoted string of identity, bounds and checksum', () => {
  expect(idempotencyKey(batchOf(42, 44))).toMatch(KEY)
  expect(idempotencyKey(batchOf(1, 1, { crc32: 0xab }))).toBe(
    '"edge-01:k3f9x2m7q4w8z:telemetry:1-1:000000ab"',
  )
  expect(idempotencyKey(batchOf(1, 1, { crc32: 0xffffffff }))).toContain(':ffffffff"')
})

test('I4: the key does not depend on the compression', () => {
  expect(idempotencyKey(batchOf(1, 9, { encoding: 'identity' }))).toBe(
    idempotencyKey(batchOf(1, 9)),
  )
})

test('the head of a request carries what the contract lists, and a fixed length', () => {
  const batch = batchOf(42, 44, { gaps: '40-41;reason=expired' })
  const headers = requestHeaders(batch, [['Authorization', 'Bearer abc']])
  expect(headers).toMatchObject({
    'sluice-contract': '1',
    'content-type': 'application/x-ndjson',
    'content-encoding': 'gzip',
    'content-length': String(batch.bodyBytes),
    'sluice-gateway': 'edge-01',
    'sluice-spool': 'k3f9x2m7q4w8z',
    'sluice-stream': 'telemetry',
    'sluice-first-seq': '42',
    'sluice-last-seq': '44',
    'sluice-record-count': '3',
    'sluice-gap': '40-41;reason=expired',
    authorization: 'Bearer abc',
  })
  expect(headers['idempotency-key']).toMatch(KEY)
})

test('without compression there is no Content-Encoding, without gaps no Sluice-Gap', () => {
  const headers = requestHeaders(batchOf(1, 2, { encoding: 'identity' }), [])
  expect(headers).not.toHaveProperty('content-encoding')
  expect(headers).not.toHaveProperty('sluice-gap')
})

test.each([
  'Sluice-Gateway',
  'sluice-anything',
  'CONTENT-LENGTH',
  'Content-Md5',
  'Idempotency-Key',
  'Transfer-Encoding',
  'Connection',
  'Host',
  'Proxy-Connection',
  'bad name',
  '',
])('a configured header %j never reaches a request', (name) => {
  expect(headerFault(name)).not.toBeNull()
  const plain = requestHeaders(batchOf(1, 2), [])
  expect(requestHeaders(batchOf(1, 2), [[name, 'mine']])).toEqual(plain)
})

test('a configured User-Agent replaces ours', () => {
  expect(requestHeaders(batchOf(1, 2), [['User-Agent', 'plant/1']])['user-agent']).toBe('plant/1')
})
