/**
 * A reference of Elasticsearch's bulk API, since no server is to be had from a package: `node
 * elasticsearch-child.js PORT FOLDER`. Of its documentation are: `_bulk` with the action `create`
 * and an item for each; indices that are made and deleted; one shard of two whose queue is full, as
 * `PUT /_reference/full {"full": true}` makes it; a user's password; the refusal of a document that
 * the mapping `payload.n: long` cannot take. Everything else is 404.
 */
import { join } from 'node:path'
import { type Asked, Journal, type Said, serve } from './reference.ts'

const USER = 'plant'
const SHARDS = 2

interface Entry {
  readonly index: string
  /** Absent: of the index itself, made or deleted. */
  readonly id?: string
  readonly document?: unknown
  readonly deleted?: boolean
}

interface Failure {
  readonly type: string
  readonly reason: string
}

class Elasticsearch {
  readonly #journal: Journal<Entry>
  /** Documents by id, in the order in which they came. */
  readonly #indices = new Map<string, Map<string, unknown>>()
  #password = 'right'
  #isShardFull = false

  constructor(folder: string) {
    this.#journal = new Journal(join(folder, 'documents.ndjson'))
    for (const entry of this.#journal.read()) this.#apply(entry)
  }

  answer(asked: Asked): Said {
    const { method, url, body } = asked
    const route = `${method} ${url.pathname}`
    // The reference's own, for tests.
    if (route === 'PUT /_reference/full') {
      this.#isShardFull = (JSON.parse(body) as { readonly full: boolean }).full
      return { status: 200, body: {} }
    }
    if (route === 'PUT /_reference/password') {
      this.#password = (JSON.parse(body) as { readonly password: string }).password
      return { status: 200, body: {} }
    }
    const [, index = '', what = ''] = url.pathname.split('/')
    if (method === 'GET' && what === '_documents') return this.#documents(index)
    if (!this.#isUser(asked)) return failed(401, 'security_exception', 'missing authentication')
    if (method === 'POST' && route.endsWith('/_bulk')) return this.#bulk(body)
    if (method === 'PUT' && what === '') return this.#change({ index })
    if (method === 'DELETE' && what === '') return this.#change({ index, deleted: true })
    return failed(404, 'resource_not_found_exception', `nothing is at ${route}`)
  }

  #isUser({ headers }: Asked): boolean {
    const login = Buffer.from(`${USER}:${this.#password}`).toString('base64')
    return headers.authorization === `Basic ${login}`
  }

  #documents(index: string): Said {
    return { status: 200, body: [...(this.#indices.get(index)?.values() ?? [])] }
  }

  #change(entry: Entry): Said {
    this.#journal.append([entry])
    this.#apply(entry)
    return { status: 200, body: { acknowledged: true } }
  }

  #bulk(body: string): Said {
    const lines = body.split('\n')
    if (lines.pop() !== '')
      return failed(400, 'illegal_argument_exception', 'a bulk request must end with a newline')
    const entries: Entry[] = []
    const items: unknown[] = []
    for (let at = 0; at < lines.length; at += 2) {
      const entry = entryOf(lines[at], lines[at + 1])
      if (entry === null)
        return failed(400, 'illegal_argument_exception', `malformed action at line ${at + 1}`)
      const { status, error } = this.#judge(entry)
      // Within a request too: the second of an id finds the first.
      if (status === 201) {
        entries.push(entry)
        this.#apply(entry)
      }
      items.push({ create: error === undefined ? { status } : { status, error } })
    }
    this.#journal.append(entries)
    return { status: 200, body: { errors: entries.length < items.length, items } }
  }

  #judge({ index, id = '', document }: Entry): { status: number; error?: Failure } {
    const documents = this.#indices.get(index)
    if (documents === undefined)
      return error(404, 'index_not_found_exception', `no such index [${index}]`)
    if (this.#isShardFull && shardOf(id) === 0)
      return error(429, 'es_rejected_execution_exception', 'rejected execution: queue is full')
    if (documents.has(id))
      return error(
        409,
        'version_conflict_engine_exception',
        `[${id}]: version conflict, document already exists`,
      )
    const { payload } = document as { readonly payload?: { readonly n?: unknown } }
    if (!Number.isSafeInteger(Number(payload?.n)))
      return error(
        400,
        'document_parsing_exception',
        `failed to parse field [payload.n] of type [long] in document with id '${id}'`,
      )
    return { status: 201 }
  }

  #apply({ index, id, document, deleted = false }: Entry): void {
    if (deleted) this.#indices.delete(index)
    else if (id === undefined) this.#indices.set(index, new Map())
    else this.#indices.get(index)?.set(id, document)
  }
}

function entryOf(action = '', document = ''): Entry | null {
  const { create } = JSON.parse(action) as {
    readonly create?: { readonly _index?: string; readonly _id?: string }
  }
  if (create?._index === undefined || create._id === undefined || document === '') return null
  return { index: create._index, id: create._id, document: JSON.parse(document) as unknown }
}

function shardOf(id: string): number {
  let sum = 0
  for (const char of id) sum += char.charCodeAt(0)
  return sum % SHARDS
}

function error(status: number, type: string, reason: string) {
  return { status, error: { type, reason } }
}

function failed(status: number, type: string, reason: string): Said {
  return { status, body: { error: { type, reason }, status } }
}

const [port = '0', folder = '.'] = process.argv.slice(2)
const elasticsearch = new Elasticsearch(folder)
serve(Number(port), (asked) => elasticsearch.answer(asked))
