/**
 * The oracle: devices, a real gateway and a sink, and the question after each fault: is every
 * acknowledged reading at the sink, QoS 2 once, each device in order, the balance right to the
 * record, and no id used twice? A fault is the caller's to make; this restarts nothing by itself.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Status } from '../../../gateway/ports/status.ts'
import { type GatewayOptions, GatewayProcess } from '../../support/gateway-process.ts'
import { balanceFaults, type DeviceStory, deviceFaults, monotonyFaults } from './checks.ts'
import { type DeviceDeeds, OracleDevice, type OracleDeviceOptions } from './device.ts'
import { LedgerSink } from './ledger-sink.ts'

const DRAIN_TIMEOUT_MS = 60_000
/** After everything was delivered, the commit that says so is under way. */
const COMMIT_TIMEOUT_MS = 2_000
const POLL_MS = 15

export class Oracle {
  readonly gateway: GatewayProcess
  readonly sink: LedgerSink
  readonly devices: readonly OracleDevice[]
  /** What was seen so far that must not be. Each only once. */
  readonly faults: string[] = []
  /** Readings that were acknowledged and found at the sink, over all checks. */
  verified = 0
  #lives: Promise<unknown> = Promise.resolve()
  #streams: Status['streams'] = []

  private constructor(gateway: GatewayProcess, sink: LedgerSink, devices: readonly OracleDevice[]) {
    this.gateway = gateway
    this.sink = sink
    this.devices = devices
  }

  /** Starts the sink and prepares the gateway. The folder belongs to the caller. */
  static async prepare(
    options: Omit<GatewayOptions, 'sinkUrl'>,
    devices: readonly OracleDeviceOptions[],
  ): Promise<Oracle> {
    const sink = await LedgerSink.start()
    const gateway = await GatewayProcess.prepare({ ...options, sinkUrl: sink.url })
    return new Oracle(
      gateway,
      sink,
      devices.map((one) => new OracleDevice(one)),
    )
  }

  set publishing(isPublishing: boolean) {
    for (const device of this.devices) device.isPublishing = isPublishing
  }

  /**
   * All devices connect, each behind its own time, and live until `part` or until the gateway ends.
   * The gateway listens by now.
   */
  connect(awayMs: (device: OracleDevice) => number = () => 0): void {
    const { mqttPort } = this.gateway
    const nowMs = performance.now()
    this.#lives = Promise.all(
      this.devices.map((device) => device.live(mqttPort, nowMs, awayMs(device))),
    )
  }

  /** What its devices did and met, together. */
  get deeds(): DeviceDeeds {
    const total: DeviceDeeds = {
      takeovers: 0,
      takeovers5: 0,
      farewells: 0,
      expired: 0,
      resumed: 0,
    }
    for (const { deeds } of this.devices)
      for (const key of Object.keys(total) as (keyof DeviceDeeds)[]) total[key] += deeds[key]
    return total
  }

  /** Behind the gateway's end, or to end all connections. */
  async part(): Promise<void> {
    for (const device of this.devices) device.cut()
    await this.#lives
  }

  /**
   * Lets the devices finish and the spool drain, and checks everything. The gateway runs, and the
   * devices are connected. False: something is wrong, now or earlier; see `faults`.
   */
  async check(drainTimeoutMs = DRAIN_TIMEOUT_MS): Promise<boolean> {
    this.publishing = false
    const stuck = await this.#comeToRest(drainTimeoutMs)
    if (stuck !== null) this.faults.push(stuck)
    const { streams } = await this.gateway.status()
    const stored = this.sink.ledger.takeStored()
    for (const device of this.devices) {
      const { name, qos, lossy } = device.options
      const story: DeviceStory = {
        device: name,
        qos,
        lossy,
        ...device.takeStory(),
        stored: stored.get(name) ?? [],
      }
      this.verified += story.acked.length
      this.#add(deviceFaults(story), device.faults)
    }
    this.#add(
      this.sink.ledger.faults,
      balanceFaults(streams, this.sink.ledger.totals()),
      monotonyFaults(this.#streams, streams),
    )
    this.#streams = streams
    this.sink.ledger.rest()
    return this.faults.length === 0
  }

  async close(): Promise<void> {
    if (this.gateway.wasStarted) await this.gateway.process.reap()
    await this.part()
    await this.sink.close()
  }

  #add(...lists: ReadonlyArray<readonly string[]>): void {
    for (const one of lists.flat()) if (!this.faults.includes(one)) this.faults.push(one)
  }

  /** Nothing is in flight, in the spool, or on its way. null, or what did not end. */
  async #comeToRest(timeoutMs: number): Promise<string | null> {
    const endMs = performance.now() + timeoutMs
    while (!this.devices.every((device) => device.isIdle)) {
      if (this.devices.some((device) => device.faults.length > 0)) return null
      if (performance.now() > endMs) {
        const waiting = this.devices
          .filter((device) => !device.isIdle)
          .map(({ options }) => options.name)
        return `not all readings were acknowledged within ${timeoutMs} ms: ${waiting.join(', ')}`
      }
      await sleep(POLL_MS)
    }
    // Bytes, not counters: a wrong counter is one of the faults that are looked for.
    const isDrained = ({ streams }: Status): boolean =>
      streams.every(({ backlogBytes }) => backlogBytes === 0)
    while (!isDrained(await this.gateway.status())) {
      if (performance.now() > endMs) return `the spool did not drain within ${timeoutMs} ms`
      await sleep(POLL_MS)
    }
    const commitEndMs = performance.now() + COMMIT_TIMEOUT_MS
    const isAtRest = ({ streams, sinks }: Status): boolean =>
      streams.every(({ counters }) => counters.pending === 0) &&
      sinks.every(({ inFlight }) => inFlight === 0)
    while (!isAtRest(await this.gateway.status()) && performance.now() < commitEndMs)
      await sleep(POLL_MS)
    return null
  }
}
