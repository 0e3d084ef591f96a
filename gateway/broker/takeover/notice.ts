/**
 * The bytes in which a gateway tells the others which clients connected to it. Pure.
 *
 *   version 1 | sender, 8 bytes | length of its name, 1 byte | its name, UTF-8 | entries
 *   entry: hash of the client id, 16 bytes | age, ms, 4 bytes, big-endian | flags, 1 byte
 *
 * An age is a duration: clocks of two gateways need not agree. A client id does not leave the
 * gateway, only its hash: the first 16 bytes of its SHA-256.
 */
import { createHash } from 'node:crypto'

const VERSION = 1
const SENDER_BYTES = 8
const HASH_BYTES = 16
const ENTRY_BYTES = HASH_BYTES + 4 + 1
/** Bit 0: the client wants to go on with its session (clean start 0). */
const GOES_ON = 1
const MAX_AGE_MS = 0xffff_ffff

interface NoticeEntry {
  /** {@link clientIdHash} */
  readonly hash: string
  /** Since the client connected there, ms. */
  readonly ageMs: number
  /** It asked for the session that it had. */
  readonly goesOn: boolean
}

export interface Sender {
  /** Random, of one run of a gateway, {@link SENDER_BYTES} long. */
  readonly tag: Buffer
  /** For people: the gateway's id. */
  readonly name: string
}

interface Notice {
  readonly sender: Sender
  readonly entries: readonly NoticeEntry[]
}

export function clientIdHash(clientId: string): string {
  return createHash('sha256').update(clientId).digest().toString('latin1', 0, HASH_BYTES)
}

export function encodeNotice({ tag, name }: Sender, entries: readonly NoticeEntry[]): Buffer {
  const nameBytes = Buffer.from(name).subarray(0, 255)
  const head = Buffer.from([VERSION, ...tag, nameBytes.length, ...nameBytes])
  const bytes = Buffer.alloc(head.length + entries.length * ENTRY_BYTES)
  let at = head.copy(bytes)
  for (const { hash, ageMs, goesOn } of entries) {
    at += bytes.write(hash, at, HASH_BYTES, 'latin1')
    at = bytes.writeUInt32BE(Math.min(Math.max(0, Math.round(ageMs)), MAX_AGE_MS), at)
    at = bytes.writeUInt8(goesOn ? GOES_ON : 0, at)
  }
  return bytes
}

/** null: these are not the bytes of a notice, or of a version that this gateway does not know. */
export function decodeNotice(input: Uint8Array): Notice | null {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength)
  const nameAt = 1 + SENDER_BYTES + 1
  if (bytes.length < nameAt || bytes[0] !== VERSION) return null
  const entriesAt = nameAt + bytes[nameAt - 1]!
  const entryBytes = bytes.length - entriesAt
  if (entryBytes < 0 || entryBytes % ENTRY_BYTES !== 0) return null
  const entries: NoticeEntry[] = []
  for (let at = entriesAt; at < bytes.length; at += ENTRY_BYTES)
    entries.push({
      hash: bytes.toString('latin1', at, at + HASH_BYTES),
      ageMs: bytes.readUInt32BE(at + HASH_BYTES),
      goesOn: (bytes[at + HASH_BYTES + 4]! & GOES_ON) !== 0,
    })
  const tag = bytes.subarray(1, 1 + SENDER_BYTES)
  return { sender: { tag, name: bytes.toString('utf8', nameAt, entriesAt) }, entries }
}
