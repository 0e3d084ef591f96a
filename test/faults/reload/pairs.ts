/**
 * A gateway under load that is reloaded again and again: whoever need not lose his connection keeps
 * it, what was acknowledged reaches a sink, and the counters of each stream balance (I5).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../../device-sim/free-ports.ts'
import { Random } from '../../../device-sim/random.ts'
import type { ConservationCounters } from '../../../gateway/ports/status.ts'
import { ReloadRig } from '../../reload/fixture.ts'
import { Qos1Device } from '../../support/qos1-device.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { type Drawn, drawConfiguration, type Places } from './configurations.ts'

export interface PairsOutcome {
  readonly pairs: number
  readonly acked: number
  /** How often each effect was among the changes. */
  readonly effects: Record<string, number>
  /** Connections whose listener was taken away. */
  readonly sentAway: number
  readonly failures: readonly string[]
}

/** How long what was acknowledged may take to a sink. */
const ARRIVAL_MS = 20_000
/** A connection whose listener is gone gets its acks first, where a sink holds them, too. */
const LEAVE_MS = 25_000
/** Devices whose listener has moved, the newest of them. */
const MOST_MOVED = 3
const POLL_MS = 20
/** Load between two reloads. */
const PAUSE_MS = 40
/** After so many pairs the devices rest, and everything that they were told is looked for. */
const PAIRS_A_ROUND = 25

export async function reloadPairs(
  pairs: number,
  seed: number,
  arrivalMs = ARRIVAL_MS,
): Promise<PairsOutcome> {
  const run = await PairsRun.start(seed, arrivalMs)
  try {
    for (let pair = 1; pair <= pairs; pair++) {
      await run.reload(`pair ${pair}`)
      if (pair % PAIRS_A_ROUND === 0 || pair === pairs) await run.settle(`after pair ${pair}`)
      if (run.failures.length > 0) break
    }
    return run.outcome
  } finally {
    await run.stop()
  }
}

class PairsRun {
  readonly failures: string[] = []
  readonly #random: Random
  readonly #rig: ReloadRig
  readonly #sinks: readonly ScriptedSink[]
  readonly #places: Places
  readonly #steady: readonly Qos1Device[]
  readonly #arrivalMs: number
  readonly #arrived = new Set<string>()
  readonly #effects: Record<string, number> = {}
  #drawn: Drawn
  #pairs = 0
  #sentAway = 0
  #acked = 0
  /** By devices that are gone. */
  readonly #told: string[] = []
  #connected = 0
  /** On the second listener; null: that is not there. */
  #second: Qos1Device | null = null
  /** They came by one whose address has moved since. */
  #moved: readonly Qos1Device[] = []

  private constructor(parts: {
    random: Random
    rig: ReloadRig
    sinks: readonly ScriptedSink[]
    places: Places
    steady: readonly Qos1Device[]
    drawn: Drawn
    arrivalMs: number
  }) {
    this.#random = parts.random
    this.#rig = parts.rig
    this.#sinks = parts.sinks
    this.#places = parts.places
    this.#steady = parts.steady
    this.#drawn = parts.drawn
    this.#arrivalMs = parts.arrivalMs
  }

  static async start(seed: number, arrivalMs: number): Promise<PairsRun> {
    const random = new Random(seed, 'reload')
    const sinks = [await ScriptedSink.start(), await ScriptedSink.start()] as const
    const places: Places = {
      cloudUrl: sinks[0].url,
      plantUrl: sinks[1].url,
      ports: [await freePort(), await freePort()],
    }
    const drawn = drawConfiguration(random, places)
    const rig = await ReloadRig.start(drawn.written)
    const steady = ['press-1', 'press-2', 'press-3'].map((id) => deviceOf(id))
    const run = new PairsRun({ random, rig, sinks, places, steady, drawn, arrivalMs })
    for (const device of steady) {
      await device.connect(rig.port)
      device.begin()
    }
    await run.#connectSecond()
    return run
  }

  get outcome(): PairsOutcome {
    return {
      pairs: this.#pairs,
      acked: this.#acked,
      effects: this.#effects,
      sentAway: this.#sentAway,
      failures: this.failures,
    }
  }

