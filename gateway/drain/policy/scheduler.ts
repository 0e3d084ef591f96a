/**
 * Which stream of a sink goes next: by priority, 0 first, yet none starves. Of n streams with a
 * backlog each gets at least min(10 %, 1/(2n)) of the bytes over 10 s or 10 n batches, whichever is
 * longer. Pure.
 *
 * Each stream has a credit in bytes. Whatever is sent earns every stream with a backlog its share;
 * a stream's own bytes cost it. One with credit goes before the priorities. The share that is
 * earned is half as much again as the one that is promised, so that uneven batches and the edges of
 * a window do not break the promise; together the shares stay below the whole.
 */

/** What is earned relative to what is promised. */
const GENEROSITY = 1.5
/**
 * Credit of one stream is bounded by this many times the largest batch seen, so that no stream
 * takes the sink over.
 */
const MAX_CREDIT_BATCHES = 4

interface Account {
  readonly name: string
  readonly priority: number
  credit: number
  /** Turn of its last service, for a fair order among equals. */
  servedTurn: number
}

/** The share of the bytes that each of n streams with a backlog is promised. */
export function promisedShare(streams: number): number {
  return Math.min(0.1, 1 / (2 * Math.max(1, streams)))
}

export class Scheduler {
  readonly #accounts = new Map<string, Account>()
  #turn = 0
  #largestBytes = 0

  constructor(streams: readonly { readonly name: string; readonly priority: number }[]) {
    for (const stream of streams) this.add(stream)
  }

  add({ name, priority }: { readonly name: string; readonly priority: number }): void {
    this.#accounts.set(name, { name, priority, credit: 0, servedTurn: 0 })
  }

  remove(name: string): void {
    this.#accounts.delete(name)
  }

  /** The next of those that could be served now; null without any. */
  pick(ready: readonly string[]): string | null {
    let best: Account | null = null
    for (const name of ready) {
      const account = this.#accounts.get(name)
      if (account && (best === null || goesBefore(account, best))) best = account
    }
    return best?.name ?? null
  }

  /**
   * `name` is served so many bytes. `backlogged`: all streams that could have been, itself
   * included.
   */
  served(name: string, bytes: number, backlogged: readonly string[]): void {
    this.#turn++
    this.#largestBytes = Math.max(this.#largestBytes, bytes)
    const share = promisedShare(backlogged.length) * GENEROSITY
    const waiting = new Set(backlogged)
    for (const account of this.#accounts.values()) {
      // Without a backlog nothing is earned, only a debt is forgotten.
      const top = waiting.has(account.name) ? this.#largestBytes * MAX_CREDIT_BATCHES : 0
      account.credit = Math.min(Math.max(account.credit, top), account.credit + share * bytes)
      if (account.name !== name) continue
      // What it was sent while no one else waited is no debt: at most one batch.
      account.credit = Math.max(account.credit - bytes, -bytes)
      account.servedTurn = this.#turn
    }
  }
}

function goesBefore(a: Account, b: Account): boolean {
  const aOwed = a.credit > 0
  const bOwed = b.credit > 0
  if (aOwed !== bOwed) return aOwed
  if (aOwed && a.credit !== b.credit) return a.credit > b.credit
  if (a.priority !== b.priority) return a.priority < b.priority
  return a.servedTurn < b.servedTurn
}
