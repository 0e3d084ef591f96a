/**
 * Dead letters of all streams: list, requeue as new records, purge, and the limits that the
 * operator set. Removal is always counted (I5: dead-lettered = kept + requeued from here + removed)
 * and rides in a commit.
 */

import {
  type DeadLetterInfo,
  type StoredDeadLetter,
  unpackDeadLetter,
  withoutSeq,
} from '../codec/dead-letter.ts'
import { idPrefix, receivedAtOf, requeueLine } from '../codec/record.ts'
import type { EmitSpoolEvent } from '../events.ts'
import {
  type DeadLetterOrigin,
  deadLetterKey,
  deadLetterNumber,
  NAMESPACE,
  prefixRange,
} from '../store/keys.ts'
import type { Store } from '../store/store.ts'
import type { RemovalReason } from '../stream/counters.ts'
import type { OpenCommit, SpoolStream } from '../stream/stream.ts'
import {
  letterGone,
  lettersFound,
  lettersRemoved,
  lettersRequeued,
  takeSeqs,
} from '../stream/transitions.ts'
import type { SpoolTime } from '../time/spool-time.ts'

const ORIGINS: readonly DeadLetterOrigin[] = ['ingest', 'refused']
/** Dead letters that one commit moves or removes at the most. */
const BATCH = 500

interface ListedDeadLetter extends Omit<DeadLetterInfo, 'spoolTimeMs'> {
  readonly stream: string
  /** Place in its list: `<origin>:<number>`, the cursor of `list`. */
  readonly cursor: string
  readonly bytes: number
  /** The record's line. */
  readonly line: string
}

interface StoredLetter extends StoredDeadLetter {
  readonly origin: DeadLetterOrigin
  readonly n: number
  readonly bytes: number
}

/** No box lives to see so many: a key that says so was damaged. */
const MAX_DEAD_LETTER = 2 ** 48

