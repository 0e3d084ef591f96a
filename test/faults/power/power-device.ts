/**
 * A device that repeats after a reconnect what MQTT 3.1.1 section 4.4 wants repeated, and notes in
 * the journal whatever it does before it does it. It can begin anew from the state that it had at
 * any point of a recording.
 */
import assert from 'node:assert/strict'
import { createCipheriv, createHash } from 'node:crypto'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import type { NoteWriter } from './journal.ts'
import { applyToDevice, type DeviceState, encodePublish, type Note } from './world.ts'

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
    const client = await RawMqtt.open(port)
    this.#client = client
    this.#isClosing = false
    this.#notes.write({
      t: 'open',
      d: state.name,
      port: client.socket.localPort as number,
    } satisfies Note)
    client.send(packet.connect({ clientId: state.name, clean: state.qos === 1, keepAlive: 0 }))
    const { body } = await client.next(TYPE.CONNACK)
    assert.equal(body[1], 0, 'CONNACK')
    assert(
      body[0] === 1 || state.qos === 1 || !state.isStored,
      `${state.name}: the gateway lost the session (I3)`,
    )
    for (const one of state.inFlight) {
      if (one.received) this.#release(one.id)
      else client.send(encodePublish(state, payloadOf(state, one.n), one.id, true))
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
      for (const { type, body } of client.inbox.splice(0)) {
        const id = body.readUInt16BE(0)
        this.#note({ t: 'saw', d: this.state.name, type, id })
        if (type === TYPE.PUBREC) this.#release(id)
        else assert(type === TYPE.PUBACK || type === TYPE.PUBCOMP, `frame 0x${type.toString(16)}`)
      }
      this.#fill()
    }
  }

  #release(id: number): void {
    this.#note({ t: 'release', d: this.state.name, id })
    this.#client?.send(packet.pubrel(id))
  }

  #fill(): void {
    const { state } = this
    const frames: Buffer[] = []
    while (this.#isPublishing && state.inFlight.length < WINDOW[state.qos]) {
      const used = new Set(state.inFlight.map(({ id }) => id))
      let id = state.lastId
      do id = (id % PACKET_IDS) + 1
      while (used.has(id))
      const n = state.published + 1
      this.#note({ t: 'publish', d: state.name, n, id })
      const frame = encodePublish(state, payloadOf(state, n), id, false)
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
