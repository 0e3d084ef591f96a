/**
 * Waiting for a commit: promises that resolve when a ticket is durable (I1).
 */
import type { Appender, Ticket } from './appender.ts'

interface Waiting {
  readonly ticket: Ticket
  readonly resolve: () => void
}

export class DurableTickets {
  readonly #appender: Pick<Appender, 'durableTicket'>
  readonly #waiting: Waiting[] = []

  constructor(appender: Pick<Appender, 'durableTicket' | 'onDurable'>) {
    this.#appender = appender
    appender.onDurable((ticket) => this.#onDurable(ticket))
  }

  has(ticket: Ticket): boolean {
    return ticket <= this.#appender.durableTicket
  }

  /** Resolves when the ticket is durable, or at {@link release}. null: nothing is waited for. */
  async until(ticket: Ticket | null): Promise<void> {
    if (ticket === null || this.has(ticket)) return
    await new Promise<void>((resolve) => this.#waiting.push({ ticket, resolve }))
  }

  /** Ends all waiting: no commit follows. */
  release(): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }

  #onDurable(ticket: Ticket): void {
    // Tickets are handed out in rising order, so those that are done are nearly always in front.
    let done = 0
    while (done < this.#waiting.length && this.#waiting[done]!.ticket <= ticket) done += 1
    if (done > 0) for (const { resolve } of this.#waiting.splice(0, done)) resolve()
  }
}
