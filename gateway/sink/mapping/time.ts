/**
 * When a record happened: a time of its payload, or its arrival. Pure. A time that cannot be read
 * never loses a record: its arrival stands in, and `fellBack` says so, for the type to mark.
 *
 * Nanoseconds are text: they exceed what a number holds. With the arrival as time they are `ms x
 * 10^6 + seq mod 10^6`: unique, and the same for a repeat.
 */
import { parsePointer } from './pointer.ts'
import type { FieldValue, RecordView } from './record-view.ts'

export type TimeUnit = 's' | 'ms' | 'us' | 'ns' | 'rfc3339'

export interface TimeConfig {
  /** A JSON Pointer; null: the arrival. */
  readonly at: string | null
  readonly unit: TimeUnit
}

interface RecordTime {
  /** Since the epoch, decimal. */
  readonly nanoseconds: string
  /** A time in the payload was wanted, and could not be read. */
  readonly fellBack: boolean
}

const SEQS_A_MILLISECOND = 1_000_000

/** 10 to this many makes nanoseconds of the unit. */
const PLACES = { s: 9, ms: 6, us: 3, ns: 0 } as const

/** What the nanoseconds of most receivers fit in: 64 bits, signed. */
const MAX_NANOSECONDS = 2n ** 63n - 1n
const LARGEST = String(MAX_NANOSECONDS)
const WHOLE = /^[1-9]\d*$/

export function compileTime({ at, unit }: TimeConfig): (view: RecordView) => RecordTime {
  if (at === null) return (view) => ({ nanoseconds: arrivalOf(view), fellBack: false })
  const pointer = parsePointer(at)
  return (view) => {
    const isJson = view.record.payloadKind === 'json'
    const nanoseconds = isJson ? nanosecondsOf(view.field(pointer), unit) : null
    if (nanoseconds === null) return { nanoseconds: arrivalOf(view), fellBack: true }
    return { nanoseconds, fellBack: false }
  }
}

/** A coarser text of nanoseconds, cut towards the past. */
export function inUnit(nanoseconds: string, unit: 's' | 'ms' | 'us' | 'ns'): string {
  const cut = PLACES[unit]
  if (cut === 0) return nanoseconds
  const size = 10n ** BigInt(cut)
  const value = BigInt(nanoseconds)
  const rest = ((value % size) + size) % size
  return String((value - rest) / size)
}

/** Of {@link rfc3339Of}: records of a batch happened one behind the other, mostly in one second. */
let lastSeconds = ''
let lastSecondsText = ''

/** As RFC 3339 has it, with as many digits behind the second as there are. */
export function rfc3339Of(nanoseconds: string): string {
  const whole = nanoseconds.length - PLACES.s
  if (whole < 1 || nanoseconds.startsWith('-')) return anyRfc3339Of(nanoseconds)
  const seconds = nanoseconds.slice(0, whole)
  if (seconds !== lastSeconds) {
    lastSecondsText = new Date(Number(seconds) * 1000).toISOString().slice(0, -'.000Z'.length)
    lastSeconds = seconds
  }
  let end = nanoseconds.length
  while (end > whole && nanoseconds.endsWith('0', end)) end -= 1
  return `${lastSecondsText}${end === whole ? '' : '.'}${nanoseconds.slice(whole, end)}Z`
}

/** As {@link rfc3339Of}, also of times before 1970 and in its first second. */
function anyRfc3339Of(nanoseconds: string): string {
  const seconds = inUnit(nanoseconds, 's')
  const below = String(BigInt(nanoseconds) - BigInt(seconds) * 1_000_000_000n).padStart(9, '0')
  const digits = below.replace(/0+$/, '')
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, -'.000Z'.length)
  return digits === '' ? `${whole}Z` : `${whole}.${digits}Z`
}

/** The nanoseconds of its arrival. */
export function arrivalOf({ record: { receivedAtMs, seq } }: RecordView): string {
  const below = seq % SEQS_A_MILLISECOND
  // Text alone, for all times of this century.
  if (receivedAtMs > 0) return `${receivedAtMs}${String(below).padStart(6, '0')}`
  return String(BigInt(receivedAtMs) * 1_000_000n + BigInt(below))
}

function nanosecondsOf({ type, text }: FieldValue, unit: TimeUnit): string | null {
  if (type !== 'number' && type !== 'text') return null
  if (unit !== 'rfc3339' && WHOLE.test(text)) {
    // As nearly all have it: zeros behind it do.
    const padded = text + '0'.repeat(PLACES[unit])
    if (padded.length < LARGEST.length || (padded.length === LARGEST.length && padded <= LARGEST))
      return padded
  }
  const value = unit === 'rfc3339' ? fromRfc3339(text) : shifted(text, PLACES[unit])
  if (value === null || value > MAX_NANOSECONDS || value < -MAX_NANOSECONDS) return null
  return String(value)
}

const DECIMAL = /^(-?)(\d{1,40})(?:\.(\d{1,40}))?(?:[eE]([+-]?\d{1,2}))?$/

/** A decimal times 10 to `places`, what is behind the point cut off; null: it is none. */
function shifted(text: string, places: number): bigint | null {
  const [, sign, whole, fraction = '', exponent = '0'] = DECIMAL.exec(text) ?? []
  if (whole === undefined) return null
  const zeros = Number(exponent) + places - fraction.length
  const digits = BigInt(whole + fraction)
  const value = zeros >= 0 ? digits * 10n ** BigInt(zeros) : digits / 10n ** BigInt(-zeros)
  return sign === '-' ? -value : value
}

const RFC3339 = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,40}))?([Zz]|[+-]\d\d:\d\d)$/

function fromRfc3339(text: string): bigint | null {
  const [, day, time, fraction = '', zone = ''] = RFC3339.exec(text) ?? []
  if (day === undefined) return null
  const ms = Date.parse(`${day}T${time}${zone.toUpperCase()}`)
  if (Number.isNaN(ms)) return null
  return BigInt(ms) * 1_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'))
}
