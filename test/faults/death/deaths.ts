/**
 * Process death, over and over: a gateway under traffic is ended by SIGKILL at a point that a seed
 * chooses, started again, and checked by the oracle. One in five deaths is not followed by a check,
 * so that backlogs and half-done recoveries pile up.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Random } from '../../../device-sim/random.ts'
import { dealSpeeches } from '../../support/levels.ts'
import { builtFile } from '../../support/process.ts'
import { TYPE } from '../../support/raw-mqtt.ts'
import type { DeviceDeeds, OracleDevice, OracleDeviceOptions } from '../oracle/device.ts'
import type { SinkMood } from '../oracle/ledger-sink.ts'
import { Oracle } from '../oracle/oracle.ts'
import {
  ARMING_SIGNAL,
  DEFECT_VARIABLE,
  type DeathPlan,
  type DeathPoint,
  type Defect,
  INNER_POINTS,
  type InnerPoint,
  LAST_WORDS,
  PLAN_VARIABLE,
  STEPS_WORDS,
} from './points.ts'

export interface DeathsOptions {
  readonly deaths: number
  readonly seed: number
  /** Shuffled, and dealt again when all had their turn. */
  readonly points: readonly DeathPoint[]
  readonly say: (line: string) => void
  /** Planted into every life of the gateway. */
  readonly defect?: Defect
  /** Now and then the sink is down over several lives, which are not checked. @default false */
  readonly outages?: boolean
  /** What the sink does until each death; by default what the point asks for, or the seed. */
  readonly mood?: SinkMood
}

export interface DeathsReport {
  readonly deaths: number
  /** Deaths by point; under {@link MISSED} those whose point was not passed often enough. */
  readonly points: Readonly<Record<string, number>>
  /** Orderly stops that were over before they died. */
  readonly cleanStops: number
  readonly checks: number
  /** Acknowledged readings that were found at the sink. */
  readonly readings: number
  readonly requests: number
  readonly deeds: DeviceDeeds
  /** Empty: all is well. */
  readonly faults: readonly string[]
}

const DEVICES: readonly OracleDeviceOptions[] = [
  { name: 'press-1', qos: 1, topic: 'plant/press-1', window: 24 },
  { name: 'press-2', qos: 2, topic: 'plant/press-2', window: 24 },
  { name: 'press-3', qos: 2, topic: 'plant/press-3', window: 2 },
  // Enough bytes that LevelDB writes tables and merges them while the process dies.
  { name: 'camera-1', qos: 1, topic: 'plant/camera-1', window: 3, textBytes: 12_000 },
  { name: 'ring-1', qos: 1, topic: 'ring/ring-1', window: 8, textBytes: 400, lossy: true },
  { name: 'ring-2', qos: 2, topic: 'ring/ring-2', window: 4, textBytes: 400, lossy: true },
]

const VISITOR_SESSION_SECONDS = 2
/** Its session lives for seconds; it stays away for shorter and for longer. */
const VISITOR: OracleDeviceOptions = {
  name: 'visitor-1',
  qos: 2,
  topic: 'plant/visitor-1',
  window: 4,
  level: 5,
  sessionSeconds: VISITOR_SESSION_SECONDS,
}
/** Of its lives, those in which it comes later, up to twice the time of its session. */
const LATE_SHARE = 0.5
/** Of lives, those in which a device takes over from its own connection, within this time. */
const TAKEOVER_SHARE = 0.4
const TAKEOVER_WITHIN_MS = 100
/**
 * A tenth of it is granted at most, which is less than the largest window: devices of MQTT 5 are at
 * their Receive Maximum all the time.
 */
const MAX_UNACKED = 200

/**
 * Alone uses up half a lease in a life, for which a grant would leave no time: it speaks 3.1.1.
 * Publishes only where that is wanted.
 */
const BURST: OracleDeviceOptions = {
  name: 'burst-1',
  qos: 1,
  topic: 'plant/burst-1',
  window: 2_000,
  paceMs: 0,
}
const LEASE_PATIENCE_MS = 20_000

