/**
 * A device that repeats after a reconnect what section 4.4 of MQTT wants repeated, and notes in
 * the journal whatever it does before it does it. It can begin anew from the state that it had at
 * any point of a recording.
 */
import assert from 'node:assert/strict'
import { createCipheriv, createHash } from 'node:crypto'
import { levelAt } from '../../support/levels.ts'
import { type Level, REASON, readAck, readConnack, reasonText } from '../../support/mqtt-answers.ts'
import {
  type ConnectFields,
  lastingSession,
  packet,
  type RawFrame,
  RawMqtt,
  TYPE,
} from '../../support/raw-mqtt.ts'
import type { NoteWriter } from './journal.ts'
import { applyToDevice, type DeviceState, encodePublish, type Note } from './world.ts'

/** Longer than any recording. */
const SESSION_EXPIRY_SECONDS = 86_400
/** Fewer than are ever granted at the first CONNACK. */
const WINDOW = { 1: 40, 2: 24 } as const
/** Few, so that ids are used again soon. */
const PACKET_IDS = 64
const MAX_TEXT_BYTES = 40_000
/** Of readings that may be so long; the others are of the usual size. */
const LARGE_SHARE = 0.2

export class PowerDevice {
  readonly state: DeviceState
  readonly #notes: NoteWriter
  #client: RawMqtt | null = null
  #running: Promise<void> = Promise.resolve()
  #failure: Error | null = null
  #isPublishing = false
  #isClosing = false
  #connections = 0
  #window = 0
  /** Packet ids of PUBRELs that left before this connection: their PUBCOMP may have been lost. */
  #releasedBefore = new Set<number>()
  publishedBytes = 0

  constructor(state: DeviceState, notes: NoteWriter) {
    this.state = state
    this.#notes = notes
  }

  get isDone(): boolean {
    return this.state.inFlight.length === 0
  }

  /** Connects, repeats what is open, and takes answers from then on. */
  async connect(port: number): Promise<void> {
    const { state } = this
    const level = levelAt(state.level, this.#connections++)
    const client = await RawMqtt.open(port, level)
    this.#client = client
    this.#isClosing = false
    this.#notes.write({
      t: 'open',
      d: state.name,
      port: client.socket.localPort as number,
    } satisfies Note)
    client.send(packet.connect({ clientId: state.name, ...sessionOf(state, level) }))
    const connack = readConnack(await client.next(TYPE.CONNACK), level)
    assert.equal(connack.code, REASON.SUCCESS, 'CONNACK')
    assert(
      connack.sessionPresent || state.qos === 1 || !state.isStored,
      `${state.name}: the gateway lost the session (I3)`,
    )
    const window = WINDOW[state.qos]
    this.#window = Math.min(window, connack.properties.receiveMaximum ?? window)
    this.#releasedBefore = new Set(
      state.inFlight.filter(({ released }) => released).map(({ id }) => id),
    )
    assert(state.inFlight.length <= this.#window, `${state.name} is granted ${this.#window} only`)
    for (const one of state.inFlight) {
      const fields = { id: one.id, dup: true, level }
      if (one.received) this.#release(one.id)
      else client.send(encodePublish(state, payloadOf(state, one.n), fields))
    }
    this.#running = this.#run(client).catch((error: unknown) => {
      if (!this.#isClosing) this.#failure = error as Error
    })
  }

  begin(): void {
    this.#isPublishing = true
    this.#fill()
  }

  pause(): void {
    this.#isPublishing = false
  }

  /** The connection may end now: what still comes over it was lost. */
  expectClose(): void {
    this.#isClosing = true
  }

  async close(): Promise<void> {
    this.#isClosing = true
    this.#client?.cut()
    await this.#running
  }

  check(): void {
    if (this.#failure) throw this.#failure
  }

  async #run(client: RawMqtt): Promise<void> {
    for (;;) {
      await client.until(() => client.inbox.length > 0, 60_000)
      if (this.#isClosing) return
      for (const frame of client.inbox.splice(0)) this.#take(client, frame)
      this.#fill()
    }
  }

  #take(client: RawMqtt, frame: RawFrame): void {
    const { name } = this.state
    const { type } = frame
    const { id, code } = readAck(frame, client.level)
    const isRepeated = type === TYPE.PUBCOMP && this.#releasedBefore.delete(id)
    const isKnown = code === REASON.SUCCESS || (isRepeated && code === REASON.PACKET_ID_NOT_FOUND)
    assert(isKnown, `${name}: 0x${type.toString(16)} for ${id} says ${reasonText(code)}`)
    this.#note({ t: 'saw', d: name, type, id })
    if (type === TYPE.PUBREC) this.#release(id)
    else assert(type === TYPE.PUBACK || type === TYPE.PUBCOMP, `frame 0x${type.toString(16)}`)
  }

  #release(id: number): void {
    this.#note({ t: 'release', d: this.state.name, id })
    this.#client?.send(packet.pubrel(id))
  }

  #fill(): void {
    const { state } = this
    const frames: Buffer[] = []
    while (this.#isPublishing && state.inFlight.length < this.#window) {
      const used = new Set(state.inFlight.map(({ id }) => id))
      let id = state.lastId
      do id = (id % PACKET_IDS) + 1
      while (used.has(id))
      const n = state.published + 1
      this.#note({ t: 'publish', d: state.name, n, id })
      const level = this.#client?.level ?? 4
      const frame = encodePublish(state, payloadOf(state, n), { id, dup: false, level })
      this.publishedBytes += frame.length
      frames.push(frame)
    }
    if (frames.length > 0) this.#client?.send(...frames)
  }

  #note(note: Extract<Note, { t: 'publish' | 'release' | 'saw' }>): void {
    this.#notes.write(note)
    applyToDevice(this.state, note)
  }
}

/** A session matters to QoS 2 alone. */
function sessionOf({ qos }: DeviceState, level: Level): ConnectFields {
  return qos === 1 ? { level, clean: true } : lastingSession(level, SESSION_EXPIRY_SECONDS)
}

/**
 * The same for the same n, in any run. Random text, so that it takes on disk what it takes on the
 * wire.
 */
export function payloadOf(device: DeviceState, n: number): string {
  const key = createHash('sha256').update(`${device.seed}/${device.name}/${n}`).digest()
  const isLarge = key.readUInt8(16) < 256 * LARGE_SHARE
  const length = key.readUInt32LE(17) % (isLarge ? MAX_TEXT_BYTES : MAX_TEXT_BYTES / 100)
  const text = createCipheriv('aes-128-ctr', key.subarray(0, 16), Buffer.alloc(16)).update(
    Buffer.alloc(length),
  )
  return JSON.stringify({ n, x: text.toString('base64') })
}
