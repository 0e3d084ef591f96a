/**
 * What fills a column: a mapping of the common language, compiled to SQL over the lines of a batch,
 * which PostgreSQL takes apart itself. So the gateway parses no payload, and numbers keep every
 * digit. Values of the configuration go as parameters, never as text of a statement. Pure.
 *
 * Differs from other types in one thing: what a record does not have is NULL, and the table says
 * whether that may be.
 */
import { parsePointer } from '../../mapping/pointer.ts'
import { parseMapped } from '../../mapping/template.ts'
import type { TimeUnit } from '../../mapping/time.ts'

export type ColumnSource =
  | { readonly kind: 'pointer'; readonly tokens: readonly string[]; readonly text: string }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'level'; readonly level: number }
  | { readonly kind: 'text'; readonly parts: readonly (string | ColumnSource)[] }

export interface TimeSource {
  /** A JSON Pointer; null: the arrival. */
  readonly at: string | null
  readonly unit: TimeUnit
}

/** Names that columns have besides those of all mappings. */
const OWN_NAMES = ['time', 'timeIsArrival']

/** What to do about a mapping that is none; null: nothing. */
export function sourceFix(source: string): string | null {
  if (OWN_NAMES.includes(nameAlone(source) ?? '')) return null
  const parsed = parseMapped(source)
  return 'fix' in parsed ? parsed.fix : null
}

/** Of a text that {@link sourceFix} lets pass. */
export function parseSource(source: string): ColumnSource {
  if (source.startsWith('/')) return pointerOf(source)
  const alone = nameAlone(source)
  if (alone !== null) return placeholderOf(alone)
  const parts: Array<string | ColumnSource> = []
  let rest = source
  for (;;) {
    const open = rest.indexOf('${')
    if (open < 0) break
    if (rest[open - 1] === '$') {
      parts.push(`${rest.slice(0, open - 1)}\${`)
      rest = rest.slice(open + 2)
      continue
    }
    const close = rest.indexOf('}', open)
    parts.push(rest.slice(0, open), placeholderOf(rest.slice(open + 2, close)))
    rest = rest.slice(close + 1)
  }
  parts.push(rest)
  return { kind: 'text', parts: parts.filter((part) => part !== '') }
}

function nameAlone(source: string): string | null {
  return /^\$\{([^}]*)\}$/.exec(source)?.[1] ?? null
}

function placeholderOf(name: string): ColumnSource {
  if (name.startsWith('/')) return pointerOf(name)
  const level = /^topic\.(-?\d+)$/.exec(name)?.[1]
  return level === undefined ? { kind: 'name', name } : { kind: 'level', level: Number(level) }
}

function pointerOf(text: string): ColumnSource {
  return { kind: 'pointer', tokens: parsePointer(text).tokens, text }
}

/** Values of one statement. */
export class Parameters {
  readonly values: unknown[] = []

  /** What stands for the value in the statement. */
  add(value: unknown, type: string): string {
    this.values.push(value)
    return `$${this.values.length}::${type}`
  }
}

/** What a source can read, in the statement where it stands. */
interface RowScope {
  readonly parameters: Parameters
  readonly gateway: string
  readonly stream: string
  readonly time: TimeSource
}

/** The lines of a batch, taken apart as `r`; `l.line` is the line, `l.n` its place. */
export const ROWS = `json_to_record(l.line::json) as r(id text, seq bigint, device text, \
topic text, qos smallint, "receivedAt" text, payload json, "payloadBase64" text)`

/** As the column's type. */
export function columnSql(source: ColumnSource, type: string, scope: RowScope): string {
  if (type === 'json' || type === 'jsonb') {
    const json = jsonSql(source, scope)
    if (json !== null) return `(${json})::${type}`
  }
  if (type === 'bytea' && source.kind === 'name' && source.name === 'payloadBase64')
    return `coalesce(decode(r."payloadBase64", 'base64'), convert_to(${RAW_PAYLOAD}, 'UTF8'))`
  return `(${textSql(source, scope)})::${type}`
}

