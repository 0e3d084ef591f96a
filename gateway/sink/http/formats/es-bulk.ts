/**
 * Bulk requests of Elasticsearch and OpenSearch: an action and a document for each record. The
 * action is `create` with the record's own id, so that a repeat is answered 409: it is there
 * already. What they answer: ../answers/receivers/es-bulk.ts.
 */
import { leaf, map, nullable } from '../../../config/schema.ts'
import type { SinkPromise } from '../../../ports/sink.ts'
import { mappedKey, templateKey, timeKey } from '../../mapping/keys.ts'
import { type RecordView, Unmappable } from '../../mapping/record-view.ts'
import { compileMapped, compileTemplate, type Mapped } from '../../mapping/template.ts'
import { compileTime, rfc3339Of, type TimeConfig } from '../../mapping/time.ts'
import { type Compression, encodedFormat, type FormatType } from './format.ts'
import { type Content, contentKey } from './keys.ts'

interface EsBulkConfig {
  readonly kind: 'es-bulk'
  /** A template; null: the url names it. */
  readonly index: string | null
  readonly content: Content
  readonly add: Readonly<Record<string, string>>
  readonly time: TimeConfig
}

/** The answer has an item for each, and all of it has to be read. */
const MAX_RECORDS = 1000
const TIMESTAMP = '@timestamp'
/** Of Elasticsearch and OpenSearch, bytes: a longer one is refused there. */
const MAX_ID_BYTES = 512
const MAX_INDEX_BYTES = 255

/** Shards fsync before they answer, unless `index.translog.durability` says otherwise. */
const PROMISE = {
  delivery: 'idempotent by value',
  by: 'with _id; a data stream or an alias only until it rolls over',
  ack: 'durable',
} as const satisfies SinkPromise

export const esBulk = {
  keys: {
    index: nullable(
      templateKey('Index or data stream, such as plant-${topic.0}. null: the url names it.'),
    ).prefault('${stream}'),
    content: contentKey,
    add: map(
      'Members that are added to the document.',
      'member',
      leaf(mappedKey('Value of the member.')),
    ).prefault({}),
    time: timeKey,
  },
  promise: () => PROMISE,
  check: (path, { index }, { url }, report) => {
    const { pathname } = new URL(url)
    if (!pathname.endsWith('/_bulk'))
      report.warn([...path, 'kind'], `the path of the url is ${pathname}, which is no /_bulk`)
    if (index === null && !/\/[^/]+\/_bulk$/.test(pathname))
      report.complain([...path, 'index'], {
        got: `none, and none in ${pathname}`,
        wanted: 'an index here or in the url',
        fix: 'write index: plant, or /plant/_bulk in url',
      })
  },
  create: ({ kind, ...config }: EsBulkConfig, compression: Compression) =>
    encodedFormat(
      {
        kind,
        version: 1,
        config,
        contentType: 'application/x-ndjson',
        compression,
        maxBatchRecords: MAX_RECORDS,
        // Of an item that was stored, its status alone: an answer is cut at 1 MiB.
        query: () => ({
          filter_path: 'errors,items.*.status,items.*.error.type,items.*.error.reason',
        }),
      },
      () => ({ prefix: '', separator: '', suffix: '', each: compileDocument(config) }),
    ),
} satisfies FormatType<EsBulkConfig>

/** Both lines, each with its line break. */
export function compileDocument(config: Omit<EsBulkConfig, 'kind'>): (view: RecordView) => string {
  const actionOf = compileAction(config.index)
  const timestampOf = compileTimestamp(config.time)
  const added = Object.entries(config.add).map(
    ([name, source]): Added => [name, `${JSON.stringify(name)}:`, compileMapped(source)],
  )
  const ofPayload = config.content === 'payload'
  return (view) => {
    const own = ofPayload ? membersOf(view) : RECORD_MEMBERS
    const members: string[] = []
    if (!Object.hasOwn(own, TIMESTAMP)) members.push(`"${TIMESTAMP}":"${timestampOf(view)}"`)
    for (const [name, key, of] of added) {
      if (Object.hasOwn(own, name))
        throw new Unmappable(`it has a member ${name} of its own: add it by another name`)
      const value = jsonOf(of, view)
      if (value !== null) members.push(`${key}${value}`)
    }
    const rest = membersText(ofPayload ? view.json : view.line)
    if (rest !== '') members.push(rest)
    return `${actionOf(view)}\n{${members.join(',')}}\n`
  }
}

type Added = readonly [name: string, key: string, of: Mapped]

/** What `add` cannot add to a record. */
const RECORD_MEMBERS: Readonly<Record<string, true>> = {
  id: true,
  seq: true,
  device: true,
  topic: true,
  qos: true,
  receivedAt: true,
  payload: true,
  payloadBase64: true,
}

function compileAction(index: string | null): (view: RecordView) => string {
  const template = index === null ? null : compileTemplate(index)
  let known = ''
  /** Of the index, which is mostly that of the record before. */
  let into = ''
  return (view) => {
    const { id } = view.record
    if (id.length > MAX_ID_BYTES)
      throw new Unmappable(`its id is longer than ${MAX_ID_BYTES} bytes`)
    const name = template === null ? '' : template.render(view)
    if (template !== null && (name !== known || into === '')) {
      into = `"_index":"${indexName(name)}",`
      known = name
    }
    return `{"create":{${into}"_id":${JSON.stringify(id)}}}`
  }
}

/** By the rules of both, which hold the sink for a wrong one. */
function indexName(name: string): string {
  const isOne = !/^[-_+]|^\.{1,2}$|^$|[\p{Lu}\p{C}\\/*?"<>| ,#:]/u.test(name)
  if (isOne && Buffer.byteLength(name) <= MAX_INDEX_BYTES) return name
  throw new Unmappable(`${JSON.stringify(name)} cannot be the name of an index`)
}

/** null: there is nothing. */
function jsonOf(of: Mapped, view: RecordView): string | null {
  const { type, text: value } = of(view)
  if (type === 'missing') return null
  return type === 'text' ? JSON.stringify(value) : value
}

function membersOf(view: RecordView): object {
  const { payload } = view
  if (typeof payload === 'object' && payload !== null && !Array.isArray(payload)) return payload
  throw new Unmappable('the payload is not a JSON object')
}

/** What stands between the braces of an object. */
function membersText(json: string): string {
  return json.trim().slice(1, -1).trim()
}

function compileTimestamp(time: TimeConfig): (view: RecordView) => string {
  const timeOf = compileTime(time)
  return (view) => {
    if (time.at !== null) {
      const { nanoseconds, fellBack } = timeOf(view)
      if (!fellBack) return rfc3339Of(nanoseconds)
    }
    return view.receivedAt
  }
}
