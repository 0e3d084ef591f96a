/**
 * An Appender in memory for tests of the broker: the durable point can be held, streams can be
 * full, and the durable state can be taken over by a second one, as after a kill.
 */
import {
  type Appender,
  type Envelope,
  type Journal,
  type KeyedStore,
  type Lane,
  type Message,
  type MessageProperties,
  MUST_WAIT,
  type Passage,
  type RecoveredJournal,
  type StreamIntake,
  type Ticket,
  type TicketRange,
} from '../../gateway/ports/appender.ts'

export interface StoredRecord {
  readonly stream: string
  readonly device: string
  readonly topic: string
  readonly payload: string
  readonly qos: number
  readonly dup: boolean
  readonly retain: boolean
  readonly will: boolean
  /** Of a stream that wants them. */
  readonly properties?: MessageProperties
  readonly ticket: Ticket
}

type Space = 'retained' | 'subscriptions' | 'wills' | 'copies' | 'devices'

/** What a kill leaves: only what a commit made durable. */
export interface DurableState {
  readonly records: readonly StoredRecord[]
  readonly journals: ReadonlyMap<string, RecoveredJournal>
  readonly keyed: Readonly<Record<Space, ReadonlyMap<string, Uint8Array>>>
}

export interface StreamSpec {
  readonly name: string
  readonly topics: readonly string[]
  readonly device?: 'clientId' | `topic:${number}`
  /** @default false */
  readonly wantsProperties?: boolean
  /** A sink that the test plays; `passed` tells of it. */
  readonly passage?: Passage
}

/** What nobody waits for is committed after so long, if nothing else is. */
const LAZY_MS = 100

interface Commit {
  readonly ticket: Ticket
  readonly records: readonly StoredRecord[]
  readonly journals: readonly (readonly [string, Uint8Array])[]
  readonly keyed: readonly (readonly [Space, string, Uint8Array | null])[]
}

const SPACES: readonly Space[] = ['retained', 'subscriptions', 'wills', 'copies', 'devices']

export class MemoryAppender implements Appender {
  readonly streams: readonly StreamIntake[]
  /** Only durable records. */
  readonly records: StoredRecord[] = []
  /** Messages that the broker handed over as refused: dead letters of the spool. */
  readonly deadLetters: {
    readonly stream: string
    readonly topic: string
    readonly reason: string
  }[] = []
  /** Appends that answered MUST_WAIT. */
  mustWaits = 0
  /** Messages at QoS 0 dropped because their stream is full. */
  droppedQos0 = 0
  commits = 0
  /** Keep nothing per record: for measurements. */
  isDiscarding = false
  /** The opening's commit. */
  #durable: Ticket = 1
  #open: { records: StoredRecord[]; keyed: [Space, string, Uint8Array | null][]; isDue: boolean } =
    fresh()
  readonly #onDurable: ((ticket: Ticket) => void)[] = []
  readonly #onSpace: (() => void)[] = []
  readonly #onPassed: ((lost: readonly TicketRange[]) => void)[] = []
  readonly #onLost: ((lost: TicketRange) => void)[] = []
  readonly #journals = new Map<string, Journal>()
  readonly #journalState = new Map<
    string,
    { checkpoint: Uint8Array | null; changes: Uint8Array[] }
  >()
  readonly #keyed: Record<Space, Map<string, Uint8Array>>
  readonly #pending: Commit[] = []
  readonly #full = new Map<string, number>()
  #isHeld = false
  #isScheduled = false
  #ticket: Ticket = 2

