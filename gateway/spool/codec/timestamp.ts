/**
 * `receivedAt` as bytes: RFC 3339 UTC with milliseconds, `2026-11-23T03:05:00.123Z`, always 24 bytes of ASCII.
 *
 * Records come many to a millisecond, so the last text stays where it was written, and within a
 * second only its last digits are written anew: no string per record.
 */

/** Length of every text made here, in bytes. */
export const TIMESTAMP_BYTES = 24

/**
 * 9999-12-31T23:59:59.999Z: RFC 3339 has no year with five digits. A clock beyond it is set wrong;
 * it is cut.
 */
const MAX_TIMESTAMP_MS = 253_402_300_799_999

const DIGIT_0 = 0x30
/** Where the milliseconds stand in the text. */
const MILLIS_AT = 20

/** Keeps a text up to date at a fixed place of somebody else's bytes. */
export class TimestampText {
  readonly #target: Buffer
  readonly #at: number
  #ms = Number.NaN
  #secondMs = Number.NaN

  constructor(target: Buffer, at: number) {
    this.#target = target
    this.#at = at
  }

  /** Makes the text that of `ms` (since the epoch, cut to years 1970 to 9999). */
  set(ms: number): void {
    if (ms === this.#ms) return
    this.#ms = ms
    const cut = ms >= 0 ? Math.min(Math.floor(ms), MAX_TIMESTAMP_MS) : 0
    const millis = cut % 1000
    if (cut - millis !== this.#secondMs) {
      this.#secondMs = cut - millis
      this.#target.write(new Date(cut).toISOString(), this.#at, 'latin1')
      return
    }
    const tens = (millis / 10) | 0
    const at = this.#at + MILLIS_AT
    this.#target[at] = DIGIT_0 + ((millis / 100) | 0)
    this.#target[at + 1] = DIGIT_0 + (tens % 10)
    this.#target[at + 2] = DIGIT_0 + (millis % 10)
  }
}

/** Where the seconds begin in the text, and the milliseconds end. */
const SECONDS_AT = 17
const MILLIS_END = 23

let knownMinute = ''
let knownMinuteMs = Number.NaN

/**
 * The text's time, ms since the epoch; NaN: it is none. Records of a batch are mostly of one minute,
 * which is parsed once.
 */
export function timestampMs(text: string): number {
  const minute = text.slice(0, SECONDS_AT)
  if (minute !== knownMinute || text.length !== TIMESTAMP_BYTES) {
    const ms = Date.parse(text)
    if (text.length !== TIMESTAMP_BYTES || Number.isNaN(ms)) return ms
    knownMinute = minute
    knownMinuteMs = Date.parse(`${minute}00.000Z`)
  }
  const seconds = Number(text.slice(SECONDS_AT, SECONDS_AT + 2))
  return knownMinuteMs + seconds * 1000 + Number(text.slice(MILLIS_AT, MILLIS_END))
}
