/**
 * How the session table looks in the journal: a format byte, then operations. A checkpoint is the
 * operations that build the whole table from nothing, so there is one reader for both. Pure.
 *
 * Sessions have a number that is never reused while it may stand in the journal; operations on
 * packet ids name it instead of the client id: 12 bytes for an id that opens, 4 for one that
 * closes.
 */
import type { ByteWriter } from './byte-writer.ts'

const SESSION_LOG_FORMAT = 1

const OPEN = 1
const DROP = 2
const ADD_ID = 3
const REMOVE_ID = 4
const SUBSCRIBED = 5
const IDLE = 6
const EXPIRY = 7

export interface SessionLogTarget {
  open(number: number, clientId: string): void
  drop(number: number): void
  addId(number: number, id: number, high: number, low: number): void
  removeId(number: number, id: number): void
  subscribed(number: number): void
  /** How long the session has been without a connection, ms, while the gateway ran. */
  idle(number: number, idleMs: number): void
  /** Its own Session Expiry Interval (MQTT 5), ms. */
  expiry(number: number, expiryMs: number): void
}

/** Writes operations; `begin` once per value. */
export const sessionLog = {
  begin(out: ByteWriter): void {
    out.uint8(SESSION_LOG_FORMAT)
  },
  open(out: ByteWriter, number: number, clientId: string): void {
    out.uint8(OPEN)
    out.varint(number)
    out.string(clientId)
  },
  drop(out: ByteWriter, number: number): void {
    out.uint8(DROP)
    out.varint(number)
  },
  addId(out: ByteWriter, number: number, id: number, high: number, low: number): void {
    out.uint8(ADD_ID)
    out.varint(number)
    out.uint16(id)
    out.uint32(high)
    out.uint32(low)
  },
  removeId(out: ByteWriter, number: number, id: number): void {
    out.uint8(REMOVE_ID)
    out.varint(number)
    out.uint16(id)
  },
  subscribed(out: ByteWriter, number: number): void {
    out.uint8(SUBSCRIBED)
    out.varint(number)
  },
  idle(out: ByteWriter, number: number, idleMs: number): void {
    out.uint8(IDLE)
    out.varint(number)
    out.varint(Math.round(idleMs))
  },
  /**
   * Behind all other operations of a value: version 0.4.0 does not know it, reads what stands before
   * it, and keeps such a session as long as others.
   */
  expiry(out: ByteWriter, number: number, expiryMs: number): void {
    out.uint8(EXPIRY)
    out.varint(number)
    out.varint(expiryMs)
  },
}

/**
 * Applies one value of the journal. Throws where it cannot be read; what stood before is applied
 * then.
 */
export function replaySessionLog(value: Uint8Array, target: SessionLogTarget): void {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  let at = 0
  const need = (count: number): number => {
    if (at + count > bytes.length)
      throw new Error(`the session journal ends at byte ${bytes.length}`)
    at += count
    return at - count
  }
  const varint = (): number => {
    let number = 0
    for (let scale = 1; scale < 2 ** 53; scale *= 0x80) {
      const byte = bytes[need(1)]!
      number += (byte & 0x7f) * scale
      if (byte < 0x80) return number
    }
    throw new Error('a number in the session journal is too long')
  }
  const format = bytes[need(1)]
  if (format !== SESSION_LOG_FORMAT)
    throw new Error(`unknown format ${format} of the session journal`)
  while (at < bytes.length) {
    const operation = bytes[need(1)]!
    const number = varint()
    if (operation === OPEN) {
      const length = varint()
      const from = need(length)
      target.open(number, bytes.toString('utf8', from, from + length))
    } else if (operation === DROP) target.drop(number)
    else if (operation === ADD_ID) {
      const from = need(10)
      const high = bytes.readUInt32BE(from + 2)
      target.addId(number, bytes.readUInt16BE(from), high, bytes.readUInt32BE(from + 6))
    } else if (operation === REMOVE_ID) target.removeId(number, bytes.readUInt16BE(need(2)))
    else if (operation === SUBSCRIBED) target.subscribed(number)
    else if (operation === IDLE) target.idle(number, varint())
    else if (operation === EXPIRY) target.expiry(number, varint())
    else throw new Error(`unknown operation ${operation} in the session journal`)
  }
}
