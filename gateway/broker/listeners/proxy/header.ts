/**
 * The header of the PROXY protocol, version 2, that a proxy sends in front of the client's bytes:
 * where the client is, and the name in the certificate that the proxy has verified.
 *
 * Source: HAProxy, doc/proxy-protocol.txt, sections 2.2 and 2.2.1 to 2.2.8. Pure.
 */
import { SocketAddress } from 'node:net'
import { crc32c } from '../../../shared/crc32c.ts'
import { spokenProtocol } from '../wrong-protocol.ts'

export interface ProxyHeader {
  /** Of the header; the client's bytes begin behind it. */
  readonly bytes: number
  /** The connection is the proxy's own: a health check. */
  readonly isLocal: boolean
  /** IP address of the client; null: it has none (a UNIX socket), or the proxy does not know it. */
  readonly source: string | null
  /** null: the client showed none. */
  readonly certificate: ProxiedCertificate | null
}

interface ProxiedCertificate {
  readonly isVerified: boolean
  readonly commonName: string | null
}

/** Why the header is none, in words. */
export interface HeaderFault {
  readonly fault: string
}

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
const VERSION_1 = Buffer.from('PROXY ', 'latin1')
/** Signature, version and command, family and transport, length of the rest. */
const FIXED_BYTES = 16

/**
 * A header is smaller than what a network sends at once, unless it carries whole certificates. A
 * longer one is refused as soon as its length is known, so one that lies holds no memory.
 */
const MAX_HEADER_BYTES = 16 * 1024

const LOCAL = 0
const PROXY = 1
const [UNSPECIFIED, INET, INET6, UNIX] = [0, 1, 2, 3]
const STREAM = 1
const DATAGRAM = 2

/** Both addresses and ports, by family. Behind those of no family there is nothing to be known. */
const ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [INET, 12],
  [INET6, 36],
  [UNIX, 216],
])

const TLV_HEADER_BYTES = 3
const TYPE_CRC32C = 0x03
const TYPE_SSL = 0x20
const SUBTYPE_SSL_CN = 0x22
/** Flags of the client and the verdict, in front of the TLVs within. */
const SSL_FIXED_BYTES = 5
/** It showed a certificate on this connection, or on an earlier one of its TLS session. */
const CERTIFICATE_SHOWN = 0x02 | 0x04

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The header at the beginning of what was read; null: more of it has to come. */
export function readProxyHeader(read: Buffer): ProxyHeader | HeaderFault | null {
  const begun = Math.min(read.length, SIGNATURE.length)
  if (read.compare(SIGNATURE, 0, begun, 0, begun) !== 0) return otherProtocol(read)
  if (read.length < FIXED_BYTES) return null
  const [versionAndCommand, familyAndTransport] = [read[12]!, read[13]!]
  const fault = faultOf(versionAndCommand, familyAndTransport)
  if (fault !== null) return { fault }
  const bytes = FIXED_BYTES + read.readUInt16BE(14)
  if (bytes > MAX_HEADER_BYTES)
    return { fault: `the PROXY header has ${bytes} bytes, at most ${MAX_HEADER_BYTES} are taken` }
  const family = familyAndTransport >> 4
  const isLocal = (versionAndCommand & 0x0f) === LOCAL
  const addressBytes = ADDRESS_BYTES.get(family)
  const isShort = addressBytes !== undefined && bytes < FIXED_BYTES + addressBytes
  if (!isLocal && isShort)
    return { fault: `the PROXY header of ${bytes} bytes is too short for its addresses` }
  if (read.length < bytes) return null
  // Whatever else is in a header of the proxy's own counts for nothing.
  if (isLocal || addressBytes === undefined)
    return { bytes, isLocal, source: null, certificate: null }
  const isStream = (familyAndTransport & 0x0f) === STREAM
  const source = isStream ? sourceOf(read, family) : null
  const certificate = readTlvs(read.subarray(0, bytes), FIXED_BYTES + addressBytes)
  if (certificate !== null && 'fault' in certificate) return certificate
  return { bytes, isLocal, source, certificate }
}

