/**
 * Sizes and durations as people write them, and back. Pure.
 *
 * A size is a whole number of bytes, or a number with KiB, MiB or GiB (powers of 1024). KB and MB
 * are refused: half of the world reads them as 1000, the other half as 1024. A duration always
 * carries its unit: a bare number would be milliseconds to some and seconds to others.
 */

interface DurationRange {
  readonly min: number
  readonly max?: number
}

export type Parsed = { readonly value: number } | { readonly fix: string }

const SIZE_UNITS: Readonly<Record<string, number>> = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }
const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** What people write instead, and what they are told to write. */
const SIZE_MISTAKES: Readonly<Record<string, string>> = {
  k: 'KiB',
  kb: 'KiB',
  kib: 'KiB',
  m: 'MiB',
  mb: 'MiB',
  mib: 'MiB',
  g: 'GiB',
  gb: 'GiB',
  gib: 'GiB',
}
const DURATION_MISTAKES: Readonly<Record<string, string>> = {
  msec: 'ms',
  millisecond: 'ms',
  milliseconds: 'ms',
  sec: 's',
  secs: 's',
  second: 's',
  seconds: 's',
  min: 'm',
  mins: 'm',
  minute: 'm',
  minutes: 'm',
  hr: 'h',
  hrs: 'h',
  hour: 'h',
  hours: 'h',
  day: 'd',
  days: 'd',
}

/** What a number without a unit may have meant, likeliest first. */
const MEANT_UNITS = ['s', 'ms', 'm', 'h', 'd'] as const

/**
 * What {@link parseSize} and {@link parseDuration} take as a text, for an editor: without the
 * numbers that are no whole bytes or milliseconds.
 */
export const SIZE_PATTERN = '^\\s*\\d+(\\.\\d+)? ?(B|KiB|MiB|GiB)?\\s*$'
export const DURATION_PATTERN = '^\\s*\\d+(\\.\\d+)? ?(ms|s|m|h|d)\\s*$'

const NUMBER_AND_UNIT = /^(\d+(?:\.\d+)?) ?([a-zA-Z]*)$/

/** Bytes of `256KiB`, `1.5GiB`, `4096`, or what to write instead. */
export function parseSize(input: unknown): Parsed {
  const fix = 'write bytes or a number with KiB, MiB or GiB, for example 64MiB'
  if (typeof input === 'number')
    return input < 0 ? { fix } : wholeNumber(input, 'write a whole number of bytes')
  const match = typeof input === 'string' ? NUMBER_AND_UNIT.exec(input.trim()) : null
  if (match === null) return { fix }
  const [, digits = '', unit = ''] = match
  if (unit === '' || unit === 'B') return wholeNumber(Number(digits), fix)
  const factor = SIZE_UNITS[unit]
  if (factor !== undefined)
    return wholeNumber(Number(digits) * factor, 'write a whole number of bytes')
  const meant = SIZE_MISTAKES[unit.toLowerCase()]
  return { fix: meant === undefined ? fix : `write ${digits}${meant}` }
}

/**
 * Milliseconds of `50ms`, `1.5h`, `7d`, or what to write instead. The range, ms, is not checked: it
 * decides which units a bare number is told to take.
 */
export function parseDuration(input: unknown, range: DurationRange = { min: 0 }): Parsed {
  const fix = 'write a number with ms, s, m, h or d, for example 30s'
  if (typeof input === 'number') return { fix: unitFix(String(input), range) }
  const match = typeof input === 'string' ? NUMBER_AND_UNIT.exec(input.trim()) : null
  if (match === null) return { fix }
  const [, digits = '', unit = ''] = match
  if (unit === '') return { fix: unitFix(digits, range) }
  const factor = DURATION_UNITS[unit]
  if (factor !== undefined) return wholeNumber(Number(digits) * factor, 'write whole milliseconds')
  const meant = DURATION_MISTAKES[unit.toLowerCase()]
  return { fix: meant === undefined ? fix : `write ${digits}${meant}` }
}

function unitFix(digits: string, { min, max = Number.MAX_SAFE_INTEGER }: DurationRange): string {
  const examples = MEANT_UNITS.filter((unit) => {
    const ms = Number(digits) * (DURATION_UNITS[unit] ?? 1)
    return ms >= min && ms <= max
  }).map((unit) => `${digits}${unit}`)
  return examples.length === 0
    ? 'add the unit: ms, s, m, h or d'
    : `add the unit, for example ${examples.slice(0, 2).join(' or ')}`
}

function wholeNumber(value: number, fix: string): Parsed {
  // 1.1 * 1024^3 and the like are off by a rounding error, never by more.
  const rounded = Math.round(value)
  if (!Number.isSafeInteger(rounded) || Math.abs(rounded - value) > 1e-6) return { fix }
  return { value: rounded }
}

/** The shortest exact form: `64MiB`, `1000`. */
export function formatSize(bytes: number): string {
  for (const unit of ['GiB', 'MiB', 'KiB']) {
    const factor = SIZE_UNITS[unit] ?? 1
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`
  }
  return String(bytes)
}

/** The shortest exact form: `30s`, `7d`, `1500ms`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  for (const unit of ['d', 'h', 'm', 's']) {
    const factor = DURATION_UNITS[unit] ?? 1
    if (ms % factor === 0) return `${ms / factor}${unit}`
  }
  return `${ms}ms`
}
