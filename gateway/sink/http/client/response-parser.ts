/**
 * The bytes of one HTTP/1.x answer to a POST -> status, headers, body (RFC 9112, as its recipient).
 * Pure. I8: where an answer ends is what makes it whole, so section 6.3 is followed to the letter:
 * what contradicts itself is said in words (`fault`) and never guessed at; what was cut is an
 * error. Interim answers (RFC 9110, 15.2) are passed over, asked for or not. Not here: what the
 * answer means (answer.ts), whose answer it is (connection.ts).
 */
import { LinkError } from './link-error.ts'

/** Most of a head, its interim answers' and a chunked body's trailers each, bytes. */
export const MAX_HEAD_BYTES = 64 * 1024
/** More interim answers than that are no progress any more. */
const MAX_INTERIM = 100

export interface ResponseHead {
  readonly status: number
  /** Names lower case; a header that came twice is a list. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  /**
   * Why nobody can say where the body ends: which headers contradict each other; null: it is clear.
   */
  readonly fault: string | null
}

type Stage =
  | 'status'
  | 'headers'
  | 'length'
  | 'until-close'
  | 'size'
  | 'chunk'
  | 'chunk-end'
  | 'trailers'
  | 'done'

const STATUS_LINE = /^HTTP\/(\d)\.(\d) (\d{3})(?: .*)?$/
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

export class ResponseParser {
  head: ResponseHead | null = null
  /** The body, or its beginning up to the limit. */
  readonly body: Buffer[] = []
  bodyBytes = 0
  /** The body was longer than the limit; it is not read on. */
  tooLong = false
  readonly #maxBodyBytes: number
  #stage: Stage = 'status'
  #rest: Buffer = Buffer.alloc(0)
  #headBytes = 0
  #interim = 0
  #minor = 1
  #status = 0
  #fields: Array<[name: string, value: string]> = []
  /** What is left of the body or chunk, bytes. */
  #left = 0
  #keeps = false

  constructor(maxBodyBytes: number) {
    this.#maxBodyBytes = maxBodyBytes
  }

  /** The answer is whole, or all of it that is read. */
  get isDone(): boolean {
    return this.#stage === 'done'
  }

  /** After the whole answer the connection is fit for another request. */
  get isReusable(): boolean {
    return this.isDone && this.#keeps && !this.tooLong && this.#rest.length === 0
  }

  /** @throws LinkError when these are not the bytes of an HTTP answer */
  push(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    while (this.#stage !== 'done' && this.#step()) continue
  }

  /** The other side ended the connection. @throws LinkError when the answer is not whole */
  end(): void {
    if (this.#stage === 'until-close') {
      this.#stage = 'done'
      this.#checkEmptyJson()
    }
    if (this.isDone) return
    if (this.head === null) throw new LinkError('CLOSED', 'closed before there was an answer')
    throw new LinkError('CUT_SHORT', `closed ${this.#missing()} the end of the answer`)
  }

  #missing(): string {
    return this.#stage === 'length' ? `${this.#left} bytes before` : 'before'
  }