function otherProtocol(read: Buffer): HeaderFault | null {
  const begun = Math.min(read.length, VERSION_1.length)
  if (read.compare(VERSION_1, 0, begun, 0, begun) === 0) {
    if (begun < VERSION_1.length) return null
    return {
      fault:
        'the proxy sends version 1 of the PROXY protocol, and only version 2 is taken: set send-proxy-v2 there',
    }
  }
  const what = spokenProtocol(read) ?? 'something else'
  return {
    fault: `${what} came in place of a PROXY header: set send-proxy-v2 in the proxy, or take its address from proxyProtocol.from`,
  }
}

function faultOf(versionAndCommand: number, familyAndTransport: number): string | null {
  const version = versionAndCommand >> 4
  if (version !== 2) return `the PROXY header is of version ${version}, and only 2 is taken`
  const command = versionAndCommand & 0x0f
  if (command !== LOCAL && command !== PROXY)
    return `the PROXY header has the unknown command ${command}`
  const [family, transport] = [familyAndTransport >> 4, familyAndTransport & 0x0f]
  const isKnown = family === UNSPECIFIED || ADDRESS_BYTES.has(family)
  if (isKnown && transport <= DATAGRAM) return null
  return `the PROXY header has the unknown family and transport 0x${familyAndTransport.toString(16)}`
}

function sourceOf(read: Buffer, family: number): string | null {
  if (family === INET) return read.subarray(FIXED_BYTES, FIXED_BYTES + 4).join('.')
  if (family !== INET6) return null
  const groups = Array.from({ length: 8 }, (_, n) => read.readUInt16BE(FIXED_BYTES + 2 * n))
  const address = groups.map((group) => group.toString(16)).join(':')
  // In the form in which sockets give theirs (RFC 5952).
  return new SocketAddress({ address, family: 'ipv6' }).address
}

/** The certificate that the TLVs from `at` on tell of. */
function readTlvs(header: Buffer, at: number): ProxiedCertificate | HeaderFault | null {
  const tlvs = tlvsOf(header, at)
  if (tlvs === null) return { fault: 'the lengths in the PROXY header contradict each other' }
  const checksum = tlvs.get(TYPE_CRC32C)
  if (checksum !== undefined && !isChecksumGood(header, checksum))
    return { fault: 'the checksum of the PROXY header is wrong' }
  const tls = tlvs.get(TYPE_SSL)
  return tls === undefined ? null : readTls(tls)
}

/** The first of each type; null: one does not fit. */
function tlvsOf(bytes: Buffer, from: number): ReadonlyMap<number, Buffer> | null {
  const found = new Map<number, Buffer>()
  let at = from
  while (at < bytes.length) {
    if (at + TLV_HEADER_BYTES > bytes.length) return null
    const type = bytes[at]!
    const begin = at + TLV_HEADER_BYTES
    at = begin + bytes.readUInt16BE(at + 1)
    if (at > bytes.length) return null
    if (!found.has(type)) found.set(type, bytes.subarray(begin, at))
  }
  return found
}

/** `stored`: where it is in the header; it counts as zeros. */
function isChecksumGood(header: Buffer, stored: Buffer): boolean {
  if (stored.length !== 4) return false
  const zeroed = Buffer.from(header)
  zeroed.fill(0, stored.byteOffset - header.byteOffset, stored.byteOffset - header.byteOffset + 4)
  return crc32c(zeroed) === stored.readUInt32BE(0)
}

function readTls(value: Buffer): ProxiedCertificate | HeaderFault | null {
  const tlvs = value.length < SSL_FIXED_BYTES ? null : tlvsOf(value, SSL_FIXED_BYTES)
  if (tlvs === null) return { fault: 'the lengths in the PROXY header contradict each other' }
  if ((value[0]! & CERTIFICATE_SHOWN) === 0) return null
  const isVerified = value.readUInt32BE(1) === 0
  const name = tlvs.get(SUBTYPE_SSL_CN)
  if (name === undefined || name.length === 0) return { isVerified, commonName: null }
  try {
    return { isVerified, commonName: utf8.decode(name) }
  } catch {
    return { fault: 'the common name in the PROXY header is not UTF-8' }
  }
}
