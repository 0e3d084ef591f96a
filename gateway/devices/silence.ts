/**
 * Tells a stream when one of its devices has fallen silent, and when it is back: a record each, in
 * the stream itself (I5: received like any other), under a topic that no device can publish to.
 *
 * Once each, whatever happens in between: the state of a device is a small value in the spool, which
 * is written in the commit of the record that tells of it. That a stream knows a device is written in
 * the commit of its first message, and the return in the commit of the message that ends the silence
 * if there is room.
 *
 * Time is the time in which a device could have been heard: by the monotonic clock, while the gateway
 * takes connections and the stream takes messages. A step of the wall clock, a stream that is full, a
 * pause of the process make nobody silent; behind a start each device has `silentAfter` anew.
 *
 * A record that finds no room is told later, never dropped.
 */
import { performance } from 'node:perf_hooks'
import {
  type Appender,
  type KeyedStore,
  type Message,
  MUST_WAIT,
  reusableMessage,
  type StreamIntake,
  type Ticket,
} from '../ports/appender.ts'
import type { TakenTopic } from '../ports/devices.ts'
import type { Device } from './device.ts'
import type { EmitDevicesEvent } from './events.ts'
import { readMembership, silenceTopic, storedKey, storedMembership } from './silence-records.ts'
import type { SilenceStats } from './stats.ts'

/** What was heard in a step of {@link Silence.pass} counts from its end, or it would end early. */
export const STEP_MS = 1_000
/** A network that fails silences all devices at once: so many are told in one step, the others next. */
const MAX_RECORDS_PER_STEP = 1_000

interface SilenceOptions {
  readonly appender: Pick<Appender, 'accepts' | 'append' | 'keyed' | 'streams'>
  /** By the names of the streams that want to know, ms. */
  readonly silentAfterMs: ReadonlyMap<string, number>
  readonly emit: EmitDevicesEvent
  /** Wall clock, ms since the epoch. */
  readonly nowMs: () => number
}

interface WatchedStream {
  readonly intake: StreamIntake
  readonly silentAfterMs: number
  /** When a device that was heard is looked at: {@link STEP_MS} later. */
  readonly waitMs: number
  /** Time in which its devices could have been heard. */
  clockMs: number
  /** By the id of the device. */
  readonly members: Map<string, Member>
  /** Nobody falls silent before; by its clock. */
  dueMs: number
  silent: number
}

/** A device that has published to a stream. */
interface Member {
  readonly device: Device
  /** By the stream's clock. */
  heardMs: number
  /** Wall clock: for people. */
  heardAtMs: number
  topic: string
  /** A record has told of it; durable with that record. */
  silentSinceMs: number | null
}

export class Silence {
  readonly #options: SilenceOptions
  readonly #store: KeyedStore
  readonly #streams = new Map<string, WatchedStream>()
  /** Back, and not told yet: their stream had no room. */
  readonly #back = new Map<Member, WatchedStream>()
  readonly #message: Message = reusableMessage()
  /** Values of streams that do not want to know any more, or are no more. */
  readonly #strays: string[] = []
  #silent = 0

