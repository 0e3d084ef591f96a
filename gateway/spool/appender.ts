/**
 * The broker's side of the spool. One synchronous call per message: every matching stream gives its
 * verdict, or the whole message waits (I6). Nothing here knows of acks: the broker withholds them
 * until the ticket is durable (I1).
 */
import {
  type Appender,
  type Fate,
  type Journal,
  type KeyedStore,
  type Lane,
  type Message,
  MUST_WAIT,
  type RecoveredJournal,
  type StreamIntake,
  type Ticket,
  type TicketRange,
} from '../ports/appender.ts'
import { checked, withCrc } from './codec/checked.ts'
import type { Committer } from './commit/committer.ts'
import type { Journals } from './commit/journals.ts'
import { type KeyedSpace, keyedKey, keyedName, keyedRange } from './store/keys.ts'
import { Intake } from './stream/intake.ts'
import type { LeaseKeeper } from './stream/leases.ts'
import type { StreamPassage } from './stream/passage.ts'
import type { OpenCommit, SpoolStream } from './stream/stream.ts'

/**
 * Raw bytes that may wait for durability; beyond, QoS 1 and 2 wait and QoS 0 is dropped, counted.
 */
export const MAX_OPEN_BYTES = 64 * 1024 * 1024

interface AppenderHost {
  readonly committer: Committer
  readonly openCommit: OpenCommit
  readonly leases: LeaseKeeper
  readonly journals: Journals
  /** False below `minFreeBytes`, while the store is failing, and from a stop on. */
  accepting(): boolean
  /** Raw bytes that are not durable yet. */
  openBytes(): number
  readonly maxOpenBytes: number
  /** Something that was read is not what was written (I7). */
  damaged(what: string): void
}

export class SpoolAppender implements Appender {
  #streams: readonly Intake[]
  readonly #host: AppenderHost
  readonly #passedListeners: Array<(lost: readonly TicketRange[]) => void> = []
  /** Those that are listened to. */
  #passages: readonly StreamPassage[] = []
  readonly #spaceListeners: Array<() => void> = []
  #waiting = false

  constructor(host: AppenderHost, streams: readonly SpoolStream[]) {
    this.#host = host
    this.#streams = streams.map((stream) => new Intake(stream, host.openCommit))
    this.#hearNewPassages()
  }

  get streams(): readonly Intake[] {
    return this.#streams
  }

  /**
   * The streams that take messages from now on, in that order, each with the configuration that it
   * has now. The intake of a stream that stays is the same one.
   */
  reconfigure(streams: readonly SpoolStream[]): void {
    const known = new Map(this.#streams.map((intake) => [intake.stream, intake]))
    this.#streams = streams.map(
      (stream) => known.get(stream) ?? new Intake(stream, this.#host.openCommit),
    )
    for (const intake of this.#streams) intake.reconfigure()
    this.#hearNewPassages()
  }

  append(lanes: readonly Lane[], message: Message): Ticket {
    const { committer, leases } = this.#host
    if (lanes.length === 0) return committer.durableTicket
    const closed = !this.#host.accepting() || this.#host.openBytes() >= this.#host.maxOpenBytes
    if (message.qos > 0) {
      if (closed) return this.#mustWait()
      for (const lane of lanes)
        if ((lane.stream as Intake).mustWait(message)) return this.#mustWait()
    }
    let fate: Fate = 'dropped'
    for (const lane of lanes) {
      const intake = lane.stream as Intake
      const one = intake.take(message, lane.envelope, closed)
      if (one === 'kept' || fate === 'dropped') fate = one
      leases.taken(intake.stream)
    }
    message.fate = fate
    committer.filled()
    return committer.openTicket
  }

  #mustWait(): Ticket {
    this.#waiting = true
    return MUST_WAIT
  }

  /**
   * There may be room again: a commit deleted something, a lease was raised, the disk has space.
   */
  space(): void {
    if (!this.#waiting || !this.#host.accepting()) return
    this.#waiting = false
    for (const listener of this.#spaceListeners) listener()
  }

  touch(): Ticket {
    return this.#host.committer.touch()
  }

  get isTight(): boolean {
    return !this.#host.accepting() || this.streams.some(({ isTight }) => isTight)
  }

  accepts(stream: StreamIntake): boolean {
    return this.#host.accepting() && (stream as Intake).hasRoom
  }

  get durableTicket(): Ticket {
    return this.#host.committer.durableTicket
  }

  onDurable(listener: (ticket: Ticket) => void): void {
    this.#host.committer.onDurable(listener)
  }

  onPassed(listener: (lost: readonly TicketRange[]) => void): void {
    this.#passedListeners.push(listener)
    for (const passage of this.#passages) passage.onAdvance(listener)
  }

  /** Streams that were reconfigured may have one that is new. */
  #hearNewPassages(): void {
    const passages = this.streams.flatMap(({ passage }) => passage ?? [])
    const isNew = (passage: StreamPassage): boolean => !this.#passages.includes(passage)
    for (const passage of passages.filter(isNew))
      for (const listener of this.#passedListeners) passage.onAdvance(listener)
    this.#passages = passages
  }

  onLost(listener: (lost: TicketRange) => void): void {
    for (const { passage } of this.streams) passage?.onLoss(listener)
  }

  onSpace(listener: () => void): void {
    this.#spaceListeners.push(listener)
  }

  attach(journal: Journal): RecoveredJournal {
    return this.#host.journals.attach(journal)
  }

  keyed(space: Exclude<KeyedSpace, 'notes'>): KeyedStore {
    const { committer } = this.#host
    return {
      entries: async () => {
        const all: Array<readonly [string, Uint8Array]> = []
        for await (const [key, stored] of committer.store.entries(keyedRange(space))) {
          const value = checked(stored)
          if (value) all.push([keyedName(key), value])
          else this.#host.damaged(`a value under ${space} is damaged`)
        }
        return all
      },
      put: (key, value) => {
        committer.add({ type: 'put', key: keyedKey(space, key), value: withCrc(value) })
        return committer.touch()
      },
      delete: (key, lazily) => {
        committer.add({ type: 'del', key: keyedKey(space, key) })
        return committer.touch(lazily)
      },
    }
  }
}
