/**
 * A real gateway on a disk whose fsync can stall or fail, a sink, and devices with a keepalive that
 * ping as the protocol wants it and know what was acknowledged.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { assertBalanced, GatewayProcess } from '../../support/gateway-process.ts'
import { levelsInTurn } from '../../support/levels.ts'
import { type Level, REASON, readAck, reasonText } from '../../support/mqtt-answers.ts'
import { OneNumberSink } from '../../support/one-number-sink.ts'
import { packet, type RawFrame, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { recorderEnv, SyncFault } from '../power/recorder.ts'

const TIMEOUT_MS = 30_000
/** The gateway's own pause between tries, and room to spare. */
export const ACKS_AGAIN_MS = 10_000

export class SyncBench {
  readonly gateway: GatewayProcess
  readonly sink: OneNumberSink
  readonly fault: SyncFault
  readonly devices: KeptDevice[] = []
  readonly #nextLevel: () => Level

  private constructor(
    gateway: GatewayProcess,
    sink: OneNumberSink,
    fault: SyncFault,
    nextLevel: () => Level,
  ) {
    this.gateway = gateway
    this.sink = sink
    this.fault = fault
    this.#nextLevel = nextLevel
  }

  /** Clears up behind `use`. `seed`: deals the versions of MQTT. */
  static async run<T>(use: (bench: SyncBench) => Promise<T>, seed = 'fsync'): Promise<T> {
    const folder = mkdtempSync(join(realpathSync(tmpdir()), 'sluice-fsync-'))
    const disk = join(folder, 'disk')
    mkdirSync(disk)
    const fault = new SyncFault(join(folder, 'fault'))
    const sink = await OneNumberSink.start()
    const gateway = await GatewayProcess.prepare({
      folder,
      dataDir: join(disk, 'data'),
      sinkUrl: sink.url,
      env: recorderEnv({ root: disk, fault }),
    })
    const bench = new SyncBench(gateway, sink, fault, levelsInTurn(seed))
    try {
      await gateway.start()
      return await use(bench)
    } finally {
      fault.clear()
      for (const device of bench.devices) device.cut()
      if (gateway.isRunning) await gateway.process.reap()
      await sink.close()
      rmSync(folder, { recursive: true, force: true })
    }
  }

  async device(name: string, keepAliveSeconds: number): Promise<KeptDevice> {
    const fields = { clientId: name, keepAlive: keepAliveSeconds, level: this.#nextLevel() }
    const client = await RawMqtt.connect(this.gateway.mqttPort, fields)
    const device = new KeptDevice(name, client, keepAliveSeconds)
    this.devices.push(device)
    return device
  }

  sinkDown(): void {
    this.sink.fault = () => ({ status: 503 })
  }

  sinkUp(): void {
    this.sink.fault = null
  }

  get acked(): number {
    return this.devices.reduce((sum, { acked }) => sum + acked.length, 0)
  }

  /** SIGKILL, and a start on the same folder. */
  async killAndRestart(): Promise<void> {
    for (const device of this.devices) device.expectClose()
    await this.gateway.killAndRestart()
  }

  /** Everything acknowledged arrives, once and in order, and the books agree (I1, I2, I4, I5). */
  async untilAllDelivered(): Promise<void> {
    this.sinkUp()
    const status = await this.gateway.untilStatus(
      'nothing is pending',
      ({ streams }) => streams.every(({ counters }) => counters.pending === 0),
      TIMEOUT_MS,
    )
    assertBalanced(status)
    for (const { name, acked } of this.devices) {
      const stored = this.sink.of(name)
      const there = new Set(stored)
      const lost = acked.filter((n) => !there.has(n))
      assert.deepEqual(lost, [], `${name}: acknowledged and not at the sink (I1)`)
      assert.deepEqual(
        stored,
        [...there].toSorted((a, b) => a - b),
        `${name}: order, and nothing twice (I2, I4)`,
      )
    }
  }
}

export class KeptDevice {
  readonly name: string
  readonly acked: number[] = []
  published = 0
  pongs = 0
  readonly #client: RawMqtt
  /** By packet id; those that the grant did not let out yet come last. */
  readonly #unacked = new Map<number, number>()
  readonly #unsent: Buffer[] = []
  readonly #receiveMaximum: number
  readonly #pings: NodeJS.Timeout | null
  #isClosing = false
  #refusal: Error | null = null

  constructor(
    name: string,
    client: Awaited<ReturnType<typeof RawMqtt.connect>>,
    keepAliveSeconds: number,
  ) {
    this.name = name
    this.#client = client
    this.#receiveMaximum = client.granted.receiveMaximum ?? Number.POSITIVE_INFINITY
    // Within the keepalive, as section 3.1.2.10 has it.
    this.#pings =
      keepAliveSeconds > 0
        ? setInterval(() => client.send(packet.pingreq()), keepAliveSeconds * 600)
        : null
    this.#run().catch(() => undefined)
  }

  get unacked(): number {
    return this.#unacked.size
  }

  get isConnected(): boolean {
    return !this.#client.isClosed
  }

  /** All in one write, or what the grant lets out of it. */
  publish(count: number): void {
    const { level } = this.#client
    for (let i = 0; i < count; i++) {
      const n = ++this.published
      const id = ((n - 1) % 65_535) + 1
      this.#unacked.set(id, n)
      const payload = JSON.stringify({ n, text: `${'reading '.repeat(20)}${n}` })
      this.#unsent.push(packet.publish(`plant/${this.name}`, payload, { qos: 1, id, level }))
    }
    this.#send()
  }

  #send(): void {
    const onLink = this.#unacked.size - this.#unsent.length
    const frames = this.#unsent.splice(0, Math.max(0, this.#receiveMaximum - onLink))
    if (frames.length > 0) this.#client.send(...frames)
  }

  /** Resolves when all that was published is acknowledged. */
  async untilAcked(timeoutMs = TIMEOUT_MS): Promise<void> {
    const endMs = performance.now() + timeoutMs
    while (this.unacked > 0) {
      assert(this.isConnected, `${this.name} was disconnected`)
      if (this.#refusal !== null) throw this.#refusal
      assert(
        performance.now() < endMs,
        `${this.name}: ${this.unacked} not acknowledged after ${timeoutMs} ms`,
      )
      await sleep(5)
    }
  }

  expectClose(): void {
    this.#isClosing = true
    if (this.#pings) clearInterval(this.#pings)
  }

  cut(): void {
    this.expectClose()
    this.#client.cut()
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#client.until(() => this.#client.inbox.length > 0, 3_600_000)
      for (const frame of this.#client.inbox.splice(0)) {
        if (this.#isClosing) return
        if (frame.type === TYPE.PINGRESP) this.pongs++
        if (frame.type === TYPE.PUBACK) this.#acknowledged(frame)
      }
      this.#send()
    }
  }

  #acknowledged(frame: RawFrame): void {
    const { id, code } = readAck(frame, this.#client.level)
    const n = this.#unacked.get(id)
    if (n === undefined) return
    this.#unacked.delete(id)
    if (code === REASON.SUCCESS) this.acked.push(n)
    else this.#refusal ??= new Error(`${this.name}: PUBACK for ${id} says ${reasonText(code)}`)
  }
}