export class DeadLetters {
  readonly #streams: ReadonlyMap<string, SpoolStream>
  readonly #store: () => Store
  readonly #commit: OpenCommit
  readonly #emit: EmitSpoolEvent
  readonly #nowMs: () => number
  readonly #time: SpoolTime
  /** Letters without a time of their own count from here. */
  readonly #openedMs: number
  readonly #reserveSeqs: (records: number) => Promise<void>
  #tidying = false
  /**
   * Actions of operators go one after the other: two at once could move the same dead letter twice.
   */
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: {
    streams: ReadonlyMap<string, SpoolStream>
    store: () => Store
    commit: OpenCommit
    emit: EmitSpoolEvent
    nowMs: () => number
    time: SpoolTime
    reserveSeqs: (records: number) => Promise<void>
  }) {
    this.#reserveSeqs = options.reserveSeqs
    this.#streams = options.streams
    this.#store = options.store
    this.#commit = options.commit
    this.#emit = options.emit
    this.#nowMs = options.nowMs
    this.#time = options.time
    this.#openedMs = options.time.nowMs()
  }

  #stream(name: string): SpoolStream {
    const stream = this.#streams.get(name)
    if (!stream) throw new UnknownStreamError(name, [...this.#streams.keys()])
    return stream
  }

  async *#scan(
    stream: SpoolStream,
    origin: DeadLetterOrigin,
    fromN = 0,
  ): AsyncGenerator<StoredLetter> {
    const range = prefixRange(
      NAMESPACE.deadLetters,
      stream.state.id >>> 8,
      stream.state.id & 0xff,
      origin === 'ingest' ? 0 : 1,
    )
    const gte = deadLetterKey(stream.state.id, origin, fromN)
    for await (const [key, value] of this.#store().entries({ ...range, gte })) {
      const stored = unpackDeadLetter(value)
      if (stored) yield { ...stored, origin, n: deadLetterNumber(key), bytes: value.length }
    }
  }

  /**
   * Oldest first, ingest dead letters before refused records. `after`: the `cursor` of the last one
   * seen.
   */
  async list(name: string, after: string | null, limit: number): Promise<ListedDeadLetter[]> {
    const stream = this.#stream(name)
    const [afterOrigin, afterN] = after === null ? [null, 0] : parseCursor(after)
    const found: ListedDeadLetter[] = []
    for (const origin of ORIGINS) {
      if (afterOrigin === 'refused' && origin === 'ingest') continue
      for await (const letter of this.#scan(
        stream,
        origin,
        origin === afterOrigin ? afterN + 1 : 0,
      )) {
        if (found.length >= limit) return found
        const { spoolTimeMs: _, ...info } = letter.info
        found.push({
          ...info,
          stream: name,
          cursor: `${origin}:${letter.n}`,
          bytes: letter.bytes,
          line:
            letter.info.seq === null
              ? withoutSeq(letter.line.toString('utf8'))
              : letter.line.toString('utf8'),
        })
      }
    }
    return found
  }

  /**
   * Requeues dead letters by id, or all, as new records at the end of the stream. What was cut for
   * size stays. Returns how many were requeued, and the ids that could not be.
   */
  async requeue(
    name: string,
    ids: readonly string[] | 'all',
  ): Promise<{ requeued: number; skipped: string[] }> {
    const stream = this.#stream(name)
    const skipped: string[] = []
    let requeued = 0
    await this.#each(stream, ids, async (batch) => {
      const whole = batch.filter((l) => l.info.truncated === null)
      skipped.push(...batch.filter((l) => l.info.truncated !== null).map((l) => l.info.id))
      if (whole.length === 0) return
      await this.#reserveSeqs(whole.length)
      const { state } = stream
      const { spoolId, gateway } = state.identities.at(-1) as { spoolId: string; gateway: string }
      const prefix = idPrefix(gateway, spoolId, name)
      const firstSeq = takeSeqs(state, whole.length)
      const lines = whole.map((l, i) => requeueLine(l.line, prefix, firstSeq + i))
      const now = this.#nowMs()
      whole.forEach((l, i) => {
        const line = lines[i] as Buffer
        stream.open.appendLines(stream.identity, firstSeq + i, 1, line, receivedAtOf(line) ?? now)
      })
      for (const letter of whole) this.#remove(stream, letter)
      lettersRequeued(state, whole.length)
      requeued += whole.length
      await this.#commit.durable(stream)
    })
    return { requeued, skipped }
  }

  async purge(name: string, ids: readonly string[] | 'all'): Promise<number> {
    const stream = this.#stream(name)
    let purged = 0
    await this.#each(stream, ids, async (batch) => {
      purged += batch.length
      await this.#removeCounted(stream, batch, 'purged')
    })
    return purged
  }

  /**
   * After damage: the letters that are there are those that count (I5, second line). What is gone
   * or unreadable was removed,
   * `corrupt`; what a repair brought back is kept once more. At an opening, before new ones can come.
   */
  async reconcile(): Promise<void> {
    const mine = this.#last.then(async () => {
      for (const stream of this.#streams.values()) await this.#reconcileStream(stream)
    })
    this.#last = mine.catch(() => undefined)
    await mine
  }

  async #reconcileStream(stream: SpoolStream): Promise<void> {
    const { state } = stream
    for (const origin of ORIGINS) {
      const quota = state.deadLetters[origin]
      let count = 0
      let bytes = 0
      let damaged = 0
      let { next } = quota
      // Also those behind the next number: a state that is older than they are would deal their
      // numbers again.
      for await (const [key, value] of this.#store().entries({
        gte: deadLetterKey(state.id, origin, 0),
        lt: deadLetterKey(state.id, origin, Number.MAX_SAFE_INTEGER),
      })) {
        const n = deadLetterNumber(key)
        if (n <= MAX_DEAD_LETTER && unpackDeadLetter(value)) {
          next = Math.max(next, n + 1)
          count++
          bytes += value.length
        } else {
          damaged++
          this.#commit.add({ type: 'del', key })
        }
      }
      const missing = quota.count - count
      if (missing === 0 && damaged === 0 && quota.next === next) continue
      lettersFound(state, origin, { next, count: -missing, bytes: bytes - quota.bytes })
      if (missing > 0) {
        this.#emit({
          type: 'spool.dead-letters-removed',
          stream: stream.name,
          reason: 'corrupt',
          count: missing,
        })
      }
      await this.#commit.durable(stream)
    }
  }

  /** Quotas and ages; called from time to time. */
  async tidy(): Promise<void> {
    if (this.#tidying) return
    this.#tidying = true
    try {
      const mine = this.#last.then(async () => {
        for (const stream of this.#streams.values()) await this.#tidyStream(stream)
      })
      this.#last = mine.catch(() => undefined)
      await mine
    } finally {
      this.#tidying = false
    }
  }

  async #tidyStream(stream: SpoolStream): Promise<void> {
    const limits = stream.config?.deadLetters
    if (!limits) return
    for (const origin of ORIGINS) {
      const quota = stream.state.deadLetters[origin]
      let over = limits.whenFull === 'drop-oldest' ? quota.bytes - limits.maxBytes : 0
      const { maxAge } = limits
      if (quota.count === 0 || (over <= 0 && maxAge === null)) continue
      const byQuota: StoredLetter[] = []
      const byAge: StoredLetter[] = []
      for await (const letter of this.#scan(stream, origin)) {
        if (over > 0) {
          byQuota.push(letter)
          over -= letter.bytes
        } else if (maxAge !== null && this.#ageMs(letter) > maxAge) {
          byAge.push(letter)
        } else break
        if (byQuota.length + byAge.length >= BATCH) break
      }
      if (byQuota.length > 0) await this.#removeCounted(stream, byQuota, 'quota')
      if (byAge.length > 0) await this.#removeCounted(stream, byAge, 'expired')
    }
  }

  #ageMs({ info }: StoredLetter): number {
    return this.#time.nowMs() - (info.spoolTimeMs ?? this.#openedMs)
  }

  async #removeCounted(
    stream: SpoolStream,
    letters: readonly StoredLetter[],
    reason: RemovalReason,
  ): Promise<void> {
    for (const letter of letters) this.#remove(stream, letter)
    lettersRemoved(stream.state, reason, letters.length)
    this.#emit({
      type: 'spool.dead-letters-removed',
      stream: stream.name,
      reason,
      count: letters.length,
    })
    await this.#commit.durable(stream)
  }

  #remove(stream: SpoolStream, letter: StoredLetter): void {
    letterGone(stream.state, letter.origin, letter.bytes)
    this.#commit.add({ type: 'del', key: deadLetterKey(stream.state.id, letter.origin, letter.n) })
  }

  async #each(
    stream: SpoolStream,
    ids: readonly string[] | 'all',
    act: (batch: readonly StoredLetter[]) => Promise<void>,
  ): Promise<void> {
    const mine = this.#last.then(() => this.#eachAlone(stream, ids, act))
    this.#last = mine.catch(() => undefined)
    await mine
  }

  async #eachAlone(
    stream: SpoolStream,
    ids: readonly string[] | 'all',
    act: (batch: readonly StoredLetter[]) => Promise<void>,
  ): Promise<void> {
    const wanted = ids === 'all' ? null : new Set(ids)
    for (const origin of ORIGINS) {
      let batch: StoredLetter[] = []
      for await (const letter of this.#scan(stream, origin)) {
        if (wanted && !wanted.has(letter.info.id)) continue
        batch.push(letter)
        if (batch.length < BATCH) continue
        await act(batch)
        batch = []
      }
      if (batch.length > 0) await act(batch)
    }
  }
}

export class UnknownStreamError extends Error {
  readonly code = 'SLUICE_UNKNOWN_STREAM'

  constructor(name: string, known: readonly string[]) {
    super(`there is no stream "${name}"; streams are: ${known.join(', ')}`)
  }
}

function parseCursor(cursor: string): readonly [DeadLetterOrigin, number] {
  const [origin, n] = cursor.split(':')
  if ((origin !== 'ingest' && origin !== 'refused') || !/^\d+$/.test(n ?? '')) {
    throw new TypeError(`"${cursor}" is not a cursor of a dead-letter list (like "refused:17")`)
  }
  return [origin, Number(n)]
}
