/**
 * The body of an answer as text: decoded, whatever Content-Encoding a server forced on it, and
 * judged by its look. A page that people read (HTML and other markup) is what captive portals,
 * proxies and login pages answer, whatever the status: see {@link pageIn}. Pure.
 */
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import { excerpt, type HttpAnswer, headerOf, MAX_ANSWER_BYTES, printable } from './answer.ts'

export interface AnswerBody {
  /** Without outer white space. */
  readonly text: string
  /** Media type, lower case, without parameters; empty: none was said. */
  readonly type: string
}

/** Codings that a server may put on its answer unasked. */
const DECODERS: Readonly<
  Record<string, (bytes: Uint8Array, limit: { readonly maxOutputLength: number }) => Buffer>
> = {
  gzip: gunzipSync,
  'x-gzip': gunzipSync,
  deflate: inflateSync,
  br: brotliDecompressSync,
}

/** In `Content-Encoding` no coding at all: `identity` by its name, the others by mistake. */
const NO_ENCODING = /^(?:|identity|none|null|7bit|8bit|binary|utf-?8|us-ascii|ascii|iso-8859-1)$/

const TOO_LONG = `with a body over ${MAX_ANSWER_BYTES} bytes: this is not the sink`

/** The body, or what is wrong with it. */
export function bodyOf(answer: HttpAnswer): AnswerBody | { readonly why: string } {
  if (answer.bodyTooLong) return { why: TOO_LONG }
  let bytes = answer.body
  for (const encoding of encodingsOf(answer)) {
    if (bytes.length === 0) break
    const decode = DECODERS[encoding]
    if (decode === undefined)
      return { why: `in an encoding that was not asked for (${printable(encoding, 40)})` }
    try {
      bytes = decode(bytes, { maxOutputLength: MAX_ANSWER_BYTES })
    } catch (error) {
      const tooLong = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
      return { why: tooLong ? TOO_LONG : `its body claims to be ${encoding} and is not` }
    }
  }
  const type = (headerOf(answer, 'content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
  // TextDecoder cuts a byte order mark and never fails.
  return { text: new TextDecoder().decode(bytes).trim(), type }
}

/** What is wrong with a body that is a page, in words; null: it is none. */
export function pageIn(answer: HttpAnswer, body: AnswerBody): string | null {
  const markup = body.text === '' ? null : markupIn(body)
  if (markup === null) return null
  const what = markup === 'HTML' ? 'HTML: a captive portal or a proxy?' : `${markup}:`
  return `with ${what} A sink answers with JSON, text/plain or nothing${excerpt(answer)}`
}

/**
 * Markup by its type or by its look, and which. It is neither plain text nor JSON, so it acks
 * nothing.
 */
function markupIn({ type, text }: AnswerBody): 'HTML' | 'XML' | 'markup' | null {
  const isHtml = type === 'text/html' || type === 'application/xhtml+xml'
  if (
    isHtml ||
    /^(?:<[?!][^>]*>\s*)*<(?:!doctype\s+html|html|head|body|script|meta|title|h1|center)\b/i.test(
      text,
    )
  )
    return 'HTML'
  if (!text.startsWith('<')) return null
  return /^(?:application|text)\/(?:xml|[^;]*\+xml)$/.test(type) || text.startsWith('<?xml')
    ? 'XML'
    : 'markup'
}

/**
 * What has to be undone, last applied first. Names of no coding, and of character sets put there by
 * mistake: nothing.
 */
function encodingsOf(answer: HttpAnswer): string[] {
  const value = answer.headers['content-encoding']
  const all = typeof value === 'string' ? value : (value ?? []).join(',')
  return all
    .split(',')
    .map((one) => one.trim().toLowerCase())
    .filter((one) => !NO_ENCODING.test(one))
    .toReversed()
}

/** A JSON object; null: it is none. */
export function parseObject(text: string): Readonly<Record<string, unknown>> | null {
  if (!text.startsWith('{')) return null
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>
  } catch {
    return null
  }
}

/** Does it say that it is JSON, by its type or by its look, and is not? */
export function isBrokenJson({ text, type }: AnswerBody): boolean {
  const claims = /^(?:application|text)\/(?:json|[^;]*\+json)$/.test(type) || text.startsWith('{')
  if (!claims || text === '') return false
  try {
    JSON.parse(text)
    return false
  } catch {
    return true
  }
}
