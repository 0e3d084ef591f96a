/**
 * What a fault test needs: a disk that can fail, a sink, a real gateway on both, and a device; and
 * what must be true.
 */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultyDisk } from '../../support/faulty-disk.ts'
import { assertBalanced, GatewayProcess } from '../../support/gateway-process.ts'
import { levelsInTurn } from '../../support/levels.ts'
import type { Level } from '../../support/mqtt-answers.ts'
import { OneNumberSink } from '../../support/one-number-sink.ts'
import { Qos1Device } from '../../support/qos1-device.ts'

/** What the architecture promises when there is room again (I6), retries of the spool included. */
export const ACKS_AGAIN_MS = 10_000

export class DiskBench<D extends FaultyDisk = FaultyDisk> {
  readonly disk: D
  readonly sink: OneNumberSink
  readonly gateway: GatewayProcess
  readonly devices: Qos1Device[] = []
  readonly #nextLevel: () => Level

  private constructor(
    disk: D,
    sink: OneNumberSink,
    gateway: GatewayProcess,
    nextLevel: () => Level,
  ) {
    this.disk = disk
    this.sink = sink
    this.gateway = gateway
    this.#nextLevel = nextLevel
  }

  /** Clears up behind `use`, the disk as well. `seed`: deals the versions of MQTT. */
  static async run<D extends FaultyDisk, T>(
    disk: D,
    use: (bench: DiskBench<D>) => Promise<T>,
    options: {
      readonly minFreeBytes?: string
      readonly maxBatchRecords?: number
      readonly seed?: string
    } = {},
  ): Promise<T> {
    const sink = await OneNumberSink.start()
    const { folder, dataDir, env } = disk
    const { minFreeBytes = '1MiB', maxBatchRecords = 10_000, seed = 'disk' } = options
    const gateway = await GatewayProcess.prepare({
      folder,
      dataDir,
      env,
      sinkUrl: sink.url,
      sink: { maxBatchRecords },
      sections: { spool: { minFreeBytes } },
    })
    const bench = new DiskBench(disk, sink, gateway, levelsInTurn(seed))
    try {
      await gateway.start()
      return await use(bench)
    } finally {
      for (const device of bench.devices) await device.close()
      if (gateway.isRunning) await gateway.process.reap()
      await sink.close()
      disk.remove()
    }
  }

  /** Connected, and publishing. */
  async device(name: string): Promise<Qos1Device> {
    const device = new Qos1Device(name, { level: this.#nextLevel() })
    this.devices.push(device)
    await device.connect(this.gateway.mqttPort)
    device.begin()
    return device
  }

  sinkDown(): void {
    this.sink.fault = () => ({ status: 503 })
  }

  sinkUp(): void {
    this.sink.fault = null
  }

  async acked(device: Qos1Device, more: number, timeoutMs = 20_000): Promise<void> {
    const goal = device.acked.length + more
    await until(
      `${more} more readings are acknowledged`,
      () => device.acked.length >= goal,
      timeoutMs,
    )
    device.check()
  }

  /** Resolves when no ack has come for so long although readings wait for one. */
  async untilAcksStop(device: Qos1Device, quietMs: number): Promise<void> {
    await until('acks stop', () => performance.now() - device.lastAckAtMs > quietMs, 20_000)
    assert(device.unacked > 0, 'no reading waits for an ack')
    device.check()
  }

  /**
   * Fills the disk under the gateway's feet. The guard looks every second: where it looked before
   * the next commit it closed ingest, which is right, but not what these tests are about, and they
   * do it again.
   */
  async fillUntilAWriteFails(device: Qos1Device): Promise<void> {
    for (;;) {
      const before = (await this.gateway.status()).spool.commitFailures
      this.disk.fill()
      const { spool } = await this.gateway.untilStatus(
        'ingest is closed',
        ({ spool: { state } }) => state === 'read-only',
      )
      if (spool.commitFailures > before) return
      this.disk.free()
      await this.acked(device, 1, ACKS_AGAIN_MS)
    }
  }

  async kill(device: Qos1Device): Promise<void> {
    device.expectClose()
    await this.gateway.kill()
    await device.close()
  }

  async untilDrained(): ReturnType<GatewayProcess['untilStatus']> {
    const status = await this.gateway.untilStatus(
      'nothing is pending',
      ({ streams }) => streams.every(({ counters }) => counters.pending === 0),
      30_000,
    )
    assertBalanced(status)
    return status
  }

  /**
   * Every acknowledged reading of each device is at the sink; none is there twice, or out of order
   * (I1, I2, I4).
   */
  expectNothingLost(): void {
    for (const { clientId, acked } of this.devices) {
      const stored = this.sink.of(clientId)
      const known = new Set(stored)
      assert.deepEqual(
        acked.filter((n) => !known.has(n)),
        [],
        `${clientId}: acknowledged and not at the sink (I1)`,
      )
      assert.deepEqual(
        stored,
        [...known].toSorted((a, b) => a - b),
        `${clientId}: order, and nothing twice (I2, I4)`,
      )
    }
  }

  /** Waits until nothing is pending, then compares the books (I5) with the sink's. */
  async expectAllDelivered(): Promise<void> {
    const status = await this.untilDrained()
    this.expectNothingLost()
    const { received, delivered, deadLettered, dropped } = status.streams[0]?.counters ?? {}
    const { count } = this.sink
    assert.deepEqual(
      { received, delivered, deadLettered },
      { received: count, delivered: count, deadLettered: 0 },
    )
    assert(
      Object.values(dropped ?? {}).every((n) => n === 0),
      JSON.stringify(dropped),
    )
  }

  /**
   * What is acknowledged after a failed write is what a later opening could lose: a backlog of it,
   * SIGKILL, start.
   */
  async expectNothingLostAtTheNextOpening(device: Qos1Device): Promise<void> {
    this.sinkDown()
    await this.acked(device, 1_000)
    await this.kill(device)
    this.sinkUp()
    await this.gateway.start()
    await this.expectAllDelivered()
  }

  /** Publishes no more, waits for the last acks, and compares. */
  async expectAllAcknowledgedAndDelivered(device: Qos1Device): Promise<void> {
    device.pause()
    await until('all is acknowledged', () => device.unacked === 0)
    assert.equal(device.acked.length, device.published)
    await this.expectAllDelivered()
  }
}

export async function until(
  what: string,
  condition: () => boolean,
  timeoutMs = 15_000,
): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await sleep(5)
  }
}
