/**
 * Reads the fields of a control packet's body, never past its end. Strings are checked as the
 * protocol demands: well-formed UTF-8 without surrogates [MQTT-1.5.3-1], no U+0000 [MQTT-1.5.3-2];
 * a byte order mark is kept [MQTT-1.5.3-3]. Faults are values: `fault` is set once and every later
 * read answers empty.
 */
import { isUtf8 } from 'node:buffer'
import { isFault, type OnProperty, type PropertyPlace, readProperties } from './v5/properties.ts'
import { malformed, type PacketFault } from './v5/reason-codes.ts'

export class PacketReader {
  readonly #bytes: Buffer
  #at: number
  readonly #end: number
  /** What is wrong with the packet, in words; null as long as nothing is. */
  fault: string | null = null

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes
    this.#at = at
    this.#end = end
  }

  get rest(): number {
    return this.#end - this.#at
  }

  uint8(what: string): number {
    if (!this.#has(1, what)) return 0
    const value = this.#bytes[this.#at]!
    this.#at += 1
    return value
  }

  uint16(what: string): number {
    if (!this.#has(2, what)) return 0
    const value = (this.#bytes[this.#at]! << 8) | this.#bytes[this.#at + 1]!
    this.#at += 2
    return value
  }

  /** A block of properties (MQTT 5, section 2.2.2). null: it is as it may be. */
  properties(place: PropertyPlace, onProperty: OnProperty): PacketFault | null {
    if (this.fault !== null) return malformed(this.fault)
    const block = readProperties(this.#bytes, this.#at, this.#end, place, onProperty)
    if (isFault(block)) return block
    this.#at = block.end
    return null
  }

  /** A view of the packet's bytes, between places that {@link properties} told of. */
  slice(start: number, end: number): Buffer {
    return this.#bytes.subarray(start, end)
  }

  /** A copy: it pins no read buffer. */
  bytes(what: string): Buffer {
    const length = this.uint16(what)
    if (!this.#has(length, what)) return EMPTY
    const copy = Buffer.from(this.#bytes.subarray(this.#at, this.#at + length))
    this.#at += length
    return copy
  }

  string(what: string): string {
    const length = this.uint16(what)
    if (!this.#has(length, what)) return ''
    const text = readString(this.#bytes, this.#at, this.#at + length)
    this.#at += length
    if (text === null) {
      this.fault = `${what} is not a valid UTF-8 string`
      return ''
    }
    return text
  }

  #has(length: number, what: string): boolean {
    if (this.fault !== null) return false
    if (this.rest >= length) return true
    this.fault = `the packet ends in ${what}`
    return false
  }
}

const EMPTY = Buffer.alloc(0)

/** null: not a string that MQTT allows. */
export function readString(bytes: Buffer, start: number, end: number): string | null {
  const view = bytes.subarray(start, end)
  if (!isUtf8(view) || view.includes(0)) return null
  return view.toString('utf8')
}
