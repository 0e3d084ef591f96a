/**
 * A real gateway between a device that publishes and a faulty sink, for scenarios that kill the
 * gateway and the sink's good manners. At its end everything that was acknowledged has to be stored
 * once and in order, and the balance (I5) has to be right.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import type { ServerOptions } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assertBalanced, GatewayProcess } from '../../support/gateway-process.ts'
import { levelsInTurn } from '../../support/levels.ts'
import type { Level } from '../../support/mqtt-answers.ts'
import { Qos1Device } from '../../support/qos1-device.ts'
import { FaultySink } from './faulty-sink.ts'

const DRAIN_MS = 60_000

export class SinkBench {
  readonly folder: string
  readonly sink: FaultySink
  readonly gateway: GatewayProcess
  readonly #devices: Qos1Device[] = []
  readonly #nextLevel: () => Level
  kills = 0

  private constructor(
    folder: string,
    sink: FaultySink,
    gateway: GatewayProcess,
    nextLevel: () => Level,
  ) {
    this.folder = folder
    this.sink = sink
    this.gateway = gateway
    this.#nextLevel = nextLevel
  }

  /**
   * Runs a scenario, checks what has to be true behind any, and clears up. `config`: of the sink;
   * `seed`: deals the versions of MQTT.
   */
  static async run<T>(
    scenario: (bench: SinkBench) => Promise<T>,
    options: {
      readonly config?: (folder: string) => Readonly<Record<string, unknown>>
      readonly tls?: ServerOptions
      readonly seed?: string
    } = {},
  ): Promise<T> {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-sink-'))
    const sink = await FaultySink.start(options.tls)
    const gateway = await GatewayProcess.prepare({
      folder,
      sinkUrl: sink.url,
      sink: { timeout: '1s', ...options.config?.(folder) },
      sections: { spool: { minFreeBytes: '1MiB', commitInterval: '20ms' } },
    })
    const bench = new SinkBench(folder, sink, gateway, levelsInTurn(options.seed ?? 'sink'))
    try {
      await gateway.start()
      const result = await scenario(bench)
      await bench.#end()
      return result
    } finally {
      for (const device of bench.#devices) await device.close()
      if (gateway.isRunning) await gateway.process.reap()
      await sink.close()
      rmSync(folder, { recursive: true, force: true })
    }
  }

  /** A new device, connected and publishing. */
  async publish(name = `press-${this.#devices.length + 1}`): Promise<Qos1Device> {
    const options = { window: 5, textBytes: 40, level: this.#nextLevel() }
    const device = new Qos1Device(name, options)
    this.#devices.push(device)
    await device.connect(this.gateway.mqttPort)
    device.begin()
    return device
  }

  /**
   * SIGKILL, start, and the devices come back as others: the readings of each are numbered from 1.
   */
  async killAndRestart(): Promise<void> {
    this.kills += 1
    for (const device of this.#devices) device.expectClose()
    await this.gateway.kill()
    for (const device of this.#devices) await device.close()
    await this.gateway.start()
    await this.publish()
  }

  /** @throws when the sink has seen what must not be */
  check(): void {
    if (this.sink.faults.length > 0) throw new Error(this.sink.faults.join('; '))
    for (const device of this.#devices) device.check()
  }

  async until(what: string, condition: () => boolean, timeoutMs = 20_000): Promise<void> {
    const endMs = performance.now() + timeoutMs
    while (!condition()) {
      this.check()
      if (performance.now() > endMs)
        throw new Error(`not within ${timeoutMs} ms: ${what}\n${this.gateway.logTail(8)}`)
      await pause(3)
    }
  }

  /** How many more requests came. */
  async requests(more: number, timeoutMs = 20_000): Promise<void> {
    const goal = this.sink.seen.length + more
    await this.until(`${more} more requests`, () => this.sink.seen.length >= goal, timeoutMs)
  }

  async #end(): Promise<void> {
    this.sink.plan = null
    for (const device of this.#devices) if (device.isConnected) device.pause()
    await this.until('the last acks', () =>
      this.#devices.every((device) => !device.isConnected || device.unacked === 0),
    )
    const status = await this.gateway.untilStatus(
      'nothing is pending',
      ({ streams }) => streams.every(({ counters }) => counters.pending === 0),
      DRAIN_MS,
    )
    assertBalanced(status)
    this.check()
    for (const device of this.#devices) {
      const stored = this.sink.of(device.clientId)
      const missing = device.acked.filter((n) => !stored.includes(n))
      if (missing.length > 0)
        throw new Error(`I1: acknowledged, and not at the sink: ${missing.join()}`)
      if (stored.some((n, index) => n !== index + 1))
        throw new Error(`I2, I4: stored ${stored.join()}`)
    }
    const delivered = status.streams[0]?.counters.delivered
    if (delivered !== this.sink.storedCount) {
      throw new Error(`I5: delivered is ${delivered}, the sink has ${this.sink.storedCount}`)
    }
  }
}

export async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
