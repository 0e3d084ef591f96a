import { expect, test } from 'vitest'
import { headerFault } from '../../../gateway/sink/http/header-rules.ts'
import { requestHeaders } from '../../../gateway/sink/http/request.ts'
import { batchOf, expired } from './batches.ts'

const KEY = /^"edge-01:k3f9x2m7q4w8z:telemetry:42-44:[0-9a-f]{8}"$/
const GZIP = {
  byteLength: 321,
  contentType: 'application/x-ndjson',
  contentEncoding: 'gzip',
  recordCount: 3,
  crc32: null,
} as const

test('the head of a request carries what the contract lists, and a fixed length', () => {
  const batch = batchOf(42, 44, { gaps: [expired(40, 41)] })
  const headers = requestHeaders(batch, GZIP, [['Authorization', 'Bearer abc']])
  expect(headers).toMatchObject({
    'sluice-contract': '1',
    'content-type': 'application/x-ndjson',
    'content-encoding': 'gzip',
    'content-length': String(GZIP.byteLength),
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
  const headers = requestHeaders(batchOf(1, 2), { ...GZIP, contentEncoding: null }, [])
  expect(headers).not.toHaveProperty('content-encoding')
  expect(headers).not.toHaveProperty('sluice-gap')
})

test('of an encoded body it has the type, the records that are in it, and a key of its own', () => {
  const batch = batchOf(42, 44, { fingerprint: 'http:json-array:0a1b2c3d:gzip' })
  const body = { ...GZIP, contentType: 'application/json', recordCount: 2, crc32: 0xab }
  expect(requestHeaders(batch, body, [])).toMatchObject({
    'content-type': 'application/json',
    'sluice-record-count': '2',
    'idempotency-key':
      '"edge-01:k3f9x2m7q4w8z:telemetry:42-44:000000ab:http:json-array:0a1b2c3d:gzip"',
  })
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
  const plain = requestHeaders(batchOf(1, 2), GZIP, [])
  expect(requestHeaders(batchOf(1, 2), GZIP, [[name, 'mine']])).toEqual(plain)
})

test('a configured User-Agent replaces ours', () => {
  expect(requestHeaders(batchOf(1, 2), GZIP, [['User-Agent', 'plant/1']])['user-agent']).toBe(
    'plant/1',
  )
})
