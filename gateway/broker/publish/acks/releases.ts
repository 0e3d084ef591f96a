/**
 * PUBCOMPs that a connection is owed (I3), in the order of its PUBRELs: each leaves when the removal
 * of its packet id is durable, and not before the PUBREC of a client that did not wait for it.
 */
import type { Ticket } from '../../../ports/appender.ts'
import { PUBCOMP, PUBREC } from '../../mqtt/packets.ts'
import { REASON, type ReasonCode } from '../../mqtt/v5/reason-codes.ts'
import { AckQueue } from './ack-queue.ts'

/** As many as there are packet ids. */
const MAX_RELEASES = 65_535

export class Releases {
  readonly #pubcomps = new AckQueue()
  /** PUBCOMPs of clients that did not wait, each with the place of its PUBREC. */
  readonly #early: { readonly position: number; readonly pubrec: number }[] = []

  get isFull(): boolean {
    return this.#pubcomps.length >= MAX_RELEASES
  }

  get isEmpty(): boolean {
    return this.#pubcomps.length === 0
  }

  /** A commit will release one. */
  get awaitsCommit(): boolean {
    return this.#pubcomps.awaitsCommit
  }

  /** `pubrecs`: where to look for the PUBREC if it has not left yet; null: it has. */
  add(
    packetId: number,
    ticket: Ticket,
    arrivedMs: number,
    pubrecs: AckQueue | null,
    code: ReasonCode = REASON.success,
  ): void {
    const position = this.#pubcomps.push(PUBCOMP, packetId, ticket, 0, arrivedMs)
    if (code !== REASON.success) this.#pubcomps.setCode(position, code)
    const pubrec = pubrecs?.find(PUBREC, packetId) ?? -1
    if (pubrec >= 0) this.#early.push({ position, pubrec })
  }

  /** PUBCOMPs that the last {@link take} took. */
  get taken(): number {
    return this.#pubcomps.takenFinal
  }

  isDue(durable: Ticket): boolean {
    return this.#pubcomps.isDue(durable)
  }

  /** Call when `pubrecs` has been taken from. */
  take(durable: Ticket, pubrecs: AckQueue): Buffer | null {
    while (this.#early.length > 0 && this.#early[0]!.pubrec < pubrecs.head) this.#early.shift()
    return this.#pubcomps.take(durable, null, 0, this.#early[0]?.position)
  }
}
