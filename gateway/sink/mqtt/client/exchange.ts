/**
 * One batch over one connection: a window of PUBLISHes until each message is acknowledged. The
 * packet id of a message is its slot, its place in the batch, so a repeat has the same one.
 *
 * QoS 1: PUBACK ends a message. QoS 2, exactly once over kills of both sides: nothing is released
 * (PUBREL) before it is noted durably that it arrived (PUBREC), and what is noted is never
 * published again, only released. A kill before the note repeats PUBLISHes under the same ids, which
 * the broker's session knows; a kill behind it repeats PUBRELs. Ids are free again for the next
 * batch, since a batch ends only when all of its messages have.
 *
 * Reads messages one by one and holds those of the window alone. Does not judge: it stops at the
 * first message that the broker did not take, and says how far it came.
 */
import type { AckListener, AckPacket } from './connection.ts'
import type { Ending } from './ending.ts'
import { OVER_LIMIT, type ReleaseNote } from './note.ts'
import type { PublishPace } from './pace.ts'
import { type CodeWord, codeText, publishWord } from './reason-codes.ts'

/** A message, or why its record cannot be one. */
export interface Outgoing {
  /** null: it is no record's. */
  readonly seq: number | null
  readonly refusal: string | null
  /** It is larger than what is taken now: another try may be allowed more, or less. */
  readonly isOverLimit?: boolean
  /** With its packet id. */
  encode(packetId: number, dup: boolean): Uint8Array
}

export interface RefusedMessage {
  readonly slot: number
  /** null: nobody here reads its record any more. */
  readonly seq: number | null
  readonly code: string | null
  readonly reason: string
  /** What the note says of it; null: nothing, each try finds it again. */
  readonly noted: number | null
}

/** The broker did not take a message, in a way that does not concern it alone. */
export interface Stop {
  readonly word: CodeWord
  readonly code: number
  readonly reason: string | null
}

export interface ExchangeProgress {
  /** Slots before it are done with. */
  readonly done: number
  /** All messages of the batch are. */
  readonly isComplete: boolean
  /** Seq of the last record before `done`; null: none. */
  readonly doneThroughSeq: number | null
  /** Of the slots before `done`. */
  readonly refused: readonly RefusedMessage[]
  /** First of the batch's slots that was not published, in this try. */
  readonly published: number
  readonly stop: Stop | 'note-too-long' | null
  /** Of the connection; null: it is still open. */
  readonly ending: Ending | null
  /** The note could not be stored. */
  readonly failure: Error | null
  readonly sentBytes: number
}

interface ExchangeOptions {
  readonly messages: AsyncIterable<Outgoing>
  readonly connection: {
    listener: AckListener | null
    write(bytes: Uint8Array): void
    destroy(ending: Ending): void
  }
  readonly version: '3.1.1' | '5'
  readonly window: number
  /** null: as fast as the window lets it. */
  readonly pace?: PublishPace | null
  readonly noSubscribers: 'accept' | 'hold'
  /** Slots before it may have been published before. */
  readonly dupBefore: number
  /** QoS 2 alone; null: QoS 1. */
  readonly release: ReleasePhase | null
  /** Nothing is acknowledged for so long, ms. */
  readonly timeoutMs: number
}

export interface ReleasePhase {
  /** As it was noted; `done` of it is where this try begins. */
  readonly from: ReleaseNote
  /** The broker has its session of an earlier try: an id that is in use there is this batch's. */
  readonly isKept: boolean
  /** Resolves when it is durable; false: it is too long. */
  keep(note: ReleaseNote): Promise<boolean>
}

const MAX_ID = 65_535
/** Answer of MQTT 5 to a PUBLISH whose id has a message already. */
const ID_IN_USE = 0x91

export class Exchange implements AckListener {
  readonly #o: ExchangeOptions
  readonly #seqs: Array<number | null> = []
  readonly #refused = new Map<number, RefusedMessage>()
  /** Slots at or behind `#arrived` or `#done` that came out of order. */
  readonly #early = { arrived: new Set<number>(), done: new Set<number>() }
  #published: number
  /** PUBREC, PUBACK or a refusal was there for all before it. */
  #arrived: number
  /** QoS 2: this is durably noted. */
  #noted: number
  #done: number
  #total = Number.POSITIVE_INFINITY
  #isNoting = false
  #stop: ExchangeProgress['stop'] = null
  #ending: Ending | null = null
  #failure: Error | null = null
  #out: Uint8Array[] = []
  #sentBytes = 0
  #wake: () => void = () => undefined
  #timer: NodeJS.Timeout | null = null