/** Of what is JSON; null: it is a text, for a column that holds JSON as well. */
function jsonSql(source: ColumnSource, { parameters }: RowScope): string | null {
  if (source.kind === 'pointer')
    return `r.payload #> ${parameters.add([...source.tokens], 'text[]')}`
  if (source.kind !== 'name') return null
  if (source.name === 'payload') return 'r.payload'
  return source.name === 'record' ? 'l.line' : null
}

/** The payload's text as it came: it is the last member of its line. */
const RAW_PAYLOAD = `left(substr(l.line, strpos(l.line, ',"payload":') + 11), -1)`
const ARRIVAL = 'r."receivedAt"::timestamptz'
const LEVELS = `string_to_array(r.topic, '/')`

const NAMES: Readonly<Record<string, string>> = {
  device: 'r.device',
  topic: 'r.topic',
  seq: 'r.seq::text',
  id: 'r.id',
  qos: 'r.qos::text',
  receivedAt: 'r."receivedAt"',
  receivedAtMs: `round(extract(epoch from ${ARRIVAL}) * 1000)::bigint::text`,
  payload: `r.payload #>> '{}'`,
  payloadBase64: `coalesce(r."payloadBase64", \
translate(encode(convert_to(${RAW_PAYLOAD}, 'UTF8'), 'base64'), E'\\n', ''))`,
  record: 'l.line',
}

function textSql(source: ColumnSource, scope: RowScope): string {
  const { parameters, gateway, stream } = scope
  switch (source.kind) {
    case 'pointer':
      return `r.payload #>> ${parameters.add([...source.tokens], 'text[]')}`
    case 'level':
      return source.level >= 0
        ? `(${LEVELS})[${source.level + 1}]`
        : `(${LEVELS})[cardinality(${LEVELS}) + 1 - ${-source.level}]`
    case 'text': {
      const parts = source.parts.map((part) =>
        typeof part === 'string' ? parameters.add(part, 'text') : `(${textSql(part, scope)})`,
      )
      return parts.length === 0 ? `''` : parts.join(' || ')
    }
    default:
      if (source.name === 'gateway') return parameters.add(gateway, 'text')
      if (source.name === 'stream') return parameters.add(stream, 'text')
      if (source.name === 'time') return timeSql(scope)
      if (source.name === 'timeIsArrival') return `(not (${isTimeSql(scope)}))::text`
      return NAMES[source.name] ?? 'null::text'
  }
}

const NUMBER = String.raw`^-?\d{1,19}(\.\d{1,40})?([eE][+-]?\d{1,2})?$`
const RFC3339 = String.raw`^(?!0000)\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,40})?([Zz]|[+-](0\d|1[0-4]):[0-5]\d)$`
/** Seconds that nanoseconds in 64 bits hold. */
const MAX_SECONDS = '9223372036'
const UNITS = { s: '1', ms: '1e3', us: '1e6', ns: '1e9' } as const

/** A time that cannot be read loses no record: its arrival stands in. */
function timeSql(scope: RowScope): string {
  const { at, unit } = scope.time
  if (at === null) return ARRIVAL
  const there = thereSql(at, scope)
  const read =
    unit === 'rfc3339'
      ? `(${there})::timestamptz`
      : `to_timestamp(((${there})::numeric / ${UNITS[unit]})::double precision)`
  return `case when ${isTimeSql(scope)} then ${read} else ${ARRIVAL} end`
}

/** Never NULL. The outer cases keep what is no number or day from being read as one. */
function isTimeSql(scope: RowScope): string {
  const { at, unit } = scope.time
  if (at === null) return 'false'
  const there = thereSql(at, scope)
  if (unit !== 'rfc3339')
    return `case when (${there}) ~ '${NUMBER}' \
then abs((${there})::numeric) / ${UNITS[unit]} < ${MAX_SECONDS} else false end`
  const month = `(substr(${there}, 1, 7) || '-01')::date`
  return `case when (${there}) ~ '${RFC3339}' then substr(${there}, 9, 2)::int <= \
extract(day from ${month} + interval '1 month' - interval '1 day') else false end`
}

function thereSql(at: string, { parameters }: RowScope): string {
  return `r.payload #>> ${parameters.add([...parsePointer(at).tokens], 'text[]')}`
}
