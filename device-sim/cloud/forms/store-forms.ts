/** Forms that databases take: each answered as its database answers. */
import { BrokenForm, type Form, lineOf, parsed, seqOf, textOf } from './form.ts'
import { membersOf } from './json-text.ts'

const CREATED = 201
const CONFLICT = 409
const TOO_MANY_REQUESTS = 429
const BAD_REQUEST = 400

/** Bulk requests of Elasticsearch: an action `create` and a document that is the record. */
export const esBulk: Form = {
  contentType: 'application/x-ndjson',
  lines: (body, { pathname }) => {
    if (!pathname.endsWith('/_bulk')) throw new BrokenForm(`${pathname} is no /_bulk`)
    const texts = textLines(body)
    if (texts.length % 2 !== 0) throw new BrokenForm('an action has no document')
    const lines: string[] = []
    for (let at = 0; at < texts.length; at += 2)
      lines.push(lineOfDocument(texts[at] ?? '', texts[at + 1] ?? ''))
    return Buffer.from(lines.join(''))
  },
  answer: ({ stop, repeats }, seqs) => {
    const statusOf = (seq: number, index: number): number => {
      if (index < repeats) return CONFLICT
      if (stop === null || seq < stop.seq) return CREATED
      return seq === stop.seq && stop.refused ? BAD_REQUEST : TOO_MANY_REQUESTS
    }
    const items = seqs.map((seq, index) => {
      const status = statusOf(seq, index)
      const error = ERRORS[status]
      return { create: error === undefined ? { status } : { status, error } }
    })
    return { status: 200, body: { errors: items.some(({ create }) => 'error' in create), items } }
  },
}

const ERRORS: Readonly<Record<number, object>> = {
  [CONFLICT]: { type: 'version_conflict_engine_exception', reason: 'document already exists' },
  [TOO_MANY_REQUESTS]: { type: 'es_rejected_execution_exception', reason: 'later' },
  [BAD_REQUEST]: { type: 'document_parsing_exception', reason: 'refused on request' },
}

function lineOfDocument(action: string, document: string): string {
  const { create } = parsed(action, 'an action') as { readonly create?: Record<string, unknown> }
  if (typeof create?.['_index'] !== 'string') throw new BrokenForm('an action has no _index')
  const { id } = parsed(document, 'a document') as { readonly id?: unknown }
  if (create['_id'] !== id) throw new BrokenForm('_id is not the id of the record')
  const members = membersOf(document)
  if (textOf(members?.get('@timestamp')) === null) throw new BrokenForm('no @timestamp')
  return lineOfRecord(members ?? new Map())
}

/** Rows for ClickHouse, each a record. */
export const jsonEachRow: Form = {
  contentType: 'application/x-ndjson',
  lines: (body, { searchParams }) => {
    const query = searchParams.get('query') ?? ''
    if (!/^INSERT INTO [\w.]+ FORMAT JSONEachRow$/.test(query))
      throw new BrokenForm(`the query is ${query}`)
    return Buffer.from(
      textLines(body)
        .map((text) => {
          parsed(text, 'a row')
          return lineOfRecord(membersOf(text) ?? new Map())
        })
        .join(''),
    )
  },
  answer: ({ stop }) => (stop === null ? { status: 200 } : { status: stop.refused ? 400 : 503 }),
}

function lineOfRecord(members: ReadonlyMap<string, string>): string {
  const payload = members.get('payload') ?? null
  const base64 = textOf(members.get('payloadBase64'))
  if ((payload === null) === (base64 === null)) throw new BrokenForm('a record has no payload')
  return lineOf({
    id: textOf(members.get('id')) ?? '',
    device: textOf(members.get('device')) ?? '',
    topic: textOf(members.get('topic')) ?? undefined,
    receivedAt: textOf(members.get('receivedAt')) ?? undefined,
    payload,
    ...(base64 === null ? {} : { base64 }),
  })
}

/** Log records of OTLP/JSON, the payload as text. */
export const otlpLogs: Form = {
  contentType: 'application/json',
  lines: (body) => {
    const { resourceLogs } = parsed(body.toString(), 'the body') as Logs
    const records = (resourceLogs ?? []).flatMap(({ scopeLogs }) =>
      scopeLogs.flatMap(({ logRecords }) => logRecords),
    )
    return Buffer.from(records.map(lineOfLog).join(''))
  },
  answer: ({ stop }) =>
    stop === null ? { status: 200, body: {} } : { status: stop.refused ? 400 : 503 },
}

interface LogRecord {
  readonly timeUnixNano: unknown
  readonly body: { readonly stringValue?: string; readonly bytesValue?: string }
  readonly attributes: ReadonlyArray<{
    readonly key: string
    readonly value: Record<string, unknown>
  }>
}

