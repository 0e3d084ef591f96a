/**
 * The kinds of value that a configuration key can have: what each takes, and how it says what it
 * wants. Any stage may build its keys from them; they know none.
 */

import { isNetwork } from '../shared/networks.ts'
import type { Secret } from '../shared/secret-file.ts'
import { nearest } from '../shared/text/nearest.ts'
import type { LeafKind, LeafResult, LeafShape, LeafSpec } from './schema.ts'
import {
  DURATION_PATTERN,
  formatDuration,
  formatSize,
  type Parsed,
  parseDuration,
  parseSize,
  SIZE_PATTERN,
} from './units.ts'

/**
 * One name for queues, sinks and gateways; part of ids and of HTTP header values (ingest contract).
 */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/

/** setTimeout takes at most 2^31-1 ms; a longer wait would end at once. */
export const MAX_TIMER_MS = 24 * 86_400_000

interface Range {
  readonly min: number
  readonly max?: number
}

function inRange(
  parsed: Parsed,
  { min, max }: Range,
  format: (value: number) => string,
): LeafResult<number> {
  if ('fix' in parsed) return parsed
  if (parsed.value < min) return { fix: `write at least ${format(min)}` }
  if (max !== undefined && parsed.value > max) return { fix: `write at most ${format(max)}` }
  return parsed
}

function rangeWords({ min, max }: Range, format: (value: number) => string): string {
  return max === undefined ? `at least ${format(min)}` : `from ${format(min)} to ${format(max)}`
}

function bounds({ min, max }: Range): LeafShape {
  return max === undefined ? { minimum: min } : { minimum: min, maximum: max }
}

/** Bytes. */
export function size(text: string, range: Range): LeafSpec<number> {
  return {
    kind: 'size',
    wanted: `a size, bytes or KiB, MiB, GiB, ${rangeWords(range, formatSize)}`,
    text,
    shape: {
      anyOf: [
        { type: 'integer', ...bounds(range) },
        { type: 'string', pattern: SIZE_PATTERN },
      ],
    },
    parse: (input) => inRange(parseSize(input), range, formatSize),
  }
}

/** ms. The default upper bound is what a timer can wait. */
export function duration(text: string, range: Range): LeafSpec<number> {
  const bounded = { max: MAX_TIMER_MS, ...range }
  return {
    kind: 'duration',
    wanted: `a duration with ms, s, m, h or d, ${rangeWords(bounded, formatDuration)}`,
    text,
    shape: { type: 'string', pattern: DURATION_PATTERN },
    parse: (input) => inRange(parseDuration(input, bounded), bounded, formatDuration),
  }
}

export function integer(text: string, range: Range): LeafSpec<number> {
  return {
    kind: 'integer',
    wanted: `a whole number, ${rangeWords(range, String)}`,
    text,
    shape: { type: 'integer', ...bounds(range) },
    parse: (input) => {
      if (typeof input === 'string' && /^\d+$/.test(input))
        return { fix: `write ${input} without quotation marks` }
      if (typeof input !== 'number' || !Number.isSafeInteger(input))
        return { fix: 'write a whole number' }
      return inRange({ value: input }, range, String)
    },
  }
}

/** Above 0, at most 1. */
export function share(text: string): LeafSpec<number> {
  return {
    kind: 'number',
    wanted: 'a number above 0, at most 1',
    text,
    shape: { type: 'number', exclusiveMinimum: 0, maximum: 1 },
    parse: (input) => {
      if (typeof input === 'string' && /^\d+(\.\d+)?%$/.test(input))
        return { fix: `write ${Number.parseFloat(input) / 100}` }
      if (typeof input !== 'number') return { fix: 'write a number, for example 0.5' }
      return input > 0 && input <= 1
        ? { value: input }
        : { fix: 'write a share such as 0.5; 1 is all of them' }
    },
  }
}

export function flag(text: string): LeafSpec<boolean> {
  return {
    kind: 'boolean',
    wanted: 'true or false',
    text,
    shape: { type: 'boolean' },
    parse: (input) => {
      if (typeof input === 'boolean') return { value: input }
      const word = String(input).toLowerCase()
      if (['yes', 'on', 'y', '1', 'true'].includes(word)) return { fix: 'write true' }
      if (['no', 'off', 'n', '0', 'false'].includes(word)) return { fix: 'write false' }
      return { fix: 'write true or false' }
    },
  }
}

/** @param instead of words that are no values, but well meant: the fix */
export function choice<const T extends string>(
  text: string,
  values: readonly T[],
  instead: ReadonlyMap<string, string> = new Map(),
): LeafSpec<T> {
  const wanted = values.length === 1 ? String(values[0]) : `one of ${values.join(', ')}`
  return {
    kind: 'choice',
    wanted,
    text,
    shape: { type: 'string', enum: values },
    parse: (input) => {
      const found = values.find((value) => value === input)
      if (found !== undefined) return { value: found }
      // `warning` for warn is no typing mistake, but as clear.
      const word = typeof input === 'string' ? input.toLowerCase() : ''
      const known = instead.get(word)
      if (known !== undefined) return { fix: known }
      const near = nearest(word, values) ?? values.find((value) => word.startsWith(value))
      return { fix: `write ${near ?? values.join(' or ')}` }
    },
  }
}