const STREAMS = {
  telemetry: { topics: ['plant/#'] },
  // Small enough to drop during an outage of a fraction of a second.
  ring: {
    topics: ['ring/#'],
    maxBytes: '8KiB',
    maxRecordBytes: '4KiB',
    whenFull: 'drop-oldest',
    priority: 1,
  },
}

/** The process was ended at a time-out: no proof for any point. */
export const MISSED = 'time-out'

/** A point that is not passed so often in this time is given up: the process dies all the same. */
const PATIENCE_MS = 4_000
/**
 * Nothing is promised about time here: these find what hangs, also on a machine that is busy with
 * other things.
 */
const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 60_000
/** Two time-outs would divide a batch, and rightly so: here they say that the machine is busy. */
const SINK_TIMEOUT = '60s'
const UNCHECKED_SHARE = 0.2
/**
 * Now and then the sink is down over several lives: the backlog outgrows an index segment and a
 * checkpoint.
 */
const OUTAGE_SHARE = 0.02
const OUTAGE_LIVES = 6
const OUTAGE_LIFE_MS = 1_500
/** What can be reached without an answer. */
const OUTAGE_POINTS: readonly DeathPoint[] = ['random.running', 'random.start', 'recovery.step']
const SAY_EVERY = 50

export async function runDeaths(options: DeathsOptions): Promise<DeathsReport> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-death-'))
  const oracle = await Oracle.prepare(
    {
      folder,
      sections: {
        streams: STREAMS,
        mqtt: { maxUnackedMessages: MAX_UNACKED, maxUnackedMessagesTotal: MAX_UNACKED },
      },
      sink: { recoveryJitter: '0s', timeout: SINK_TIMEOUT },
      env: {
        NODE_OPTIONS: `--import=${pathToFileURL(builtFile('test/faults/death/preload.js')).href}`,
      },
    },
    [...dealSpeeches(options.seed, DEVICES), VISITOR, BURST],
  )
  try {
    return await new Deaths(oracle, options).run()
  } finally {
    await oracle.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

class Deaths {
  readonly #oracle: Oracle
  readonly #options: DeathsOptions
  readonly #random: Random
  readonly #points: Record<string, number> = {}
  /** As the last life of that phase said; how far a `step` can go. */
  readonly #steps: Record<string, number> = { recovery: 40, running: 40, stop: 20 }
  #deck: DeathPoint[] = []
  #outageLives = 0
  #cleanStops = 0
  #checks = 0

  constructor(oracle: Oracle, options: DeathsOptions) {
    this.#oracle = oracle
    this.#options = options
    this.#random = new Random(options.seed, 'deaths')
  }

  async run(): Promise<DeathsReport> {
    const { deaths, seed, say, outages = false } = this.#options
    try {
      let isChecked = true
      for (let died = 0; died < deaths && this.#oracle.faults.length === 0; ) {
        if (this.#outageLives > 0) this.#outageLives--
        else if (outages && this.#random.chance(OUTAGE_SHARE)) this.#outageLives = OUTAGE_LIVES
        const point = await this.#live(this.#nextPoint(), isChecked && this.#outageLives === 0)
        if (point === null) this.#cleanStops++
        else {
          this.#points[point] = (this.#points[point] ?? 0) + 1
          died++
          if (died % SAY_EVERY === 0)
            say(`${died} deaths, ${this.#oracle.verified} readings verified`)
        }
        isChecked = !this.#random.chance(UNCHECKED_SHARE)
      }
      if (this.#oracle.faults.length === 0) await this.#lastLife()
    } catch (error) {
      this.#oracle.faults.push(`(seed ${seed}) ${String(error)}`)
    }
    const { deeds, faults, verified, sink } = this.#oracle
    return {
      deaths: Object.values(this.#points).reduce((all, count) => all + count, 0),
      points: this.#points,
      cleanStops: this.#cleanStops,
      checks: this.#checks,
      readings: verified,
      requests: sink.requests,
      deeds,
      faults,
    }
  }

  #nextPoint(): DeathPoint {
    const { points } = this.#options
    const possible = OUTAGE_POINTS.filter((point) => points.includes(point))
    if (this.#outageLives > 0 && possible.length > 0) {
      return possible[this.#random.below(possible.length)] as DeathPoint
    }
    if (this.#deck.length === 0) this.#deck = [...points]
    return this.#deck.splice(this.#random.below(this.#deck.length), 1)[0] as DeathPoint
  }

  /** One life, and the point at which it ended; null: orderly, or not at all because of a fault. */
  async #live(point: DeathPoint, isChecked: boolean): Promise<DeathPoint | typeof MISSED | null> {
    const oracle = this.#oracle
    const { gateway } = oracle
    const plan = this.#plan(point)
    this.#calm()
    const life = gateway.launch(this.#environment(plan))
    if (point === 'recovery.step') return await this.#diedInRecovery()
    if (point === 'random.start') {
      await sleep(this.#random.between(0, 600))
      await gateway.kill()
      return point
    }
    await gateway.event('broker.started', START_TIMEOUT_MS)
    this.#noteSteps()
    oracle.connect((device) => this.#awayMs(device))
    if (isChecked) await this.#check(point)
    if (oracle.faults.length > 0) return null
    this.#trouble(point)
    this.#lookOut(point)
    if (plan !== null) life.kill(ARMING_SIGNAL)
    for (const device of oracle.devices) {
      device.isPublishing = device.options.name !== BURST.name || point.startsWith('lease')
    }
    const takeover = this.#takeOverSoon()
    const end = await this.#end(point, plan)
    clearTimeout(takeover)
    this.#noteSteps()
    await oracle.part()
    return end
  }

  #awayMs({ options }: OracleDevice): number {
    if (options.name !== VISITOR.name || !this.#random.chance(LATE_SHARE)) return 0
    return this.#random.between(0, 2_000 * VISITOR_SESSION_SECONDS)
  }

  #takeOverSoon(): NodeJS.Timeout | undefined {
    if (!this.#random.chance(TAKEOVER_SHARE)) return undefined
    const { devices } = this.#oracle
    const device = devices[this.#random.below(devices.length)]
    const inMs = this.#random.between(0, TAKEOVER_WITHIN_MS)
    return setTimeout(() => device?.takeOver(), inMs)
  }

  async #end(
    point: DeathPoint,
    plan: DeathPlan | null,
  ): Promise<DeathPoint | typeof MISSED | null> {
    const { gateway } = this.#oracle
    if (point.endsWith('.stop') || point === 'stop.step') {
      await sleep(this.#random.between(5, 80))
      gateway.process.kill('SIGTERM')
      if (point === 'random.stop') {
        await sleep(this.#random.between(0, 120))
        gateway.process.kill('SIGKILL')
      }
      const { signal, code } = await gateway.process.waitForExit(STOP_TIMEOUT_MS)
      if (signal !== 'SIGKILL' && code !== 0)
        this.#oracle.faults.push(`a stop ended with ${signal ?? code}`)
      return signal === 'SIGKILL' ? point : null
    }
    const mostMs = this.#outageLives > 0 ? OUTAGE_LIFE_MS : 300
    const toPoint = point.startsWith('lease') ? LEASE_PATIENCE_MS : PATIENCE_MS
    const patience = point === 'random.running' ? this.#random.between(0, mostMs) : toPoint
    await Promise.race([gateway.process.exited, sleep(patience, null, { ref: false })])
    if (gateway.isRunning) {
      await gateway.process.reap()
      return point === 'random.running' ? point : MISSED
    }
    const { signal } = await gateway.process.exited
    const isAtPoint = plan === null || gateway.process.stderr.includes(`${LAST_WORDS} ${point}`)
    if (signal !== 'SIGKILL' || !isAtPoint) {
      this.#oracle.faults.push(`the gateway ended by itself:\n${gateway.logTail()}`)
    }
    return point
  }

  async #diedInRecovery(): Promise<DeathPoint | typeof MISSED> {
    const { gateway } = this.#oracle
    const started = gateway.event('broker.started', START_TIMEOUT_MS).then(
      () => true,
      () => false,
    )
    if (await started) {
      // Fewer steps than last time.
      this.#noteSteps()
      await gateway.kill()
      return MISSED
    }
    const { signal } = await gateway.process.exited
    if (signal !== 'SIGKILL') this.#oracle.faults.push(`it did not start:\n${gateway.logTail()}`)
    return 'recovery.step'
  }

  /** Without a death: whatever was left undone is done now. */
  async #lastLife(): Promise<void> {
    this.#outageLives = 0
    this.#calm()
    await this.#oracle.gateway.start()
    this.#oracle.connect()
    await this.#check('the end')
  }

  async #check(before: string): Promise<void> {
    this.#checks++
    if (await this.#oracle.check()) return
    const { seed } = this.#options
    const log = this.#oracle.gateway.logTail()
    this.#oracle.faults.push(`(check ${this.#checks}, seed ${seed}, before ${before})\n${log}`)
  }

  #environment(plan: DeathPlan | null): Record<string, string> {
    const { defect } = this.#options
    return {
      ...(plan === null ? {} : { [PLAN_VARIABLE]: JSON.stringify(plan) }),
      ...(defect === undefined ? {} : { [DEFECT_VARIABLE]: defect }),
    }
  }

  #plan(point: DeathPoint): DeathPlan | null {
    if (!(INNER_POINTS as readonly string[]).includes(point)) return null
    const [phase = ''] = point.split('.')
    let most = point.startsWith('lease') ? 1 : 6
    if (point.endsWith('.step')) most = this.#steps[phase] ?? 20
    return {
      point: point as InnerPoint,
      nth: 1 + this.#random.below(Math.max(1, most)),
      afterUs: this.#random.below(2_000),
    }
  }

  #noteSteps(): void {
    const words = new RegExp(`${STEPS_WORDS} (\\w+) (\\d+)`, 'g')
    for (const [, phase = '', count] of this.#oracle.gateway.process.stderr.matchAll(words)) {
      this.#steps[phase] = Number(count)
    }
  }

  /** The sink as a check wants it. */
  #calm(): void {
    const { sink, devices } = this.#oracle
    sink.mood = () => (this.#outageLives > 0 ? 'refused' : 'ok')
    sink.onStored = () => false
    for (const device of devices) {
      device.onFrame = () => false
      device.onRelease = () => undefined
    }
  }

  /**
   * How the sink behaves until the death: drops want an outage, what hangs on its answers wants it
   * well.
   */
  #trouble(point: DeathPoint): void {
    const { sink } = this.#oracle
    const mood = this.#outageLives > 0 ? 'refused' : this.#options.mood
    if (mood !== undefined) sink.mood = () => mood
    else if (point.startsWith('retention')) sink.mood = () => 'refused'
    else if (/^(settle|answer|sink)/.test(point)) sink.mood = () => 'ok'
    else {
      const dice = this.#random.next()
      const moods: readonly SinkMood[] =
        dice < 0.2 ? ['refused'] : ['ok', 'ok', 'unanswered', 'refused', 'cut']
      const random = this.#random
      if (dice < 0.6) sink.mood = () => moods[random.below(moods.length)] as SinkMood
    }
  }

  /**
   * Deaths that the driver deals out itself, in the very turn in which it sees what they wait for.
   */
  #lookOut(point: DeathPoint): void {
    const { sink, devices, gateway } = this.#oracle
    let left = 1 + this.#random.below(12)
    const isNow = (): boolean => {
      if (--left !== 0) return false
      gateway.process.kill('SIGKILL')
      return true
    }
    if (point === 'sink.stored') sink.onStored = isNow
    const types: Readonly<Record<string, number>> = {
      puback: TYPE.PUBACK,
      pubrec: TYPE.PUBREC,
      pubcomp: TYPE.PUBCOMP,
    }
    const type = types[point]
    for (const device of devices) {
      // PUBREC: the PUBREL is not sent, the session stands between the two.
      if (type !== undefined)
        device.onFrame = (frame) => frame.type === type && isNow() && point === 'pubrec'
      if (point === 'pubrel') device.onRelease = () => void isNow()
    }
  }
}