  /** true: there may be more to do with what has come. */
  #step(): boolean {
    switch (this.#stage) {
      case 'length':
      case 'until-close':
      case 'chunk':
        return this.#takeBody()
      default: {
        const line = this.#line()
        if (line === null) return false
        this.#takeLine(line)
        return true
      }
    }
  }

  /** Up to LF; a CR before it belongs to the end of the line (RFC 9112, section 2.2). */
  #line(): string | null {
    const at = this.#rest.indexOf(0x0a)
    this.#headBytes += at < 0 ? 0 : at + 1
    if (
      this.#headBytes > MAX_HEAD_BYTES ||
      (at < 0 && this.#headBytes + this.#rest.length > MAX_HEAD_BYTES)
    ) {
      if (this.#stage === 'status') throw notHttp(this.#rest)
      throw new LinkError(
        'HEAD_TOO_LONG',
        `the headers of the answer have more than ${MAX_HEAD_BYTES} bytes`,
      )
    }
    if (at < 0) {
      // What does not begin like an answer is none, however long its first line takes.
      if (this.#stage === 'status' && !beginsLikeHttp(this.#rest)) throw notHttp(this.#rest)
      return null
    }
    const end = at > 0 && this.#rest[at - 1] === 0x0d ? at - 1 : at
    const line = this.#rest.toString('latin1', 0, end)
    this.#rest = this.#rest.subarray(at + 1)
    return line
  }

  #takeLine(line: string): void {
    if (this.#stage === 'status') this.#takeStatus(line)
    else if (this.#stage === 'headers') this.#takeHeader(line)
    else if (this.#stage === 'size') this.#takeChunkSize(line)
    else if (this.#stage === 'chunk-end') {
      if (line !== '')
        throw new LinkError('NOT_HTTP', 'a chunk of the answer is longer than it says')
      this.#stage = 'size'
    } else if (line === '') this.#stage = 'done'
  }

  #takeStatus(line: string): void {
    const found = STATUS_LINE.exec(line)
    if (found?.[1] !== '1') throw notHttp(Buffer.from(line, 'latin1'))
    this.#minor = Number(found[2])
    this.#status = Number(found[3])
    this.#fields = []
    this.#stage = 'headers'
  }

  #takeHeader(line: string): void {
    if (line === '') {
      this.#endHead()
      return
    }
    const last = this.#fields.at(-1)
    if ((line.startsWith(' ') || line.startsWith('\t')) && last !== undefined) {
      // An obsolete fold (RFC 9112, section 5.2).
      last[1] = `${last[1]} ${line.trim()}`.trim()
      return
    }
    const colon = line.indexOf(':')
    // Space before the colon is taken off, as a proxy would have to (RFC 9112, section 5.1).
    const name = line.slice(0, Math.max(0, colon)).trimEnd().toLowerCase()
    if (!TOKEN.test(name)) {
      throw new LinkError('NOT_HTTP', 'a line among the headers of the answer is no header')
    }
    this.#fields.push([name, line.slice(colon + 1).trim()])
  }

  #endHead(): void {
    const status = this.#status
    // 101 cannot follow a request that asked for no upgrade; it is no interim answer, so it is read
    // as the last word.
    if (status >= 100 && status <= 199 && status !== 101) {
      this.#interim += 1
      if (this.#interim > MAX_INTERIM)
        throw new LinkError('NOT_HTTP', `more than ${MAX_INTERIM} interim answers`)
      this.#headBytes = 0
      this.#stage = 'status'
      return
    }
    const headers = merge(this.#fields)
    const listed = (name: string): string[] => listOf(headers[name])
    const connection = listed('connection').map((one) => one.toLowerCase())
    this.#keeps =
      this.#minor >= 1 ? !connection.includes('close') : connection.includes('keep-alive')
    const fault = this.#frame(status, listed('transfer-encoding'), listed('content-length'))
    this.head = { status, headers, fault }
  }

  /** RFC 9112, section 6.3, rule by rule. Returns what contradicts itself. */
  #frame(status: number, codings: readonly string[], lengths: readonly string[]): string | null {
    this.#headBytes = 0
    // Rules 1 and 2. Headers that announce a body are a mistake, and what follows them is not
    // trusted.
    if (status === 204 || status === 304 || status === 101) {
      if (codings.length > 0 || lengths.some((one) => !/^0+$/.test(one))) this.#keeps = false
      this.#stage = 'done'
      return null
    }
    // Rules 3 and 4: Transfer-Encoding overrides Content-Length, and the connection ends behind it.
    if (codings.length > 0) {
      const names = codings.map((one) => one.split(';')[0]?.trim().toLowerCase() ?? '')
      if (lengths.length > 0 || this.#minor === 0) this.#keeps = false
      const unasked = names.filter((one) => one !== 'chunked' && one !== 'identity')
      if (unasked.length > 0)
        return this.#faulty(`Transfer-Encoding ${unasked.join(', ')} was not asked for`)
      if (names.filter((one) => one === 'chunked').length > 1)
        return this.#faulty('Transfer-Encoding says chunked twice')
      if (names.at(-1) === 'chunked') this.#stage = 'size'
      else this.#untilClose()
      return null
    }
    // Rules 5 and 6.
    if (lengths.length > 0) {
      const first = lengths[0] ?? ''
      const words = [...new Set(lengths)].join(' and ')
      if (!lengths.every((one) => /^\d+$/.test(one)))
        return this.#faulty(`Content-Length is ${words.slice(0, 100)}, not a number of bytes`)
      if (lengths.some((one) => Number(one) !== Number(first)))
        return this.#faulty(`Content-Length says both ${words.slice(0, 100)}`)
      this.#left = Number(first)
      this.#stage = this.#left === 0 ? 'done' : 'length'
      return null
    }
    // Rule 8.
    this.#untilClose()
    return null
  }

  #untilClose(): void {
    this.#keeps = false
    this.#stage = 'until-close'
  }

  /** The rest of the bytes means nothing: what would be read depends on whom one believes. */
  #faulty(fault: string): string {
    this.#keeps = false
    this.#stage = 'done'
    return fault
  }

  #takeChunkSize(line: string): void {
    const size = /^([0-9a-fA-F]{1,13})[ \t]*(?:;.*)?$/.exec(line)
    if (size === null)
      throw new LinkError('NOT_HTTP', 'a chunk of the answer does not say its size')
    this.#headBytes = 0
    this.#left = Number.parseInt(size[1] ?? '', 16)
    this.#stage = this.#left === 0 ? 'trailers' : 'chunk'
  }

  #takeBody(): boolean {
    if (this.#rest.length === 0) return false
    const isOpen = this.#stage === 'until-close'
    const part = isOpen ? this.#rest : this.#rest.subarray(0, this.#left)
    this.#rest = this.#rest.subarray(part.length)
    this.#left -= isOpen ? 0 : part.length
    this.bodyBytes += part.length
    if (this.bodyBytes > this.#maxBodyBytes) {
      this.tooLong = true
      this.#stage = 'done'
      return false
    }
    this.body.push(part)
    if (isOpen || this.#left > 0) return false
    this.#stage = this.#stage === 'chunk' ? 'chunk-end' : 'done'
    return true
  }

  /**
   * Without a length an answer that was cut behind its head looks whole; JSON has at least two
   * bytes.
   */
  #checkEmptyJson(): void {
    const type = listOf(this.head?.headers['content-type'])[0] ?? ''
    if (this.bodyBytes === 0 && /[/+]json\b/i.test(type))
      throw new LinkError('CUT_SHORT', 'closed behind the headers of an answer that announces JSON')
  }
}

function merge(
  fields: ReadonlyArray<readonly [string, string]>,
): Record<string, string | string[]> {
  const merged: Record<string, string | string[]> = Object.create(null) as Record<
    string,
    string | string[]
  >
  for (const [name, value] of fields) {
    const known = merged[name]
    if (known === undefined) merged[name] = value
    else merged[name] = typeof known === 'string' ? [known, value] : [...known, value]
  }
  return merged
}

/** The members of a header that is a list, however often it came. */
function listOf(value: string | readonly string[] | undefined): string[] {
  if (value === undefined) return []
  const all = typeof value === 'string' ? value : value.join(',')
  return all
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '')
}

function beginsLikeHttp(bytes: Buffer): boolean {
  const start = bytes.toString('latin1', 0, 5)
  return 'HTTP/'.startsWith(start)
}

/** Of what is no HTTP. */
const QUOTED_BYTES = 40

function notHttp(bytes: Buffer): LinkError {
  const line = bytes
    .toString('latin1', 0, QUOTED_BYTES)
    .replaceAll(/[^\x20-\x7e]+/g, ' ')
    .trim()
  const words = bytes.length > QUOTED_BYTES ? `${line}…` : line
  return new LinkError('NOT_HTTP', `the answer begins with "${words}"`)
}
