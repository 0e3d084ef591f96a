/** Headers of the PROXY protocol, version 2, by its text; shares nothing with the gateway's reader. */

interface HeaderParts {
  /** 0: LOCAL, 1: PROXY. */
  readonly command?: number
  readonly version?: number
  /** Family and transport. */
  readonly family?: number
  readonly addresses?: Buffer
  readonly tlvs?: Buffer
  /** Where it lies. */
  readonly length?: number
}

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')

export function ipv4(source: string, port = 40_000): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.set(source.split('.').map(Number), 0)
  bytes.set([192, 0, 2, 1], 4)
  bytes.writeUInt16BE(port, 8)
  bytes.writeUInt16BE(1883, 10)
  return bytes
}

/** `source`: 32 hex digits. */
export function ipv6(source: string): Buffer {
  const bytes = Buffer.alloc(36)
  bytes.write(source, 0, 'hex')
  bytes.writeUInt16BE(40_000, 32)
  bytes.writeUInt16BE(1883, 34)
  return bytes
}

export function proxyHeader(parts: HeaderParts = {}): Buffer {
  const { command = 1, version = 2, family = 0x11, tlvs = Buffer.alloc(0) } = parts
  const addresses = parts.addresses ?? ipv4('198.51.100.7')
  const rest = Buffer.concat([addresses, tlvs])
  const fixed = Buffer.from([(version << 4) | command, family, 0, 0])
  fixed.writeUInt16BE(parts.length ?? rest.length, 2)
  return Buffer.concat([SIGNATURE, fixed, rest])
}

export function tlv(type: number, value: Uint8Array | string): Buffer {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([Buffer.from([type, bytes.length >> 8, bytes.length & 0xff]), bytes])
}

/** `client`: 1 TLS, 2 a certificate on this connection, 4 in this session. */
export function tlsTlv(name: string | Uint8Array | null, verify = 0, client = 0b111): Buffer {
  const verdict = Buffer.alloc(5)
  verdict[0] = client
  verdict.writeUInt32BE(verify, 1)
  const version = tlv(0x21, 'TLSv1.3')
  return tlv(0x20, Buffer.concat([verdict, version, ...(name === null ? [] : [tlv(0x22, name)])]))
}

/** The same header with a checksum; `off`: to be added to the right one. */
export function withChecksum(parts: HeaderParts, off = 0): Buffer {
  const tlvs = Buffer.concat([parts.tlvs ?? Buffer.alloc(0), tlv(0x03, Buffer.alloc(4))])
  const header = proxyHeader({ ...parts, tlvs })
  let crc = 0xffffffff
  for (const byte of header) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  header.writeUInt32BE(((~crc >>> 0) + off) >>> 0, header.length - 4)
  return header
}