interface Logs {
  readonly resourceLogs?: ReadonlyArray<{
    readonly scopeLogs: ReadonlyArray<{ readonly logRecords: readonly LogRecord[] }>
  }>
}

function lineOfLog({ attributes, body, timeUnixNano }: LogRecord): string {
  const named = new Map(attributes.map(({ key, value }) => [key, value['stringValue']]))
  const text = (key: string): string => {
    const value = named.get(key)
    return typeof value === 'string' ? value : ''
  }
  if (typeof timeUnixNano !== 'string' || !/^\d{19}$/.test(timeUnixNano))
    throw new BrokenForm('timeUnixNano is no string of nanoseconds')
  const { stringValue, bytesValue } = body
  return lineOf({
    id: text('sluice.id'),
    device: text('sluice.device'),
    topic: text('sluice.topic'),
    payload: stringValue ?? null,
    ...(bytesValue === undefined ? {} : { base64: bytesValue }),
  })
}

/**
 * Line protocol. Fields alone do not tell a reading's bytes: the tags `id`, `device` and `payload`
 * carry the record, and each field has to be what is in the payload.
 */
export const influx: Form = {
  contentType: 'text/plain',
  lines: (body) => Buffer.from(textLines(body).map(lineOfPoint).join('')),
  answer: ({ stop }) => (stop === null ? { status: 204 } : { status: stop.refused ? 400 : 503 }),
}

function lineOfPoint(text: string): string {
  const [head = '', fields = '', time = '', ...more] = split(text, ' ')
  if (more.length > 0 || !/^-?\d{1,19}$/.test(time))
    throw new BrokenForm(`a line has no time: ${text.slice(0, 80)}`)
  const [measurement = '', ...tags] = split(head, ',')
  if (measurement === '') throw new BrokenForm('a line has no measurement')
  const named = new Map(tags.map(pair))
  const payload = /^json:(.*)$/.exec(named.get('payload') ?? '')?.[1] ?? ''
  const expected = leavesOf(parsed(payload, 'the tag payload'), '')
  for (const [name, value] of split(fields, ',').map(pair)) {
    if (expected.get(name) !== valueOf(value))
      throw new BrokenForm(`field ${name} is ${value}, not ${String(expected.get(name))}`)
    expected.delete(name)
  }
  const [missing] = expected.keys()
  if (missing !== undefined) throw new BrokenForm(`there is no field ${missing}`)
  const id = named.get('id') ?? ''
  seqOf(id)
  return lineOf({ id, device: named.get('device') ?? '', payload })
}

/** At a character that is neither escaped nor, of fields, in quotes. */
function split(text: string, at: ' ' | ','): string[] {
  const parts: string[] = []
  let part = ''
  let isQuoted = false
  let hasEquals = false
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i] ?? ''
    if (char === '\\') {
      part += char + (text[i + 1] ?? '')
      i += 1
    } else if (char === at && !isQuoted) {
      parts.push(part)
      part = ''
      hasEquals = false
    } else {
      // A quote opens a string only where a field's value begins.
      if (char === '"' && (isQuoted || (hasEquals && part.endsWith('=')))) isQuoted = !isQuoted
      if (char === '=') hasEquals = true
      part += char
    }
  }
  return [...parts, part]
}

function pair(text: string): readonly [string, string] {
  const at = /(?<!\\)=/.exec(text)?.index ?? -1
  if (at < 1) throw new BrokenForm(`${text.slice(0, 80)} is no pair`)
  const plain = (escaped: string): string => escaped.replaceAll(/\\([,= ])/g, '$1')
  const value = text.slice(at + 1)
  return [plain(text.slice(0, at)), value.startsWith('"') ? value : plain(value)]
}

function valueOf(text: string): unknown {
  if (text.startsWith('"')) return text.slice(1, -1).replaceAll(/\\(["\\])/g, '$1')
  if (/^(?:t|true)$/i.test(text)) return true
  return /^(?:f|false)$/i.test(text) ? false : Number(text)
}

function leavesOf(value: unknown, name: string): Map<string, unknown> {
  if (typeof value !== 'object') return new Map([[name === '' ? 'value' : name, value]])
  if (value === null) return new Map()
  const under = (key: string): string => (name === '' ? key : `${name}_${key}`)
  return new Map(Object.entries(value).flatMap(([key, one]) => [...leavesOf(one, under(key))]))
}

function textLines(body: Buffer): string[] {
  const texts = body.toString().split('\n')
  if (texts.pop() !== '') throw new BrokenForm('the last line does not end with LF')
  return texts
}
