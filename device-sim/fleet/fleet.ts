/**
 * The fleet: its devices, when each measures, and when their connections suffer. One seed decides
 * all of it, in streams of its own per device; only what the network does in between differs from
 * run to run.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Ledger, Qos } from '../ledger/ledger.ts'
import type { ModelKind } from '../models/model.ts'
import { Random } from '../random.ts'
import { Device, type DeviceContext } from './device.ts'
import type { FleetOptions } from './options.ts'
import { ReadingSource } from './reading-source.ts'
import { Schedule } from './schedule.ts'
import { FleetStats } from './stats.ts'

const MS_PER_MINUTE = 60_000
/** An irrational step spreads any mix of shares evenly over any number of devices. */
const GOLDEN = 0.618_033_988_749_895
const POLL_MS = 20
const FORGET_AT_ONCE = 50

export class Fleet {
  readonly stats = new FleetStats()
  readonly devices: readonly Device[]
  readonly #options: FleetOptions
  readonly #ledger: Ledger
  readonly #schedule = new Schedule()
  #measuring = false
  /** Rises when measuring begins or ends: what an earlier period scheduled is void. */
  #period = 0

  constructor(options: FleetOptions, ledger: Ledger) {
    this.#options = options
    this.#ledger = ledger
    const context: DeviceContext = { options, schedule: this.#schedule, ledger, stats: this.stats }
    this.devices = Array.from({ length: options.devices }, (_, index) =>
      this.#device(index, context),
    )
  }

  /** Readings that devices still hold, sent or not. */
  get held(): number {
    return this.devices.reduce((sum, device) => sum + device.held, 0)
  }

  /** Connects the devices over the ramp; each measures from its first connect on. */
  start(): void {
    const { rampMs } = this.#options
    const startMs = this.#schedule.nowMs
    for (const [index, device] of this.devices.entries()) {
      this.#schedule.at(startMs + (rampMs * index) / this.devices.length, () => device.connect())
    }
    this.measure(rampMs)
  }

  /** Measuring (and suffering) begins, or goes on after `finish`. Devices join over `rampMs`. */
  measure(rampMs = 0, faults = true): void {
    if (this.#measuring) return
    this.#measuring = true
    this.#period++
    const startMs = this.#schedule.nowMs
    const intervalMs = (this.devices.length * 1000) / this.#options.ratePerSecond
    for (const [index, device] of this.devices.entries()) {
      const clock = new Random(this.#options.seed, `clock/${device.id}`)
      const joinMs = startMs + (rampMs * index) / this.devices.length + clock.next() * intervalMs
      this.#measureAt(joinMs, device, clock, intervalMs, this.#period)
    }
    if (faults) this.#suffer(startMs)
  }

  /** Nothing new is measured and nothing is broken any more; what devices held back goes out. */
  finish(): void {
    if (!this.#measuring) return
    this.#measuring = false
    this.#period++
    for (const device of this.devices) device.finish()
  }

  /** True as soon as everything is acknowledged, false when it is not within `timeoutMs`. */
  async acknowledged(timeoutMs: number): Promise<boolean> {
    const endMs = this.#schedule.nowMs + timeoutMs
    while (this.#ledger.unacknowledged > 0 || this.held > 0) {
      if (this.#schedule.nowMs >= endMs) return false
      await sleep(POLL_MS)
    }
    return true
  }

  /** Ends every connection, politely where there is one. */
  async close(): Promise<void> {
    this.#measuring = false
    this.#period++
    this.#schedule.stop()
    await Promise.all(this.devices.map((device) => device.close()))
  }

  /**
   * After `close`: the gateway keeps no session of a device whose readings are all acknowledged, so
   * that a fleet of another size leaves nothing behind. The number of sessions that stayed because
   * it could not be asked.
   */
  async forgetSessions(timeoutMs: number): Promise<number> {
    const endMs = performance.now() + timeoutMs
    let left = 0
    for (let from = 0; from < this.devices.length; from += FORGET_AT_ONCE) {
      const some = this.devices.slice(from, from + FORGET_AT_ONCE)
      const leftMs = endMs - performance.now()
      // A gateway that does not answer is not asked for each device again.
      if (leftMs <= 0 || left > 0) left += some.filter(({ leavesSession }) => leavesSession).length
      else {
        const forgotten = await Promise.all(some.map((device) => device.forget(leftMs)))
        left += forgotten.filter((one) => !one).length
      }
    }
    return left
  }

  #device(index: number, context: DeviceContext): Device {
    const options = this.#options
    const id = `${options.devicePrefix}${String(index).padStart(4, '0')}`
    const kind: ModelKind = options.models[index % options.models.length] ?? 'temperature'
    const source = new ReadingSource(
      {
        device: id,
        kind,
        seed: options.seed,
        topic: options.topic,
        payloadBytes: options.payloadBytes,
        intervalMs: (options.devices * 1000) / options.ratePerSecond,
        faults: options.faults,
      },
      this.stats,
    )
    return new Device(id, qosOf(index, options.qosShares), source, context)
  }

  #measureAt(
    atMs: number,
    device: Device,
    clock: Random,
    intervalMs: number,
    period: number,
  ): void {
    this.#schedule.at(atMs, () => {
      if (period !== this.#period) return
      device.measure()
      this.#measureAt(
        atMs + intervalMs * clock.between(0.8, 1.2),
        device,
        clock,
        intervalMs,
        period,
      )
    })
  }

  #suffer(startMs: number): void {
    const { faults, seed } = this.#options
    const storms = new Random(seed, 'storms')
    this.#each(startMs, faults.stormsPerMinute, storms, () => {
      this.stats.storms++
      for (const device of this.devices) if (storms.chance(faults.stormShare)) device.storm()
    })
    for (const device of this.devices) {
      const drops = new Random(seed, `drops/${device.id}`)
      const freezes = new Random(seed, `freezes/${device.id}`)
      this.#each(startMs, faults.dropsPerMinute, drops, () => device.cutSoon())
      this.#each(startMs, faults.halfOpensPerMinute, freezes, () => device.freeze())
    }
  }

  /** Runs `act` at the times of a Poisson process, within the faults' window. */
  #each(startMs: number, perMinute: number, random: Random, act: () => void): void {
    const between = this.#options.faults.between
    const untilMs = between === null ? Number.POSITIVE_INFINITY : startMs + between.untilMs
    const period = this.#period
    const next = (fromMs: number): void => {
      const atMs = fromMs + random.exponential(perMinute / MS_PER_MINUTE)
      if (atMs >= untilMs) return
      this.#schedule.at(atMs, () => {
        if (period !== this.#period) return
        act()
        next(atMs)
      })
    }
    next(startMs + (between?.fromMs ?? 0))
  }
}

/** The QoS of device `index`, so that any number of devices shows the mix. */
export function qosOf(index: number, shares: readonly [number, number, number]): Qos {
  const total = shares[0] + shares[1] + shares[2]
  const place = ((index * GOLDEN) % 1) * total
  if (place < shares[0]) return 0
  return place < shares[0] + shares[1] ? 1 : 2
}
