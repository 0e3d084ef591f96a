/**
 * What is wrong with a configuration, said so that it can be fixed: where, which key, what it got,
 * what it wants, and the fix. Never repeats a secret.
 */
import type { Path } from './walk.ts'

type ConfigErrorCode =
  | 'CONFIG_UNREADABLE'
  | 'CONFIG_SYNTAX'
  | 'CONFIG_UNKNOWN_KEY'
  | 'CONFIG_BAD_VALUE'
  | 'CONFIG_MISSING_KEY'
  | 'CONFIG_CONFLICT'
  | 'CONFIG_ENVIRONMENT'

/** Where a value was written. `default`: nowhere. `line` null: the file as a whole. */
export type Origin =
  | { readonly kind: 'file'; readonly file: string; readonly line: number | null }
  | { readonly kind: 'environment'; readonly name: string }
  | { readonly kind: 'default' }

export interface Problem {
  readonly code: ConfigErrorCode
  readonly origin: Origin
  /** Dotted, with list items in brackets; empty if it is not about a key. */
  readonly key: string
  readonly got: string
  readonly wanted: string
  readonly fix: string
}

/** Where cross checks put what they find. A problem stops the start; a warning is only shown. */
export interface Report {
  complain(path: Path, complaint: Pick<Problem, 'got' | 'wanted' | 'fix'>): void
  warn(path: Path, text: string): void
}

/**
 * A configuration that was refused. Not retryable: a person has to fix it. Its message has a line per
 * problem.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  /** Of the first problem. */
  readonly code: ConfigErrorCode
  readonly retryable = false
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super(problems.map(describeProblem).join('\n'))
    this.code = problems[0]?.code ?? 'CONFIG_BAD_VALUE'
    this.problems = problems
  }
}

/**
 * `sluice.yaml:12: streams.telemetry.maxBytes: got "1GB", wants a size …. Fix: write 1GiB. [CONFIG_BAD_VALUE]`
 */
export function describeProblem({ code, origin, key, got, wanted, fix }: Problem): string {
  const place = describeOrigin(origin)
  return `${place === '' ? '' : `${place}: `}${key === '' ? '' : `${key}: `}got ${got}, wants ${wanted}. Fix: ${fix}. [${code}]`
}

function describeOrigin(origin: Origin): string {
  if (origin.kind === 'file')
    return origin.line === null ? origin.file : `${origin.file}:${origin.line}`
  return origin.kind === 'environment' ? `environment ${origin.name}` : ''
}

const MAX_SHOWN = 80

/** A value as an error repeats it: short, on one line, with its type where that is the point. */
export function showValue(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value))
    return value.length === 0 ? 'an empty list' : `a list of ${value.length}`
  if (typeof value === 'object') return Object.keys(value).length === 0 ? 'an empty map' : 'a map'
  if (typeof value !== 'string')
    return typeof value === 'bigint' ? value.toString() : JSON.stringify(value)
  const shown = JSON.stringify(value)
  return shown.length > MAX_SHOWN ? `${shown.slice(0, MAX_SHOWN)}…"` : shown
}

/** The same without the value itself. */
export function showKind(value: unknown): string {
  if (typeof value === 'string') return value === '' ? 'an empty text' : 'a text (hidden)'
  if (typeof value === 'number' || typeof value === 'boolean') return `a ${typeof value} (hidden)`
  return showValue(value)
}
