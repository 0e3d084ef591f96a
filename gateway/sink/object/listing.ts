/**
 * Which records of a queue are there already, in objects of other names: what a batch finds when the
 * spool was put back to an older state and is cut another way since. Asked once a run for each
 * folder of a queue, and never a reason to keep an object from its place: a store that gives no list,
 * or not to these credentials, is not asked again.
 */
import { lastSeqIn, type NamedBatch, placeInQueue } from '../batch-files/names.ts'
import type { ObjectSinkConfig } from './config.ts'
import type { StoreOrigin, StoreRequest, WholeAnswer } from './origin.ts'

/** Some 1,000 keys, a page of S3's list. */
const MAX_PAGE_BYTES = 2 * 1024 * 1024
/** A folder of some 10,000 files; WebDAV knows no pages. */
const MAX_FOLDER_BYTES = 8 * 1024 * 1024

const PROPFIND = Buffer.from(
  '<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>',
)

/** Names without their folders. */
interface Page {
  readonly names: readonly string[]
  /** There are more behind the last. */
  readonly isCut: boolean
}

/** `none`: there is no list to be had. `unknown`: perhaps later. */
type Listed = Page | 'none' | 'unknown'

interface Known {
  /** Last record in objects of earlier runs. */
  readonly through: number
  readonly isCut: boolean
}

export class QueueListing {
  readonly #store: ObjectSinkConfig['store']
  readonly #url: URL
  readonly #origin: StoreOrigin
  readonly #known = new Map<string, Known>()
  /** Behind which name the list that could not be had begins. */
  readonly #unseenFrom = new Map<string, string>()
  /** Where the bucket is: in the path, or in the host; null: not known. */
  #bucketIn: 'path' | 'host' | null = null

  constructor({ store, url }: ObjectSinkConfig, origin: StoreOrigin) {
    this.#store = store
    this.#url = new URL(url)
    this.#origin = origin
  }

  /**
   * Last record in objects of earlier runs that hold some of this batch; null: there is none, or
   * nobody can see.
   * @param own name of the batch's own object. Never rejects.
   */
  async storedThrough(batch: NamedBatch, own: string, signal: AbortSignal): Promise<number | null> {
    const { prefix, after } = placeInQueue(batch, own)
    let known = this.#known.get(prefix)
    if (known === undefined || (known.isCut && batch.firstSeq > known.through)) {
      const from = this.#unseenFrom.get(prefix) ?? after
      const listed = await this.#list(prefix, from, signal)
      if (listed === 'unknown') {
        this.#unseenFrom.set(prefix, from)
        return null
      }
      this.#unseenFrom.delete(prefix)
      known = { through: 0, isCut: false }
      if (listed !== 'none') {
        const ownName = baseOf(own)
        const others = listed.names.filter((name) => name !== ownName)
        const through = Math.max(0, ...others.map((name) => lastSeqIn(name, batch) ?? 0))
        known = { through, isCut: listed.isCut }
      }
      this.#known.set(prefix, known)
    }
    return known.through >= batch.firstSeq ? known.through : null
  }

  async #list(prefix: string, after: string, signal: AbortSignal): Promise<Listed> {
    if (this.#store === 'dav') return await this.#listFolder(prefix, signal)
    const styles = this.#bucketIn === null ? (['path', 'host'] as const) : [this.#bucketIn]
    for (const style of styles) {
      const place = listPlace(this.#url, style, prefix, after)
      if (place === null) continue
      const listed = await this.#ask({ method: 'GET', place }, MAX_PAGE_BYTES, pageOf, signal)
      if (listed === 'unknown') return listed
      if (listed === 'none') continue
      this.#bucketIn = style
      return listed
    }
    return 'none'
  }

  async #listFolder(prefix: string, signal: AbortSignal): Promise<Listed> {
    const name = prefix.slice(0, prefix.lastIndexOf('/') + 1)
    const headers = [
      ['depth', '1'],
      ['content-type', 'application/xml'],
    ] as const
    const request = { method: 'PROPFIND', name, headers, chunks: [PROPFIND] } as const
    return await this.#ask(request, MAX_FOLDER_BYTES, folderOf, signal)
  }

  async #ask(
    request: StoreRequest,
    maxAnswerBytes: number,
    read: (answer: WholeAnswer) => Page | null,
    signal: AbortSignal,
  ): Promise<Listed> {
    const came = await this.#origin.exchange({ ...request, maxAnswerBytes }, signal)
    if (came.kind !== 'answered') return 'unknown'
    const { status } = came.answer
    if (status >= 500 || status === 408 || status === 429) return 'unknown'
    return (came.answer.tooLong ? null : read(came.answer)) ?? 'none'
  }
}

/** ListObjectsV2 of the bucket, path and query; null: there is no bucket in the path. */
function listPlace(url: URL, style: 'path' | 'host', prefix: string, after: string): string | null {
  const [first = '', ...rest] = url.pathname.split('/').filter((part) => part !== '')
  if (style === 'path' && first === '') return null
  const above = style === 'path' ? rest : [first, ...rest]
  const key = (name: string): string =>
    [...above.filter((part) => part !== '').map(decodeURIComponent), name].join('/')
  const query = Object.entries({
    'list-type': '2',
    'max-keys': '1000',
    prefix: key(prefix),
    'start-after': key(after),
  }).map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
  return `/${style === 'path' ? first : ''}?${query.join('&')}`
}

/** null: it is no list of a bucket. */
function pageOf({ status, body }: WholeAnswer): Page | null {
  const text = Buffer.from(body).toString()
  if (status !== 200 || !/<ListBucketResult[\s>]/.test(text)) return null
  const isCut = /<IsTruncated>\s*true\s*</.test(text)
  return { names: namesIn(text, /<Key>([^<]*)<\/Key>/g), isCut }
}

/** null: it is no list of a folder. */
function folderOf({ status, body }: WholeAnswer): Page | null {
  if (status !== 207) return null
  const names = namesIn(Buffer.from(body).toString(), /<(?:[\w-]+:)?href>([^<]*)</gi)
  return { names, isCut: false }
}

/** Names of ours have nothing in them that XML or a URL writes another way. */
function namesIn(text: string, form: RegExp): string[] {
  return [...text.matchAll(form)].map(([, path = '']) => baseOf(path.trim()))
}

function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
