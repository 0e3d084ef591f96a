/**
 * CONNECT admission: after an outage of the network thousands of devices come back within seconds,
 * and each CONNECT costs as much as a hundred messages (session, login, CONNACK). So only
 * some are handled per turn of the event loop, and the others wait in order; acks of those that
 * publish leave in between (I6). The queue holds one entry per connection, so
 * `maxConnections` bounds it. A client that waits longer than `authTimeout` is closed; its
 * authentication has that time anew, so that a storm does not eat it up.
 *
 * Pure but for the scheduling, which is handed in. Not here: how many connections there may be
 * (listeners).
 */

import { Fifo } from '../../shared/fifo.ts'

/**
 * CONNECTs that are begun per turn of the event loop: 2 to 4 ms of work, a small share of a commit
 * interval.
 */
export const CONNECTS_PER_TURN = 8

/** Begins the work for one CONNECT. False: its connection is gone, and it cost nothing. */
type BeginConnect = () => boolean

export class ConnectAdmission {
  readonly #perTurn: number
  readonly #nextTurn: (step: () => void) => void
  readonly #waiting = new Fifo<BeginConnect>()
  #begun = 0
  #isScheduled = false

  /** `perTurn`: at least 1. `nextTurn`: calls a step once, in the next turn. */
  constructor(
    perTurn: number = CONNECTS_PER_TURN,
    nextTurn: (step: () => void) => void = (step) => void setImmediate(step),
  ) {
    this.#perTurn = perTurn
    this.#nextTurn = nextTurn
  }

  /** CONNECTs that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length
  }

  /** Begins at once if this turn has room and none waits; else in a later turn, in order. */
  enter(begin: BeginConnect): void {
    if (this.waiting > 0 || this.#begun >= this.#perTurn) this.#waiting.push(begin)
    else if (begin()) this.#begun += 1
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled || (this.#begun === 0 && this.waiting === 0)) return
    this.#isScheduled = true
    this.#nextTurn(() => this.#turn())
  }

  #turn(): void {
    this.#isScheduled = false
    this.#begun = 0
    while (this.waiting > 0 && this.#begun < this.#perTurn) {
      const begin = this.#waiting.shift()!
      if (begin()) this.#begun += 1
    }
    this.#schedule()
  }
}