  constructor(specs: readonly StreamSpec[], recovered?: DurableState) {
    this.streams = specs.map((spec) => ({
      name: spec.name,
      topics: spec.topics,
      device: spec.device ?? 'clientId',
      wantsProperties: spec.wantsProperties ?? false,
      passage: spec.passage ?? null,
      envelope: (device: string, topic: string): Envelope => ({
        bytes: Buffer.from(JSON.stringify([device, topic])),
      }),
    }))
    this.#keyed = {
      retained: new Map(recovered?.keyed.retained),
      subscriptions: new Map(recovered?.keyed.subscriptions),
      wills: new Map(recovered?.keyed.wills),
      copies: new Map(recovered?.keyed.copies),
      devices: new Map(recovered?.keyed.devices),
    }
    this.records.push(...(recovered?.records ?? []))
    for (const [name, { checkpoint, changes }] of recovered?.journals ?? []) {
      this.#journalState.set(name, { checkpoint, changes: [...changes] })
    }
  }

  get isTight(): boolean {
    return [...this.#full.values()].some((room) => room <= 0)
  }

  accepts({ name }: StreamIntake): boolean {
    return (this.#full.get(name) ?? 1) > 0
  }

  get durableTicket(): Ticket {
    return this.#durable
  }

  append(lanes: readonly Lane[], message: Message): Ticket {
    if (lanes.length === 0) return this.#durable
    if (message.refusal !== null) {
      for (const { stream, envelope } of lanes) {
        const [, topic] = JSON.parse(Buffer.from(envelope.bytes).toString()) as [string, string]
        this.deadLetters.push({ stream: stream.name, topic, reason: message.refusal })
      }
      message.fate = 'kept'
      return this.touch()
    }
    message.fate = 'kept'
    const isFull = lanes.some(
      ({ stream }) => (this.#full.get(stream.name) ?? Number.POSITIVE_INFINITY) <= 0,
    )
    if (isFull && message.qos > 0) {
      this.mustWaits += 1
      return MUST_WAIT
    }
    for (const { stream, envelope } of lanes) {
      const room = this.#full.get(stream.name)
      if (room !== undefined && room <= 0) {
        this.droppedQos0 += 1
        continue
      }
      if (room !== undefined) this.#full.set(stream.name, room - 1)
      if (this.isDiscarding) continue
      const [device, topic] = JSON.parse(Buffer.from(envelope.bytes).toString()) as [string, string]
      const { qos, dup, retain, will } = message
      const properties = stream.wantsProperties ? message.properties : null
      const payload = Buffer.from(message.payload.subarray(message.start, message.end)).toString()
      this.#open.records.push({
        stream: stream.name,
        device,
        topic,
        payload,
        qos,
        dup,
        retain,
        will,
        ...(properties === null ? {} : { properties }),
        ticket: this.#ticket,
      })
    }
    return this.touch()
  }

  touch(): Ticket {
    this.#open.isDue = true
    this.#schedule()
    return this.#ticket
  }

  onDurable(listener: (ticket: Ticket) => void): void {
    this.#onDurable.push(listener)
  }

  onPassed(listener: (lost: readonly TicketRange[]) => void): void {
    this.#onPassed.push(listener)
  }

  onLost(listener: (lost: TicketRange) => void): void {
    this.#onLost.push(listener)
  }

  /** A record of such commits is lost, which is not durable yet. */
  lose(lost: TicketRange): void {
    for (const listener of this.#onLost) listener(lost)
  }

  /** A passage has moved on. */
  passed(lost: readonly TicketRange[] = []): void {
    for (const range of lost) this.lose(range)
    for (const listener of this.#onPassed) listener(lost)
  }

  onSpace(listener: () => void): void {
    this.#onSpace.push(listener)
  }

  attach(journal: Journal): RecoveredJournal {
    if (this.#journals.has(journal.name))
      throw new Error(`journal ${journal.name} is attached already`)
    this.#journals.set(journal.name, journal)
    return this.#journalState.get(journal.name) ?? { checkpoint: null, changes: [] }
  }

  keyed(space: Space): KeyedStore {
    const change = (key: string, value: Uint8Array | null, lazily = false): Ticket => {
      this.#open.keyed.push([space, key, value])
      if (!lazily) return this.touch()
      setTimeout(() => this.touch(), LAZY_MS).unref()
      return this.#ticket
    }
    return {
      entries: async () => Promise.resolve([...this.#keyed[space]]),
      put: (key, value) => change(key, Buffer.from(value)),
      delete: (key, lazily) => change(key, null, lazily),
    }
  }

  // What tests turn.

  /** Commits are made, but none becomes durable. */
  hold(): void {
    this.#isHeld = true
  }

  /** The commits that were held become durable, in order. */
  release(): void {
    this.#isHeld = false
    this.#schedule()
    this.#settle()
  }

  /** The stream takes so many records more, then is full; null: no limit. Room is announced. */
  setRoom(stream: string, records: number | null): void {
    if (records === null) this.#full.delete(stream)
    else this.#full.set(stream, records)
    if (records !== 0) for (const listener of this.#onSpace) listener()
  }

  /** Journal checkpoints as the spool asks for them now and then. */
  checkpoint(): void {
    for (const [name, journal] of this.#journals) {
      this.#journalState.set(name, { checkpoint: journal.checkpoint(), changes: [] })
    }
  }

  /** Every record of a stream as `payload`, durable ones only. */
  payloads(stream: string): string[] {
    return this.records.filter((record) => record.stream === stream).map(({ payload }) => payload)
  }

  /** What is on disk if the process dies now. */
  crash(): DurableState {
    return {
      records: [...this.records],
      journals: new Map(
        [...this.#journalState].map(([name, { checkpoint, changes }]) => [
          name,
          { checkpoint, changes: [...changes] },
        ]),
      ),
      keyed: {
        retained: new Map(this.#keyed.retained),
        subscriptions: new Map(this.#keyed.subscriptions),
        wills: new Map(this.#keyed.wills),
        copies: new Map(this.#keyed.copies),
        devices: new Map(this.#keyed.devices),
      },
    }
  }

  #schedule(): void {
    if (this.#isScheduled || !this.#open.isDue) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#commit()
    })
  }

  #commit(): void {
    const { records, keyed } = this.#open
    const journals: (readonly [string, Uint8Array])[] = []
    for (const [name, journal] of this.#journals) {
      const changes = journal.collect()
      if (changes !== null) journals.push([name, changes])
    }
    this.#pending.push({ ticket: this.#ticket, records, journals, keyed })
    this.#ticket += 1
    this.#open = fresh()
    this.commits += 1
    this.#settle()
  }

  #settle(): void {
    while (!this.#isHeld) {
      const commit = this.#pending.shift()
      if (commit === undefined) return
      for (const record of commit.records) this.records.push(record)
      for (const [name, changes] of commit.journals) {
        const state = this.#journalState.get(name) ?? { checkpoint: null, changes: [] }
        if (!this.isDiscarding) state.changes.push(changes)
        this.#journalState.set(name, state)
      }
      for (const [space, key, value] of commit.keyed) {
        if (value === null) this.#keyed[space].delete(key)
        else this.#keyed[space].set(key, value)
      }
      this.#durable = commit.ticket
      for (const listener of this.#onDurable) listener(commit.ticket)
    }
  }
}

function fresh(): {
  records: StoredRecord[]
  keyed: [Space, string, Uint8Array | null][]
  isDue: boolean
} {
  return { records: [], keyed: [], isDue: false }
}

/** For tests that compare whole states. */
export function keyedKeys(state: DurableState): Record<Space, string[]> {
  return Object.fromEntries(
    SPACES.map((space) => [space, [...state.keyed[space].keys()]]),
  ) as Record<Space, string[]>
}
