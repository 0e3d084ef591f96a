/**
 * Stores the records of a batch that the database does not take as a whole, and finds which of them
 * it refuses: by halving, behind savepoints, in one transaction in which the number of the queue
 * moves as well. Deferred constraints are checked at once there, or their record could not be told.
 *
 * The refused ones are noted in the queue's row: if the answer to the commit is lost, they are known
 * to be refused, not stored (I9).
 */
import type { Listed, SinkAnswer, SinkRecord } from '../../../ports/sink.ts'
import { insertStatement, moveStatement, type QueueName, readQueue } from '../sql/statements.ts'
import { faultOf } from '../wire/faults.ts'
import { type BatchTry, keyOf, tellGaps } from './context.ts'
import { digestOf, queueRowOf } from './standing.ts'
import { whyNot } from './why-not.ts'

/** Refused records that one try looks for; the rest of the batch goes with the next. */
const MAX_REFUSED = 100

interface PiecemealStore extends BatchTry {
  readonly queue: QueueName
  readonly previous: number
  /** Refused before, in earlier tries too. */
  readonly refused: readonly Listed[]
  /** What the database said of the whole. */
  readonly error: unknown
}

/** null: the number of the queue is not where it was. @throws what the connection throws */
export async function storePiecemeal(store: PiecemealStore): Promise<SinkAnswer | null> {
  const records: SinkRecord[] = []
  const left = new Set(store.refused.map(({ seq }) => seq))
  for await (const record of store.batch.records())
    if (record.seq > store.previous && !left.has(record.seq)) records.push(record)
  return await new Halving(store, records).run()
}

class Halving {
  readonly #store: PiecemealStore
  readonly #records: readonly SinkRecord[]
  readonly #endMs: number
  readonly #refused: Listed[] = []
  #lastStored: SinkRecord | null = null
  /** Records that were stored or refused. */
  #judged = 0

  constructor(store: PiecemealStore, records: readonly SinkRecord[]) {
    this.#store = store
    this.#records = records
    this.#endMs = performance.now() + store.patience.timeoutMs / 2
  }

  async run(): Promise<SinkAnswer | null> {
    const { form, queue, previous, error } = this.#store
    const { length } = this.#records
    if (length > 1) {
      await this.#do('begin')
      await this.#bound()
      await this.#do('set constraints all immediate')
      const row = queueRowOf(await this.#do(readQueue(form, queue, true)))
      if (row?.highest !== previous) {
        await this.#do('rollback')
        return null
      }
    }
    await this.#halve(0, length, error)
    if (this.#lastStored === null) {
      if (length > 1) await this.#do('rollback')
      await tellGaps(this.#store, queue)
      return this.#answer()
    }
    await tellGaps(this.#store, queue)
    return (await this.#commit(this.#lastStored)) ?? this.#answer()
  }

  /** Nobody waits for what is left of a transaction whose other side is gone. */
  async #bound(): Promise<void> {
    const ms = String(this.#store.patience.timeoutMs * 2)
    const text = `select set_config('idle_in_transaction_session_timeout', $1, true)`
    await this.#do({ text, values: [ms] })
  }

  /** The records from `from` to before `to` were refused together. */
  async #halve(from: number, to: number, error: unknown): Promise<void> {
    if (to - from === 1) {
      this.#refuse(this.#records[from], error)
      this.#judged = to
      return
    }
    const middle = from + Math.floor((to - from) / 2)
    await this.#put(from, middle)
    await this.#put(middle, to)
  }

  async #put(from: number, to: number): Promise<void> {
    if (this.#judged < from || this.#isEnough) return
    const { form, queue } = this.#store
    const lines = Buffer.concat(this.#records.slice(from, to).map(({ line }) => line))
    await this.#do('savepoint piece')
    try {
      await this.#do(insertStatement(form, queue, lines.subarray(0, -1)))
    } catch (error) {
      if (faultOf(error).kind !== 'record') throw error
      await this.#do('rollback to savepoint piece')
      await this.#do('release savepoint piece')
      await this.#halve(from, to, error)
      return
    }
    await this.#do('release savepoint piece')
    this.#lastStored = this.#records[to - 1] ?? null
    this.#judged = to
  }

  /** The first half is always done: each try leads on. */
  get #isEnough(): boolean {
    const isFull = this.#refused.length >= MAX_REFUSED
    return this.#judged > 0 && (isFull || performance.now() > this.#endMs)
  }

  #refuse(record: SinkRecord | undefined, error: unknown): void {
    if (record === undefined) throw new Error('a piece without a record was refused')
    const { code, detail } = faultOf(error)
    const reason = whyNot(record, this.#store) ?? detail
    this.#refused.push({ seq: record.seq, verdict: 'refused', code, reason })
  }

  /** Its answer, if the transaction did not come about. */
  async #commit(last: SinkRecord): Promise<SinkAnswer | null> {
    const { form, queue, previous, known } = this.#store
    const digest = digestOf(last.line.subarray(0, -1))
    const refused = this.#listed().map(({ seq }) => seq)
    await this.#do(moveStatement(form, queue, previous, { highest: last.seq, digest, refused }))
    try {
      await this.#do('commit')
    } catch (error) {
      const { kind, code, detail } = faultOf(error)
      // Something of the whole: the drain takes it apart, and each piece is exactly once as well.
      if (kind === 'record') return { kind: 'refused', code, sinkDateMs: null, detail }
      throw error
    }
    known.set(keyOf(queue), last.seq)
    return null
  }

  #answer(): SinkAnswer {
    const isAll = this.#judged === this.#records.length
    const ackedThrough = isAll ? null : (this.#records[this.#judged - 1]?.seq ?? null)
    return { kind: 'verdicts', code: null, sinkDateMs: null, ackedThrough, listed: this.#listed() }
  }

  /** Of those that were judged, in order. */
  #listed(): Listed[] {
    const through = this.#records[this.#judged - 1]?.seq ?? 0
    const isAll = this.#judged === this.#records.length
    const before = this.#store.refused.filter(({ seq }) => isAll || seq <= through)
    return [...before, ...this.#refused].toSorted((a, b) => a.seq - b.seq)
  }

  async #do(statement: string | { readonly text: string; readonly values: readonly unknown[] }) {
    const { link, patience } = this.#store
    const asked = typeof statement === 'string' ? { text: statement, values: [] } : statement
    return await link.run(asked, patience)
  }
}