  constructor(options: ExchangeOptions) {
    this.#o = options
    const from = options.release?.from
    this.#done = from?.done ?? 0
    this.#arrived = from?.arrived ?? 0
    this.#noted = this.#arrived
    this.#published = this.#arrived
    for (const [slot, code] of from?.refused ?? []) {
      if (code === OVER_LIMIT) this.#refuseHere(slot, null, 'larger than what was taken', true)
      else this.#refuse(slot, code, null)
    }
  }

  /** Until all is done, or nothing more can be. Never rejects but for what `messages` throws. */
  async run(): Promise<ExchangeProgress> {
    const { connection } = this.#o
    connection.listener = this
    try {
      this.#releaseFrom(this.#done)
      await this.#publishAll()
      await this.#until(() => this.#done === this.#total || this.#isStuck)
    } finally {
      if (this.#timer !== null) clearTimeout(this.#timer)
      connection.listener = null
    }
    // A note in the making is of this batch: it ends before the next try reads it.
    await this.#until(() => !this.#isNoting)
    return this.#progress()
  }

  onAcks(packets: readonly AckPacket[]): void {
    for (const packet of packets) this.#take(packet)
    this.#advance()
    this.#wake()
  }

  onEnd(ending: Ending): void {
    this.#ending ??= ending
    this.#wake()
  }

  async #publishAll(): Promise<void> {
    let slot = 0
    for await (const message of this.#o.messages) {
      this.#seqs.push(message.seq)
      if (slot >= this.#published && message.refusal === null) {
        await this.#until(() => this.#hasRoom || this.#stop !== null || this.#isStuck)
        await this.#paced()
      }
      if (this.#stop !== null || this.#isStuck) return
      this.#offer(slot, message)
      slot += 1
    }
    this.#total = slot
  }

  async #paced(): Promise<void> {
    const waitMs = this.#o.pace?.waitMs ?? 0
    if (waitMs === 0) return
    let isDue = false
    const timer = setTimeout(() => {
      isDue = true
      this.#wake()
    }, waitMs)
    await this.#until(() => isDue || this.#stop !== null || this.#isStuck)
    clearTimeout(timer)
  }

