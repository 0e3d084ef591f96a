/**
 * One count for what must keep its order on the way to local subscribers: each retained value that
 * is staged and each message that is offered takes a number when it is taken from its publisher; a
 * subscription notes the last number at the moment in which it begins. So it gets as live copies
 * what was published behind it, and as retained messages what stood there, never one message as
 * both and nothing from before it; however long the commits in between take.
 */
export class DeliveryOrder {
  #last = 0

  /** The number that was given last; 0: none was. */
  get last(): number {
    return this.#last
  }

  next(): number {
    this.#last += 1
    return this.#last
  }
}
