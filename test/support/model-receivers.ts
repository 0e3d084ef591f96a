/**
 * Two receivers, written from the ingest contract alone and independent of each other: one keeps one
 * number per queue ("Exactly once with one number", to the letter), one dedupes by id. In memory;
 * what they store is never lost. They know a batch as a web service would: identity headers, gap
 * header, body.
 */
import assert from 'node:assert/strict'

export interface ReceivedRequest {
  readonly gateway: string
  readonly spool: string
  readonly stream: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly recordCount: number
  readonly gap: string | null
  /** Uncompressed. */
  readonly body: string
}

/** Status and JSON members of an answer; null: an empty body. */
export interface ReceiverAnswer {
  readonly status: number
  readonly body: {
    readonly ackedThrough?: number
    readonly rejected?: readonly {
      readonly seq: number
      readonly status?: number
      readonly reason?: string
    }[]
  } | null
}

export interface StoredRecord {
  readonly queue: string
  readonly seq: number
  readonly id: string
  readonly line: string
}

export interface ReceiverRules {
  /** Refused for good, as the service sees it now. */
  refuses(record: Readonly<Record<string, unknown>>): boolean
  /** How many new records one request may store; the rest is asked for again. */
  room(): number
}

export interface Receiver {
  readonly stored: readonly StoredRecord[]
  receive(request: ReceivedRequest): ReceiverAnswer
}

/**
 * One row (gateway, spool, stream) -> highest seq. A call is the transaction that holds the row's
 * lock.
 */
export class OneNumberReceiver implements Receiver {
  readonly stored: StoredRecord[] = []
  readonly #highest = new Map<string, number>()
  readonly #rules: ReceiverRules

  constructor(rules: ReceiverRules) {
    this.#rules = rules
  }

  receive(request: ReceivedRequest): ReceiverAnswer {
    const row = `${request.gateway}:${request.spool}:${request.stream}`
    let highest = this.#highest.get(row) ?? 0
    let storedOrSkipped = request.firstSeq - 1
    let room = this.#rules.room()
    for (const line of linesOf(request)) {
      const record = JSON.parse(line) as Readonly<Record<string, unknown>>
      const seq = record['seq'] as number
      if (seq > highest) {
        // Stop at the first line that is not stored.
        if (this.#rules.refuses(record)) {
          return {
            status: 200,
            body: { ackedThrough: storedOrSkipped, rejected: [{ seq, reason: 'no' }] },
          }
        }
        if (room === 0) return { status: 200, body: { ackedThrough: storedOrSkipped } }
        room--
        this.stored.push({ queue: row, seq, id: record['id'] as string, line })
        highest = seq
        this.#highest.set(row, highest)
      }
      storedOrSkipped = seq
    }
    return { status: 200, body: { ackedThrough: storedOrSkipped } }
  }
}

/**
 * `list`: stores what it likes and names the others; `whole`: takes a request as a whole, or answers 400.
 */
export class ByIdReceiver implements Receiver {
  readonly stored: StoredRecord[] = []
  readonly #ids = new Set<string>()
  readonly #rules: ReceiverRules
  readonly #mode: 'list' | 'whole'

  constructor(rules: ReceiverRules, mode: 'list' | 'whole') {
    this.#rules = rules
    this.#mode = mode
  }

  receive(request: ReceivedRequest): ReceiverAnswer {
    const records = linesOf(request).map((line) => {
      return { line, record: JSON.parse(line) as Readonly<Record<string, unknown>> }
    })
    const bad = records.filter(
      ({ record }) => !this.#ids.has(String(record['id'])) && this.#rules.refuses(record),
    )
    if (this.#mode === 'whole' && bad.length > 0)
      return { status: bad.length % 2 === 0 ? 422 : 400, body: null }
    const rejected: { seq: number; status: number; reason: string }[] = []
    let room = this.#rules.room()
    for (const one of records) {
      const { seq, id } = one.record as { seq: number; id: string }
      if (this.#ids.has(id)) continue
      if (bad.includes(one)) {
        rejected.push({ seq, status: 422, reason: 'not mine' })
        continue
      }
      if (room === 0) {
        rejected.push({ seq, status: 503, reason: 'later' })
        break
      }
      room--
      this.#ids.add(id)
      this.stored.push({
        queue: `${request.gateway}:${request.spool}:${request.stream}`,
        seq,
        id,
        line: one.line,
      })
    }
    return rejected.length === 0 ? { status: 204, body: null } : { status: 207, body: { rejected } }
  }
}

/** Splits on LF only, and checks the request against its own headers. */
function linesOf(request: ReceivedRequest): string[] {
  assert(request.body.endsWith('\n'), 'every record is ended by LF')
  const lines = request.body.slice(0, -1).split('\n')
  assert.equal(lines.length, request.recordCount, 'Sluice-Record-Count')
  const seqs = lines.map((line) => (JSON.parse(line) as { seq: number }).seq)
  assert.equal(seqs[0], request.firstSeq, 'Sluice-First-Seq')
  assert.equal(seqs.at(-1), request.lastSeq, 'Sluice-Last-Seq')
  assert(
    seqs.every((seq, i) => i === 0 || seq > (seqs[i - 1] ?? 0)),
    'seqs increase within a request',
  )
  return lines
}
