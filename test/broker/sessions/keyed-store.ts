/**
 * A KeyedStore in memory whose commits the test closes by hand, and whose content outlives its
 * users.
 */

import type { Appender, KeyedStore, Ticket } from '../../../gateway/ports/appender.ts'

export class ManualCommits implements Pick<Appender, 'durableTicket' | 'onDurable'> {
  durableTicket: Ticket = 0
  openTicket: Ticket = 1
  readonly #listeners: ((ticket: Ticket) => void)[] = []
  #pending: (() => void)[] = []

  onDurable(listener: (ticket: Ticket) => void): void {
    this.#listeners.push(listener)
  }

  add(op: () => void): Ticket {
    this.#pending.push(op)
    return this.openTicket
  }

  get pending(): number {
    return this.#pending.length
  }

  /** fsync: what is pending is in the store from now on. */
  commit(): void {
    for (const op of this.#pending.splice(0)) op()
    this.durableTicket = this.openTicket
    this.openTicket += 1
    for (const listener of this.#listeners) listener(this.durableTicket)
  }

  /** The power goes: what was not committed never was. */
  crash(): void {
    this.#pending = []
  }
}

/** The content of a store, by key; a new `store()` on it is a new start. */
export type Content = Map<string, Uint8Array>

export type Contents = Readonly<Record<Space, Content>>

type Space = Parameters<Appender['keyed']>[0]

export function emptyContents(): Contents {
  return {
    retained: new Map(),
    subscriptions: new Map(),
    wills: new Map(),
    copies: new Map(),
    devices: new Map(),
  }
}

/** `commits` null: every operation is durable at once, under ticket 1. */
export function storeOn(
  contents: Contents,
  commits: ManualCommits | null = null,
): Pick<Appender, 'keyed' | 'durableTicket' | 'onDurable'> {
  return {
    keyed: (space) => keyed(contents[space], commits),
    get durableTicket() {
      return commits?.durableTicket ?? 1
    },
    onDurable: (listener) => commits?.onDurable(listener),
  }
}

function keyed(content: Content, commits: ManualCommits | null): KeyedStore {
  const run = (op: () => void): Ticket => {
    if (commits !== null) return commits.add(op)
    op()
    return 1
  }
  return {
    entries: async () => Promise.resolve([...content]),
    put: (key, value) => run(() => content.set(key, Uint8Array.from(value))),
    delete: (key) => run(() => content.delete(key)),
  }
}
