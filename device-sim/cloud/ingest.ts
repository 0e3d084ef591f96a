/**
 * One ingest request from its head to its answer: the reference implementation of the far side of
 * the ingest contract, with the faults that were asked for. Never says 2xx before the commit: the
 * gateway deletes on it. Not here: the rule itself (queue.ts, lines.ts), other endpoints,
 * listeners.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { crc32, gunzip } from 'node:zlib'
import type { Decision, FaultControl, FaultPart } from './faults/faults.ts'
import { type Answer, BrokenForm, type Form } from './forms/form.ts'
import { type BatchHead, readHead } from './head.ts'
import type { CloudCounts } from './stats.ts'
import { eachLine, linePrefix } from './store/lines.ts'
import type { Taken } from './store/queue.ts'
import type { Store } from './store/store.ts'

const gunzipAsync = promisify(gunzip)

/** Inflated in pieces of this size: the default of 16 KiB costs more than inflating. */
const INFLATE_CHUNK_BYTES = 1024 * 1024
const MAX_EXAMPLES = 20

export interface IngestOptions {
  readonly store: Store
  readonly faults: FaultControl
  readonly counts: CloudCounts
  /** Of the bodies that are taken. */
  readonly form: Form
  /** Longest body, uncompressed too, bytes; above: 413. */
  readonly maxBodyBytes: number
  /** null: anybody may store. */
  readonly bearerToken: string | null
  /**
   * Told once a batch of which something was new, when that is durable: `lines` is the run of new
   * ones.
   */
  readonly onStored: (stream: string, lines: Buffer, count: number) => void
  /** Ends waits of slow answers. */
  readonly closing: AbortSignal
}

/** Answers one POST. Never rejects. */
export async function ingest(
  request: IncomingMessage,
  response: ServerResponse,
  options: IngestOptions,
): Promise<void> {
  const { counts } = options
  counts.requests += 1
  let decision: Decision | null = null
  try {
    const head = readHead(request.headers, options.form.contentType)
    if (
      options.bearerToken !== null &&
      request.headers.authorization !== `Bearer ${options.bearerToken}`
    ) {
      request.resume()
      say(response, { status: 401, body: 'the bearer token is missing or wrong' }, counts)
      return
    }
    if (request.headers['sluice-probe'] !== undefined) {
      request.resume()
      say(response, { status: 204 }, counts)
      return
    }
    if ('status' in head) {
      request.resume()
      violate(counts, head.detail)
      say(response, { status: head.status, body: head.detail }, counts)
      return
    }
    if (head.contentLength > options.maxBodyBytes) {
      request.resume()
      say(response, tooLarge(options), counts)
      return
    }
    const body = await readBody(request, head.contentLength)
    if (body === null) return
    counts.receivedBytes += body.length
    decision = options.faults.decide(head.stream)
    const answer = await treat(head, { body, url: requestUrl(request) }, decision, options)
    if (answer === 'cut') request.socket.destroy()
    else if (answer !== 'silent') say(response, answer, counts)
  } catch (error) {
    if (options.closing.aborted) request.socket.destroy()
    else say(response, { status: 503, body: `cannot store: ${(error as Error).message}` }, counts)
  } finally {
    for (const part of decision?.parts ?? []) part.release()
  }
}

interface Sent {
  readonly body: Buffer
  readonly url: URL
}

function requestUrl({ url }: IncomingMessage): URL {
  return new URL(url ?? '/', 'http://cloud')
}

async function treat(
  head: BatchHead,
  { body, url }: Sent,
  decision: Decision,
  options: IngestOptions,
): Promise<Answer | 'cut' | 'silent'> {
  for (const part of decision.parts) {
    if (part.rule.kind !== 'slow') continue
    await delay(part.rule.delayMs, undefined, { signal: options.closing })
    part.fire()
  }
  for (const part of decision.parts) {
    const instead = insteadOfStoring(part)
    if (instead === null) continue
    part.fire()
    return instead
  }
  const isGzip = head.encoding === 'gzip' || options.form.isGzipFile === true
  const raw = isGzip ? await inflate(body, options.maxBodyBytes) : body
  if (!Buffer.isBuffer(raw))
    return raw.tooLarge ? tooLarge(options) : violation(options.counts, 400, 'the body is not gzip')
  options.counts.rawBytes += raw.length
  // Damaged on the way: the same bytes again may be whole.
  if (crc32(raw) !== head.crc32)
    return violation(options.counts, 500, 'the body does not fit the checksum in Idempotency-Key')
  const silence = decision.parts.find(
    (part) => part.rule.kind === 'lost-answer' || part.rule.kind === 'half-open',
  )
  const batch = readLines(head, raw, url, options.form)
  if (typeof batch === 'string') return violation(options.counts, 400, batch)
  const answer = await store(batch, decision, options, silence === undefined)
  if (silence === undefined) return answer
  silence.fire()
  return silence.rule.kind === 'half-open' ? 'silent' : 'cut'
}

interface ReadBatch {
  /** Of what is in the body: a form may have no place for some records of a batch. */
  readonly head: BatchHead
  /** Lines of the contract. */
  readonly lines: Buffer
  readonly seqs: readonly number[]
}

