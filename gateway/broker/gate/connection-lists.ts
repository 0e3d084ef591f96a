/**
 * Connections by what they wait for: each adds and removes itself, and the gate calls it back when
 * that may have come.
 */
import { MAX_FINISHING_FRAMES } from '../limits.ts'

export class ConnectionLists<C> {
  readonly all = new Set<C>()
  /** Owed acks: called at each commit. */
  readonly owing = new Set<C>()
  /** Messages wait for room in a stream. */
  readonly waiting = new Set<C>()
  /** The frame at the head is held. */
  readonly blocked = new Set<C>()
  /** Not read from, because all hold-backs together are over their bound. */
  readonly starved = new Set<C>()
  /** Of the starved: those that read on to the end of a frame, since when. */
  readonly finishing = new Map<C, number>()

  /** May it read on to the end of a frame, while others wait? A few may at the same time. */
  mayFinish(connection: C, nowMs: number): boolean {
    if (this.finishing.has(connection)) return true
    if (this.finishing.size >= MAX_FINISHING_FRAMES) return false
    this.finishing.set(connection, nowMs)
    return true
  }

  /** It is closed. */
  remove(connection: C): void {
    this.all.delete(connection)
    this.owing.delete(connection)
    this.waiting.delete(connection)
    this.blocked.delete(connection)
    this.starved.delete(connection)
    this.finishing.delete(connection)
  }
}

/** Is the connection in the set from now on? */
export function place<C>(set: Set<C>, connection: C, isIn: boolean): void {
  if (isIn) set.add(connection)
  else set.delete(connection)
}