  constructor(options: SilenceOptions) {
    this.#options = options
    this.#store = options.appender.keyed('devices')
    for (const intake of options.appender.streams) {
      const silentAfterMs = options.silentAfterMs.get(intake.name)
      if (silentAfterMs === undefined) continue
      this.#streams.set(intake.name, {
        intake,
        silentAfterMs,
        waitMs: silentAfterMs + STEP_MS,
        clockMs: 0,
        members: new Map(),
        dueMs: Number.POSITIVE_INFINITY,
        silent: 0,
      })
    }
  }

  /** Takes up what is stored. `deviceOf`: the device of an id, made if it is not known. */
  async recover(deviceOf: (id: string, heardAtMs: number) => Device): Promise<void> {
    for (const [key, value] of await this.#store.entries()) {
      const found = readMembership(key, value)
      const stream = found && this.#streams.get(found.stream)
      if (!found || !stream) {
        this.#strays.push(key)
        continue
      }
      const device = deviceOf(found.device, found.heardAtMs)
      const { heardAtMs, topic, silentSinceMs } = found
      const latestMs = Math.max(heardAtMs, device.lastMessageAtMs ?? 0)
      this.#join(stream, device, { topic, silentSinceMs, heardAtMs: latestMs })
      if (silentSinceMs !== null) this.#noteSilent(stream, device, silentSinceMs)
    }
  }

  /** Some stream wants to know. */
  get isWanted(): boolean {
    return this.#streams.size > 0
  }

  /** Devices that are silent on a stream at least. */
  get silentDevices(): number {
    return this.#silent
  }

  /** `isListening`: the gateway takes connections. */
  stats(isListening: boolean): SilenceStats[] {
    return [...this.#streams].map(([stream, { intake, silentAfterMs, silent }]) => ({
      stream,
      silentAfterMs,
      silent,
      isJudged: isListening && this.#options.appender.accepts(intake),
    }))
  }

  /** Call before it runs: what is stored for nobody goes. */
  discardStrays(): void {
    for (const key of this.#strays.splice(0)) this.#store.delete(key, true)
  }

  /** A message of the device was taken, in this synchronous run: what is stored rides with it. */
  heard(device: Device, { topic, lanes }: TakenTopic): void {
    for (const lane of lanes) {
      const stream = this.#streams.get(lane.stream.name)
      if (stream === undefined) continue
      const known = stream.members.get(device.id)
      const heardAtMs = this.#options.nowMs()
      if (known === undefined) {
        this.#keep(stream, this.#join(stream, device, { topic, heardAtMs, silentSinceMs: null }))
        continue
      }
      known.heardMs = stream.clockMs
      known.heardAtMs = heardAtMs
      known.topic = topic
      if (known.silentSinceMs !== null) this.#tellBack(stream, known)
    }
  }

  /** `ms` in which the gateway took connections. */
  pass(ms: number): void {
    for (const [member, stream] of this.#back) this.#tellBack(stream, member)
    for (const stream of this.#streams.values()) {
      if (!this.#options.appender.accepts(stream.intake)) continue
      stream.clockMs += ms
      if (stream.clockMs >= stream.dueMs) this.#look(stream)
    }
  }

  /**
   * Nothing is told of it any more. `lazily`: that need not be durable soon. The commit of it; null:
   * no stream knew it.
   */
  forget(device: Device, lazily: boolean): Ticket | null {
    let ticket: Ticket | null = null
    for (const stream of this.#streams.values()) {
      const member = stream.members.get(device.id)
      if (member === undefined) continue
      stream.members.delete(device.id)
      this.#back.delete(member)
      this.#noteHeard(stream, device)
      ticket = this.#store.delete(storedKey(stream.intake.name, device.id), lazily)
    }
    return ticket
  }

  #join(
    stream: WatchedStream,
    device: Device,
    known: Pick<Member, 'heardAtMs' | 'silentSinceMs' | 'topic'>,
  ): Member {
    const member: Member = { device, heardMs: stream.clockMs, ...known }
    stream.members.set(device.id, member)
    stream.dueMs = Math.min(stream.dueMs, stream.clockMs + stream.waitMs)
    return member
  }

  /** All that are due, as many as one step tells; and when to look again. */
  #look(stream: WatchedStream): void {
    let dueMs = Number.POSITIVE_INFINITY
    let told = 0
    for (const member of stream.members.values()) {
      if (member.silentSinceMs !== null) continue
      const memberDueMs = member.heardMs + stream.waitMs
      const isTold =
        memberDueMs <= stream.clockMs &&
        told < MAX_RECORDS_PER_STEP &&
        this.#tellSilent(stream, member)
      if (isTold) told += 1
      else dueMs = Math.min(dueMs, memberDueMs)
    }
    stream.dueMs = dueMs
  }

  #tellSilent(stream: WatchedStream, member: Member): boolean {
    const { device, heardAtMs, topic } = member
    const since = new Date(heardAtMs).toISOString()
    const payload = { device: device.id, state: 'silent', since, lastTopic: topic }
    if (!this.#append(stream, device, 'silent', payload)) return false
    member.silentSinceMs = heardAtMs
    this.#keep(stream, member)
    this.#noteSilent(stream, device, heardAtMs)
    const { name } = stream.intake
    this.#options.emit({
      type: 'devices.silent',
      device: device.id,
      stream: name,
      lastTopic: topic,
    })
    return true
  }

  #tellBack(stream: WatchedStream, member: Member): void {
    const { device, silentSinceMs, topic } = member
    const since = new Date(silentSinceMs ?? 0).toISOString()
    const payload = { device: device.id, state: 'back', since, lastTopic: topic }
    if (!this.#append(stream, device, 'back', payload)) {
      this.#back.set(member, stream)
      return
    }
    this.#back.delete(member)
    member.silentSinceMs = null
    stream.dueMs = Math.min(stream.dueMs, member.heardMs + stream.waitMs)
    this.#keep(stream, member)
    this.#noteHeard(stream, device)
    this.#options.emit({ type: 'devices.back', device: device.id, stream: stream.intake.name })
  }

  /** In the commit that is open; false: there is no room now. */
  #append(
    { intake }: WatchedStream,
    device: Device,
    state: 'silent' | 'back',
    payload: object,
  ): boolean {
    const { appender, nowMs } = this.#options
    if (!appender.accepts(intake)) return false
    const message = this.#message
    message.payload = Buffer.from(JSON.stringify(payload))
    message.end = message.payload.length
    message.receivedAtMs = nowMs()
    message.arrivedMs = performance.now()
    const envelope = intake.envelope(device.id, silenceTopic(device.id, state))
    return appender.append([{ stream: intake, envelope }], message) !== MUST_WAIT
  }

  #keep({ intake }: WatchedStream, member: Member): void {
    this.#store.put(storedKey(intake.name, member.device.id), storedMembership(member))
  }

  #noteSilent(stream: WatchedStream, device: Device, sinceMs: number): void {
    if (!device.isSilent) this.#silent += 1
    device.silences ??= new Map()
    if (!device.silences.has(stream.intake.name)) stream.silent += 1
    device.silences.set(stream.intake.name, sinceMs)
  }

  #noteHeard(stream: WatchedStream, device: Device): void {
    const wasSilent = device.isSilent
    if (device.silences?.delete(stream.intake.name)) stream.silent -= 1
    if (wasSilent && !device.isSilent) this.#silent -= 1
  }
}