/** A string says how the body breaks its form. */
function readLines(head: BatchHead, raw: Buffer, url: URL, form: Form): ReadBatch | string {
  try {
    const lines = form.lines(raw, url)
    // The contract's own are judged as they came.
    if (lines === raw) return { head, lines, seqs: [] }
    const seqs: number[] = []
    eachLine(lines, linePrefix(head), (seq) => seqs.push(seq))
    const [firstSeq = 0, lastSeq = 0] = [seqs[0], seqs.at(-1)]
    if (firstSeq < head.firstSeq || lastSeq > head.lastSeq)
      return `seqs ${firstSeq} to ${lastSeq} are not those of the head`
    return { head: { ...head, firstSeq, lastSeq }, lines, seqs }
  } catch (error) {
    if (error instanceof BrokenForm) return error.message
    throw error
  }
}

async function store(
  { head, lines, seqs }: ReadBatch,
  decision: Decision,
  options: IngestOptions,
  answered: boolean,
): Promise<Answer> {
  const { counts, faults, form } = options
  const { gateway, spool, stream } = head
  for (const owner of new Set(head.gaps.map((gap) => gap.spool))) {
    const queue = await options.store.queue({ gateway, spool: owner, stream })
    counts.gaps += await queue.report(head.gaps.filter((gap) => gap.spool === owner))
  }
  const whole = decision.parts.find(
    (part) => part.rule.kind === 'refuse' && part.rule.as === 'status',
  )
  const queue = await options.store.queue({ gateway, spool, stream })
  const taken = await queue.take(head, lines, {
    judgeFor: (newRecords) => faults.judge(decision, newRecords),
    wholeOnly: whole !== undefined,
    answered,
  })
  if (typeof taken === 'string') return violation(counts, 400, taken)
  if ('conflict' in taken) {
    return violation(
      counts,
      412,
      `seq ${taken.conflict} of ${gateway}:${spool}:${stream} is stored with another record`,
    )
  }
  if (taken.overlap !== null) violate(counts, taken.overlap)
  counts.repeats += taken.repeats
  counts.stored += taken.stored
  if (taken.stored > 0) {
    counts.batches += 1
    options.onStored(stream, lines.subarray(taken.fromByte, taken.toByte), taken.stored)
  }
  if (taken.stop?.refused === true) counts.refused += 1
  if (whole?.rule.kind === 'refuse' && taken.stop?.refused === true) {
    return { status: whole.rule.status, body: `seq ${taken.stop.seq} is refused` }
  }
  return form.answer?.(taken, seqs) ?? verdict(taken, decision)
}

/** The contract's answer: how far it is stored, and which record is refused for good. */
function verdict(taken: Taken, decision: Decision): Answer {
  const { ackedThrough, stop } = taken
  if (stop === null) return { status: 200, body: { ackedThrough } }
  if (!stop.refused) return { status: 207, body: { ackedThrough } }
  const rule = decision.parts.find((part) => part.rule.kind === 'refuse')?.rule
  const status = rule?.kind === 'refuse' ? rule.status : 422
  return {
    status: 207,
    body: { ackedThrough, rejected: [{ seq: stop.seq, status, reason: 'refused on request' }] },
  }
}

/** The answer of a fault that lets nothing be stored; null: this part is of another sort. */
function insteadOfStoring(part: FaultPart): Answer | 'cut' | null {
  const { rule } = part
  switch (rule.kind) {
    case 'drop-request':
      return 'cut'
    case 'outage':
      return { status: 503, body: 'out of service' }
    case 'busy': {
      const wait = rule.retryAfter
      if (wait === undefined) return { status: rule.status, body: 'busy' }
      const value =
        'seconds' in wait
          ? String(wait.seconds)
          : new Date(Date.now() + wait.dateSeconds * 1000).toUTCString()
      return { status: rule.status, headers: { 'Retry-After': value }, body: 'busy' }
    }
    case 'portal':
      return {
        status: 200,
        headers: { 'Content-Type': 'text/html' },
        body: '<!doctype html><html><body>Please accept the terms of use.</body></html>',
      }
    case 'status':
      return { status: rule.status, body: 'as requested' }
    default:
      return null
  }
}

function say(response: ServerResponse, answer: Answer, counts: CloudCounts): void {
  if (response.destroyed || response.headersSent) return
  const isJson = typeof answer.body === 'object'
  const text = typeof answer.body === 'object' ? JSON.stringify(answer.body) : (answer.body ?? '')
  response.writeHead(answer.status, {
    'Content-Type': isJson ? 'application/json' : 'text/plain',
    'Content-Length': Buffer.byteLength(text),
    ...answer.headers,
  })
  response.end(text)
  counts.answers[answer.status] = (counts.answers[answer.status] ?? 0) + 1
}

/** The whole body, or null if the gateway went away. */
async function readBody(request: IncomingMessage, length: number): Promise<Buffer | null> {
  const body = Buffer.allocUnsafeSlow(length)
  let at = 0
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) at += chunk.copy(body, at)
  } catch {
    return null
  }
  return at === length ? body : null
}

async function inflate(
  body: Buffer,
  maxBytes: number,
): Promise<Buffer | { readonly tooLarge: boolean }> {
  try {
    return await gunzipAsync(body, { maxOutputLength: maxBytes, chunkSize: INFLATE_CHUNK_BYTES })
  } catch (error) {
    return { tooLarge: (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' }
  }
}

function tooLarge(options: IngestOptions): Answer {
  return {
    status: 413,
    headers: { Connection: 'close' },
    body: `more than ${options.maxBodyBytes} bytes`,
  }
}

function violation(counts: CloudCounts, status: number, detail: string): Answer {
  violate(counts, detail)
  return { status, body: detail }
}

function violate(counts: CloudCounts, detail: string): void {
  counts.violations += 1
  if (counts.violationExamples.length < MAX_EXAMPLES) counts.violationExamples.push(detail)
}
