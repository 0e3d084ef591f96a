import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readProxyHeader } from '../../../../gateway/broker/listeners/proxy/header.ts'
import {
  ipv4,
  ipv6,
  proxyHeader,
  tlsTlv,
  tlv,
  withChecksum,
} from '../../../support/proxy-header.ts'

const FRAME = Buffer.from([0x10, 0x0c, 0, 4])

function faultOf(bytes: Buffer): string {
  const header = readProxyHeader(bytes)
  return header !== null && 'fault' in header ? header.fault : JSON.stringify(header)
}

describe('a PROXY header', () => {
  test.each([
    ['IPv4', proxyHeader(), '198.51.100.7'],
    [
      'IPv6',
      proxyHeader({ family: 0x21, addresses: ipv6(`20010db8${'0'.repeat(23)}7`) }),
      '2001:db8::7',
    ],
    [
      'IPv4 in IPv6',
      proxyHeader({ family: 0x21, addresses: ipv6(`${'0'.repeat(20)}ffffc6336407`) }),
      '::ffff:198.51.100.7',
    ],
    ['UNIX', proxyHeader({ family: 0x31, addresses: Buffer.alloc(216, 0x2f) }), null],
    ['no family', proxyHeader({ family: 0x00, addresses: Buffer.alloc(0) }), null],
    ['no family, with bytes', proxyHeader({ family: 0x00, addresses: Buffer.alloc(40, 1) }), null],
    ['IPv4 datagrams', proxyHeader({ family: 0x12 }), null],
    ['IPv4, no transport', proxyHeader({ family: 0x10 }), null],
  ])('of %s says where the client is', (_, header, source) => {
    expect(readProxyHeader(Buffer.concat([header, FRAME]))).toEqual({
      bytes: header.length,
      isLocal: false,
      source,
      certificate: null,
    })
  })

  test.each([
    ['without addresses', proxyHeader({ command: 0, family: 0, addresses: Buffer.alloc(0) })],
    ['with addresses', proxyHeader({ command: 0 })],
    ['with too few of them', proxyHeader({ command: 0, addresses: Buffer.alloc(3) })],
    ['with a certificate', proxyHeader({ command: 0, tlvs: tlsTlv('press-7') })],
  ])('LOCAL %s is the proxy itself: all else counts for nothing', (_, header) => {
    expect(readProxyHeader(header)).toEqual({
      bytes: header.length,
      isLocal: true,
      source: null,
      certificate: null,
    })
  })

  test('is complete with its last byte, whatever pieces it comes in', () => {
    const header = withChecksum({ tlvs: tlsTlv('press-7') })
    for (let length = 0; length < header.length; length += 1)
      expect(readProxyHeader(header.subarray(0, length))).toBeNull()
    expect(readProxyHeader(header)).toMatchObject({ bytes: header.length })
  })

  test.each([
    ['verified', tlsTlv('press-7'), { isVerified: true, commonName: 'press-7' }],
    ['of an earlier connection', tlsTlv('p', 0, 0b101), { isVerified: true, commonName: 'p' }],
    ['not verified', tlsTlv('press-7', 18), { isVerified: false, commonName: 'press-7' }],
    ['without a common name', tlsTlv(null), { isVerified: true, commonName: null }],
    ['with an empty one', tlsTlv(''), { isVerified: true, commonName: null }],
    ['that the client did not show', tlsTlv('press-7', 0, 0b001), null],
  ])('a certificate %s', (_, tls, certificate) => {
    const tlvs = Buffer.concat([tlv(0x01, 'mqtt'), tlv(0x04, Buffer.alloc(9)), tls])
    expect(readProxyHeader(proxyHeader({ tlvs }))).toMatchObject({ certificate })
  })

  test('of two TLVs of one type the first counts', () => {
    const tlvs = Buffer.concat([tlsTlv('press-7'), tlsTlv('admin')])
    expect(readProxyHeader(proxyHeader({ tlvs }))).toMatchObject({
      certificate: { commonName: 'press-7' },
    })
  })

  test('a checksum is checked', () => {
    expect(readProxyHeader(withChecksum({}))).toMatchObject({ source: '198.51.100.7' })
    expect(faultOf(withChecksum({}, 1))).toContain('checksum')
    expect(faultOf(proxyHeader({ tlvs: tlv(0x03, 'abc') }))).toContain('checksum')
  })

  test.each([
    ['version 1', 'PROXY TCP4 198.51.100.7 192.0.2.1 40000 1883\r\n', 'send-proxy-v2'],
    ['a CONNECT', FRAME, 'MQTT came in place of a PROXY header'],
    ['a TLS handshake', Buffer.from([0x16, 3, 1]), 'TLS came in place'],
    ['an HTTP request', 'GET /mqtt HTTP/1.1\r\n', 'HTTP came in place'],
    ['a POST', 'POST / HTTP/1.1\r\n', 'HTTP came in place'],
    ['noise', 'hello', 'something else came in place'],
    ['version 3', proxyHeader({ version: 3 }), 'of version 3'],
    ['an unknown command', proxyHeader({ command: 2 }), 'unknown command 2'],
    ['an unknown family', proxyHeader({ family: 0x41 }), 'unknown family and transport 0x41'],
    ['an unknown transport', proxyHeader({ family: 0x13 }), 'unknown family and transport 0x13'],
    ['too short for IPv4', proxyHeader({ length: 11 }), 'too short'],
    ['too short for IPv6', proxyHeader({ family: 0x21 }), 'too short'],
    ['too short for UNIX', proxyHeader({ family: 0x31 }), 'too short'],
    ['a huge length', proxyHeader({ length: 65_535 }).subarray(0, 16), 'at most 16384 are taken'],
    ['a TLV without a length', proxyHeader({ tlvs: Buffer.from([4, 0]) }), 'contradict'],
    ['a TLV beyond the end', proxyHeader({ tlvs: Buffer.from([4, 0, 2, 0]) }), 'contradict'],
    ['a TLV of TLS too short', proxyHeader({ tlvs: tlv(0x20, 'abc') }), 'contradict'],
    ['one within beyond its end', proxyHeader({ tlvs: tlv(0x20, '\x07\0\0\0\0\x22\0\x05a') }), 'c'],
    ['a name that is not UTF-8', proxyHeader({ tlvs: tlsTlv(Buffer.from([0xc3])) }), 'not UTF-8'],
  ])('%s is refused in words', (_, bytes, words) => {
    expect(faultOf(Buffer.from(bytes as string))).toContain(words)
  })

  test('of any bytes nothing is read beyond its length, and more bytes never change the verdict', () => {
    const part = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      fc
        .record({
          command: fc.nat(3),
          family: fc.constantFrom(0, 0x11, 0x12, 0x21, 0x31, 0x41),
          addresses: fc.uint8Array({ maxLength: 260 }).map((bytes) => Buffer.from(bytes)),
          tlvs: fc
            .array(fc.tuple(fc.nat(0x25), fc.uint8Array({ maxLength: 40 })))
            .map((tlvs) => Buffer.concat(tlvs.map(([type, value]) => tlv(type, value)))),
          length: fc.option(fc.nat(65_535), { nil: undefined as never }),
        })
        .map((parts) => proxyHeader(parts)),
      fc.tuple(fc.nat(60), fc.nat(255)).map(([at, byte]) => {
        const header = withChecksum({ addresses: ipv4('203.0.113.9'), tlvs: tlsTlv('press-7') })
        header[at % header.length] = byte
        return header
      }),
    )
    fc.assert(
      fc.property(part, fc.uint8Array({ maxLength: 50 }), (bytes, more) => {
        const verdict = readProxyHeader(bytes)
        if (verdict === null) return
        const longer = readProxyHeader(Buffer.concat([bytes, more]))
        if ('fault' in verdict) expect(longer).toHaveProperty('fault')
        else {
          expect(longer).toEqual(verdict)
          expect(verdict.bytes).toBeGreaterThanOrEqual(16)
          expect(verdict.bytes).toBeLessThanOrEqual(bytes.length)
          expect(readProxyHeader(bytes.subarray(0, verdict.bytes))).toEqual(verdict)
          expect(readProxyHeader(bytes.subarray(0, verdict.bytes - 1))).toBeNull()
        }
      }),
      { numRuns: 5_000 },
    )
  })
})