interface TextRule {
  readonly kind?: LeafKind
  readonly wanted: string
  /** What every text that is fine matches; `check` has the last word. Without flags. */
  readonly pattern?: RegExp
  /** The fix, or null if the text is fine. Only called for a non-empty text without NUL. */
  readonly check?: (input: string) => string | null
}

export function text(
  description: string,
  { kind = 'text', wanted, pattern, check }: TextRule,
): LeafSpec<string> {
  return {
    kind,
    wanted,
    text: description,
    shape: {
      type: 'string',
      minLength: 1,
      ...(pattern === undefined ? {} : { pattern: pattern.source }),
    },
    parse: (input) => {
      if (typeof input === 'number' || typeof input === 'boolean')
        return { fix: `put it in quotation marks: "${input}"` }
      if (typeof input !== 'string' || input === '') return { fix: `write ${wanted}` }
      if (input.includes('\0')) return { fix: 'remove the NUL character' }
      const fix = check?.(input) ?? null
      return fix === null ? { value: input } : { fix }
    },
  }
}

export const NAME_WORDS = 'a name of a-z, 0-9 and -, at most 63 characters, not beginning with -'

export function name(description: string): LeafSpec<string> {
  return text(description, {
    kind: 'name',
    wanted: NAME_WORDS,
    pattern: NAME_PATTERN,
    check: (input) => (NAME_PATTERN.test(input) ? null : nameFix(input)),
  })
}

/** The name that was meant by a text that is none; empty: nobody can tell. */
export function meantName(input: string): string {
  return input
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 63)
}

/** What to write instead of a name that is none. */
export function nameFix(input: string): string {
  const meant = meantName(input)
  return meant === '' ? 'write a name such as telemetry' : `write ${meant}`
}

/** A file or folder; a relative one counts from the configuration file's folder. */
export function path(description: string): LeafSpec<string> {
  return text(description, { kind: 'path', wanted: 'a path' })
}

/**
 * A literal, or `{ file: path }`. Nothing of the value is ever repeated in an error.
 * @param check says what is wrong with a literal, without repeating it
 */
export function secret(
  description: string,
  check: (value: string) => string | null,
): LeafSpec<Secret> {
  const wanted = 'a text, or { file: path }'
  return {
    kind: 'secret',
    wanted,
    text: description,
    shape: {
      anyOf: [
        { type: 'string', minLength: 1 },
        {
          type: 'object',
          properties: { file: { type: 'string', minLength: 1 } },
          required: ['file'],
          additionalProperties: false,
        },
      ],
    },
    parse: (input): LeafResult<Secret> => {
      if (typeof input === 'string') {
        if (input === '') return { fix: 'write the secret, or { file: path }' }
        const fix = check(input)
        return fix === null ? { value: { value: input } } : { fix }
      }
      if (typeof input === 'number' || typeof input === 'boolean')
        return { fix: 'put it in quotation marks, so that it is read as text' }
      if (typeof input !== 'object' || input === null) return { fix: `write ${wanted}` }
      const keys = Object.keys(input)
      const file: unknown = 'file' in input ? input.file : undefined
      if (keys.length !== 1 || typeof file !== 'string' || file === '' || file.includes('\0'))
        return { fix: 'write { file: path } with this one key' }
      return { value: { file } }
    },
  }
}

const HOST_WORDS = 'a host name or an IP address'
const HOST_CHARS = /^[0-9A-Za-z._:%-]+$/

/** An address to listen on, without a port. */
export function host(description: string): LeafSpec<string> {
  return text(description, { wanted: HOST_WORDS, pattern: HOST_CHARS, check: hostFix })
}

/** What to do about a host that is none, or null. */
function hostFix(input: string): string | null {
  if (input.includes('://')) return 'write the host alone, without scheme and path'
  if (/^\[.*\]$/.test(input)) return `write ${input.slice(1, -1)} without brackets`
  if (/^(\d{1,3}\.){3}\d{1,3}:\d+$|^[^:]+:\d+$/.test(input))
    return 'write the port under the key port'
  return HOST_CHARS.test(input) ? null : `write ${HOST_WORDS}`
}

const NETWORK_WORDS = 'an IP address, or a network such as 10.0.0.0/8'

/** Addresses of others: one, or all of a network. */
export function network(description: string): LeafSpec<string> {
  return text(description, {
    wanted: NETWORK_WORDS,
    check: (input) => (isNetwork(input) ? null : `write ${NETWORK_WORDS}`),
  })
}