  async reload(name: string): Promise<void> {
    const next = drawConfiguration(this.#random, this.#places)
    const second = this.#second
    const isRemoved = next.secondPort === null && this.#drawn.secondPort !== null
    if (isRemoved) second?.expectClose()
    const { applied, plan, problems } = await this.#rig.reload(next.written)
    this.#pairs += 1
    for (const { effect } of plan.changes) this.#effects[effect] = (this.#effects[effect] ?? 0) + 1
    if (!applied && plan.changes.length > 0)
      this.failures.push(
        `${name}: refused: ${[...problems, ...plan.refused.map(({ key }) => key)].join('; ')}`,
      )
    await this.#followSecond(next, isRemoved)
    this.#drawn = next
    await sleep(PAUSE_MS)
    for (const device of this.#devices) {
      try {
        device.check()
        if (!device.isConnected) throw new Error('its connection is closed')
      } catch (error) {
        this.failures.push(`${name}: ${device.clientId}: ${String(error)}`)
      }
    }
  }

  /** The devices rest: all that they were told is found at a sink, and the counters balance. */
  async settle(name: string): Promise<void> {
    for (const device of this.#devices) device.pause()
    const isQuiet = (): boolean => this.#devices.every(({ unacked }) => unacked === 0)
    if (!(await within(this.#arrivalMs, isQuiet))) this.failures.push(`${name}: acks are missing`)
    const told = [...this.#told, ...this.#devices.flatMap(readingsOf)]
    const missing = (): string[] => told.filter((reading) => !this.#arrived.has(reading))
    const isAll = (): boolean => {
      this.#harvest()
      return missing().length === 0
    }
    if (!(await within(this.#arrivalMs, isAll)))
      this.failures.push(`${name}: ${missing().length} acknowledged readings are at no sink`)
    this.#acked = told.length
    for (const { name: stream, counters } of (await this.#rig.status()).streams)
      if (!isBalanced(counters)) this.failures.push(`${name}: ${stream} does not balance (I5)`)
    for (const device of this.#devices) device.resume()
  }

  async stop(): Promise<void> {
    for (const device of this.#devices) await device.close()
    await this.#rig.stop()
    for (const sink of this.#sinks) await sink.close()
  }

  get #devices(): readonly Qos1Device[] {
    return [...this.#steady, ...this.#moved, ...(this.#second === null ? [] : [this.#second])]
  }

  /** One that came by a listener stays with it, also where its address moves. */
  async #followSecond(next: Drawn, isRemoved: boolean): Promise<void> {
    const second = this.#second
    if (second !== null && isRemoved) {
      if (!(await within(LEAVE_MS, () => !second.isConnected)))
        this.failures.push(`${second.clientId}: a connection outlives its listener`)
      await this.#rest(second)
      this.#sentAway += 1
      this.#second = null
    } else if (second !== null && next.secondPort !== this.#drawn.secondPort) {
      this.#moved = [...this.#moved, second]
      this.#second = null
      const [oldest] = this.#moved.length > MOST_MOVED ? this.#moved : []
      if (oldest !== undefined) {
        this.#moved = this.#moved.slice(1)
        await this.#rest(oldest)
      }
    }
    if (this.#second === null) await this.#connectSecond(next.secondPort)
  }

  /** What it was told is looked for at the end, too. */
  async #rest(device: Qos1Device): Promise<void> {
    await device.close()
    this.#told.push(...readingsOf(device))
  }

  async #connectSecond(port = this.#drawn.secondPort): Promise<void> {
    if (port === null) return
    const device = deviceOf(`mover-${++this.#connected}`)
    await device.connect(port)
    device.begin()
    this.#second = device
  }

  #harvest(): void {
    for (const sink of this.#sinks)
      for (const { stored, lines } of sink.requests.splice(0)) {
        if (!stored) continue
        for (const line of lines) {
          const { topic, payload } = JSON.parse(line) as { topic: string; payload: { n: number } }
          this.#arrived.add(`${topic.slice('plant/'.length)}:${payload.n}`)
        }
      }
  }
}

function readingsOf({ clientId, acked }: Qos1Device): string[] {
  return acked.map((n) => `${clientId}:${n}`)
}

function deviceOf(clientId: string): Qos1Device {
  return new Qos1Device(clientId, { window: 5, textBytes: 40, paceMs: 20 })
}

function isBalanced(of: ConservationCounters): boolean {
  const dropped = Object.values(of.dropped).reduce((sum, one) => sum + one, 0)
  return of.received + of.requeued === of.delivered + of.deadLettered + dropped + of.pending
}

async function within(limitMs: number, isDone: () => boolean): Promise<boolean> {
  const endMs = performance.now() + limitMs
  while (!isDone()) {
    if (performance.now() > endMs) return false
    await sleep(POLL_MS)
  }
  return true
}