  #offer(slot: number, message: Outgoing): void {
    const { seq, refusal, isOverLimit = false } = message
    const isNew = slot >= this.#published
    // One that was sent when more was taken is no refusal now.
    if (refusal !== null && !this.#refused.has(slot) && (isNew || !isOverLimit))
      this.#refuseHere(slot, seq, refusal, isOverLimit)
    if (!isNew) return
    this.#published = slot + 1
    if (refusal === null) {
      const bytes = message.encode(idOf(slot), slot < this.#o.dupBefore)
      this.#send(bytes)
      this.#o.pace?.sent(bytes.length)
      if (this.#published - this.#done === 1) this.#moved()
    } else {
      this.#arrives(slot)
      this.#advance()
    }
  }

  get #hasRoom(): boolean {
    return this.#published - this.#done < this.#o.window
  }

  /** Nothing that is still to come can be waited for. */
  get #isStuck(): boolean {
    if (this.#ending !== null || this.#failure !== null) return true
    // What was published before the message that stopped it still comes to its end.
    return this.#stop !== null && this.#done === this.#arrived && !this.#isNoting
  }

  /** Waits for acknowledgments; what was put together meanwhile leaves first. */
  async #until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) {
      this.#flush()
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  #take({ cmd, messageId = 0, reasonCode = 0, properties }: AckPacket): void {
    const { release, connection } = this.#o
    const slot = this.#slotOf(messageId)
    // A session that goes on may repeat what it said before; QoS 1 has none.
    if (slot === null && release !== null && cmd !== 'puback') return
    const isReleased = slot !== null && slot < this.#noted
    const isExpected = cmd === 'puback' ? release === null : cmd === 'pubrec' || isReleased
    if (slot === null || !isExpected || (cmd === 'pubrec' && release === null)) {
      const detail = `sent ${cmd.toUpperCase()} for packet id ${messageId}, which nothing here waits for`
      return connection.destroy({ kind: 'protocol', detail })
    }
    this.#moved()
    // 0x92 is the answer to a PUBREL that had been there already.
    if (cmd === 'pubcomp') return this.#ends(slot)
    if (slot < this.#arrived) return
    const isRepeat = reasonCode === ID_IN_USE && release?.isKept === true
    const word = isRepeat ? null : publishWord(reasonCode, this.#o.noSubscribers)
    const reason = properties?.reasonString ?? null
    if (word !== null && (word.meaning !== 'refused' || this.#seqs[slot] === null)) {
      this.#stop ??= { word, code: reasonCode, reason }
      return
    }
    if (word !== null) this.#refuse(slot, reasonCode, reason)
    this.#arrives(slot)
  }

  /** The slot among those in progress; null: none of them has this id. */
  #slotOf(id: number): number | null {
    const ahead = (id - idOf(this.#done) + MAX_ID) % MAX_ID
    const slot = this.#done + ahead
    return id !== 0 && slot < this.#published ? slot : null
  }

  #arrives(slot: number): void {
    this.#arrived = advanced(this.#arrived, this.#early.arrived, slot)
    if (this.#o.release === null) this.#ends(slot)
  }

  #ends(slot: number): void {
    this.#done = advanced(this.#done, this.#early.done, slot)
  }

  #refuse(slot: number, code: number, reason: string | null): void {
    const words = publishWord(code, 'accept')?.words ?? 'refused'
    const said = reason === null ? words : `${words}: ${reason}`
    const seq = this.#seqs[slot] ?? null
    this.#refused.set(slot, { slot, seq, code: codeText(code), reason: said, noted: code })
  }

  #refuseHere(slot: number, seq: number | null, reason: string, isOverLimit: boolean): void {
    const noted = isOverLimit ? OVER_LIMIT : null
    this.#refused.set(slot, { slot, seq, code: null, reason, noted })
  }

  /** Phase 2 of what has arrived, once that is durable. */
  #advance(): void {
    const { release } = this.#o
    if (release === null || this.#isNoting || this.#arrived === this.#noted) return
    if (this.#ending !== null || this.#failure !== null) return
    const arrived = this.#arrived
    const refused = new Map<number, number>()
    for (const { slot, noted } of this.#refused.values())
      if (slot < arrived && noted !== null) refused.set(slot, noted)
    this.#isNoting = true
    release
      .keep({ done: this.#done, arrived, refused })
      .then(
        (isKept) => this.#noteKept(arrived, isKept),
        (error: unknown) => {
          this.#failure = error instanceof Error ? error : new Error(String(error))
        },
      )
      .finally(() => {
        this.#isNoting = false
        this.#advance()
        this.#wake()
      })
  }

  #noteKept(arrived: number, isKept: boolean): void {
    if (!isKept) {
      this.#stop ??= 'note-too-long'
      this.#arrived = this.#noted
      return
    }
    const from = this.#noted
    this.#noted = arrived
    this.#releaseFrom(from)
  }

  #releaseFrom(from: number): void {
    if (this.#o.release === null) return
    for (let slot = from; slot < this.#noted; slot++) {
      if (this.#refused.has(slot)) this.#ends(slot)
      else this.#send(pubrel(idOf(slot)))
    }
    if (this.#noted > from) this.#moved()
    this.#flush()
  }

  #send(bytes: Uint8Array): void {
    this.#out.push(bytes)
    this.#sentBytes += bytes.length
  }

  #flush(): void {
    const [first, ...more] = this.#out
    if (first === undefined) return
    this.#o.connection.write(more.length === 0 ? first : Buffer.concat(this.#out))
    this.#out = []
  }

  #moved(): void {
    const { timeoutMs, connection } = this.#o
    if (this.#timer === null) {
      this.#timer = setTimeout(() => {
        // Only the disk is waited for, or nothing at all.
        if (this.#isNoting || this.#published === this.#done) return this.#moved()
        const detail = `acknowledged nothing for ${timeoutMs} ms`
        connection.destroy({ kind: 'silent', detail })
      }, timeoutMs)
    } else this.#timer.refresh()
  }

  #progress(): ExchangeProgress {
    const done = this.#done
    let last = done - 1
    while (last >= 0 && (this.#seqs[last] ?? null) === null) last -= 1
    return {
      done,
      isComplete: done === this.#total,
      doneThroughSeq: last < 0 ? null : (this.#seqs[last] ?? null),
      refused: [...this.#refused.values()]
        .filter(({ slot }) => slot < done)
        .map((one) => ({ ...one, seq: this.#seqs[one.slot] ?? null }))
        .toSorted((a, b) => a.slot - b.slot),
      published: this.#published,
      stop: this.#stop,
      ending: this.#ending,
      failure: this.#failure,
      sentBytes: this.#sentBytes,
    }
  }
}

/** From 1: 0 is none [MQTT-2.3.1-1]. */
function idOf(slot: number): number {
  return (slot % MAX_ID) + 1
}

function pubrel(id: number): Buffer {
  return Buffer.of(0x62, 2, id >> 8, id & 255)
}

/** The border behind which something is missing, after `slot` came; those ahead of it wait. */
function advanced(border: number, early: Set<number>, slot: number): number {
  if (slot < border) return border
  if (slot !== border) {
    early.add(slot)
    return border
  }
  let next = slot + 1
  while (early.delete(next)) next += 1
  return next
}
