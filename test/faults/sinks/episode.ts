/**
 * One episode: a real gateway, the real receiver of a type behind a link that can fail, devices that
 * publish into two streams, and actions out of a deck: the gateway dies at a point, the link or the
 * receiver fails, both at once. Behind an action everything acknowledged is looked for at the
 * receiver itself; four in five times, so that what was left undone piles up now and then.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Random } from '../../../device-sim/random.ts'
import type { Status } from '../../../gateway/ports/status.ts'
import { assertBalanced, GatewayProcess } from '../../support/gateway-process.ts'
import { levelsInTurn } from '../../support/levels.ts'
import type { Level } from '../../support/mqtt-answers.ts'
import { builtFile } from '../../support/process.ts'
import { Qos1Device } from '../../support/qos1-device.ts'
import { publishAll, RawMqtt } from '../../support/raw-mqtt.ts'
import { type Action, isFirst, nameOfAction, shuffled, wholeDeck } from './deck.ts'
import { judge, repeatsIn } from './judge.ts'
import { Link } from './link.ts'
import {
  ARMING_SIGNAL,
  DEFECT_VARIABLE,
  lastWords,
  PLAN_VARIABLE,
  type PointPlan,
  type SinkPoint,
} from './points.ts'
import type { TestedReceiver, TestedType } from './receiver.ts'

export interface EpisodeOptions {
  readonly type: string
  readonly tested: TestedType
  readonly seed: string
  readonly folder: string
  /** How many: the deck is dealt again when it is at its end. Absent: the deck once. */
  readonly actions?: number
  /** Deaths at named points for each fault of link and receiver. Absent: each point once. */
  readonly deathsAFault?: number
  /** Names of actions, of which those are dealt that the type knows; absent: all. */
  readonly only?: readonly string[]
  /** Planted into every life of the gateway. */
  readonly defect?: string
}

export interface EpisodeReport {
  /** Names of the actions that were in the deck. */
  readonly possible: readonly string[]
  /** How often each thing happened, by name. */
  readonly happened: Readonly<Record<string, number>>
  /** Acknowledged readings that were found at the receiver. */
  readonly readings: number
  /** Records that were there more than once, each time but the first. */
  readonly repeated: number
  /** Empty: every promise was kept. */
  readonly faults: readonly string[]
}

/** The prefixes of the topics, one a stream. */
const STREAMS = ['plant', 'line'] as const
/** As fast as it takes for batches to follow each other: time goes into faults, not into readings. */
const DEVICE = { window: 5, textBytes: 40, paceMs: 20 } as const
const UNCHECKED_SHARE = 0.2
const KILL_IN_FAULT_SHARE = 0.3
const POISON_SHARE = 0.3
/** A point that is not passed so often in this time is given up; the process dies all the same. */
const PATIENCE_MS = 6_000
const START_MS = 60_000
const DRAIN_MS = 60_000
const FAULT_MS = 30_000
/** How long a fault lasts, at most, once it was met; and until one begins, ms. */
const LASTS_MS = 300
const MOST_PASSES = 8
const POLL_MS = 5

interface Failures {
  /** Batches that its sink tried in this life, and that it neither took nor took in part. */
  readonly tries: number
  /** When streams that wait are tried again. */
  readonly nextTries: readonly string[]
}

const NO_FAILURES: Failures = { tries: 0, nextTries: [] }

export async function runEpisode(options: EpisodeOptions): Promise<EpisodeReport> {
  const { tested, folder } = options
  const receiver = await tested.open(folder)
  const link = receiver.port === null ? null : await Link.to(receiver.port)
  const preload = pathToFileURL(builtFile('test/faults/sinks/preload.js')).href
  const node = tested.node?.()
  const nodeOptions = [node?.env['NODE_OPTIONS'] ?? '', `--import=${preload}`].join(' ').trim()
  const planPath = join(folder, 'plan.json')
  const planted = options.defect === undefined ? {} : { [DEFECT_VARIABLE]: options.defect }
  const gateway = await GatewayProcess.prepare({
    folder,
    sinkUrl: 'http://127.0.0.1:9/',
    sections: {
      streams: Object.fromEntries(STREAMS.map((name) => [name, { topics: [`${name}/#`] }])),
      spool: { minFreeBytes: '1MiB', commitInterval: '20ms' },
    },
    ...(node === undefined ? {} : { node: node.path }),
    env: {
      ...node?.env,
      ...receiver.env,
      NODE_OPTIONS: nodeOptions,
      [PLAN_VARIABLE]: planPath,
      ...planted,
    },
  })
  const episode = new Episode(options, { gateway, receiver, link, planPath })
  try {
    return await episode.run()
  } finally {
    await episode.close()
    await link?.close()
    await receiver.close()
  }
}

interface Parts {
  readonly gateway: GatewayProcess
  readonly receiver: TestedReceiver
  readonly link: Link | null
  /** Of the file that tells the gateway its plan. */
  readonly planPath: string
}

class Episode {
  readonly #o: EpisodeOptions
  readonly #gateway: GatewayProcess
  readonly #receiver: TestedReceiver
  readonly #link: Link | null
  readonly #random: Random
  readonly #happened: Record<string, number> = {}
  readonly #devices: Qos1Device[] = []
  readonly #nextLevel: () => Level
  readonly #poison = { sent: 0, acked: 0 }
  readonly #planPath: string
  #plans = 0
  #disturbances = 0
  #readings = 0
  #repeated = 0

  constructor(options: EpisodeOptions, { gateway, receiver, link, planPath }: Parts) {
    this.#o = options
    this.#planPath = planPath
    this.#gateway = gateway
    this.#receiver = receiver
    this.#link = link
    this.#random = new Random(options.seed, `sinks ${options.type}`)
    this.#nextLevel = levelsInTurn(options.seed)
  }

  async run(): Promise<EpisodeReport> {
    const faults: string[] = []
    const deck = this.#deck()
    let doing = 'the start'
    try {
      for (const action of this.#deal(deck)) {
        doing = nameOfAction(action)
        await this.#act(action)
        if (!this.#random.chance(UNCHECKED_SHARE)) faults.push(...(await this.#check()))
        if (faults.length > 0) break
      }
      if (faults.length === 0) faults.push(...(await this.#check()))
    } catch (error) {
      faults.push(error instanceof Error ? error.message : String(error))
    }
    const told = faults.map(
      (fault) => `${this.#o.type}, seed ${this.#o.seed}, ${doing}: ${fault}\n${this.#logTail()}`,
    )
    const possible = deck.map(nameOfAction)
    const [happened, readings, repeated] = [this.#happened, this.#readings, this.#repeated]
    return { possible, happened, readings, repeated, faults: told }
  }

  #deck(): Action[] {
    const { tested, only, deathsAFault } = this.#o
    const all = wholeDeck(tested, this.#receiver, deathsAFault)
    const deck = all.filter((action) => only?.includes(nameOfAction(action)) ?? true)
    if (deck.length === 0) throw new Error(`${this.#o.type} knows none of ${only?.join()}`)
    return deck
  }

  #deal(deck: readonly Action[]): Action[] {
    const { troubles } = this.#receiver
    const dealt = shuffled(deck, troubles, this.#random)
    const again = deck.filter((action) => !isFirst(action, troubles))
    const { actions = dealt.length } = this.#o
    while (dealt.length < actions && again.length > 0)
      dealt.push(...shuffled(again, troubles, this.#random))
    return dealt.slice(0, actions)
  }

  async close(): Promise<void> {
    for (const device of this.#devices) await device.close()
    if (this.#gateway.isRunning) await this.#gateway.process.reap()
  }

  async #act(action: Action): Promise<void> {
    switch (action.kind) {
      case 'death':
        await this.#die(action.point)
        return
      case 'link':
        await this.#linkFails(action)
        return
      case 'trouble':
        await this.#receiverFails(action)
        return
      default:
        await this.#receiverDiesAt(action.point)
    }
  }

  async #die(point: SinkPoint | 'any time'): Promise<void> {
    if (point === 'any time') {
      await this.#ensureLife()
      await this.#kill()
      return
    }
    const plan = this.#plan(point, 'die')
    await this.#arm(plan)
    const { process } = this.#gateway
    await Promise.race([process.exited, sleep(PATIENCE_MS, null, { ref: false })])
    const isThere = process.stderr.includes(lastWords(plan))
    if (process.exit !== null && !isThere)
      throw new Error(`the gateway ended by itself:\n${process.stderr}`)
    this.#count(isThere ? `killed at ${point}` : `not reached: ${point}`)
    this.#disturbances++
    await process.reap()
    await this.#part()
  }

  async #linkFails(action: Extract<Action, { kind: 'link' }>): Promise<void> {
    const link = this.#link
    if (link === null) throw new Error('there is no link')
    await this.#ensureLife()
    await this.#aWhile()
    // Who is refused before it ever came meets nothing that could be counted.
    if (action.fault === 'refused')
      await until('somebody is connected', () => link.connections > 0, FAULT_MS)
    await link.begin(action.fault)
    await until(`the link is ${action.fault}, and somebody meets it`, () => link.hits > 0, FAULT_MS)
    await this.#aWhile()
    await this.#maybeKilled()
    this.#disturbances += link.hits
    await link.end()
    this.#count(nameOfAction(action))
    await this.#maybeRetry()
  }

  async #receiverFails(action: Extract<Action, { kind: 'trouble' }>): Promise<void> {
    const trouble = this.#receiver.troubles[action.fault]
    if (trouble === undefined) throw new Error(`no trouble ${action.fault}`)
    if (trouble.onlyAtFirst) await trouble.begin()
    await this.#ensureLife()
    const before = trouble.onlyAtFirst ? NO_FAILURES : await this.#failures()
    if (!trouble.onlyAtFirst) {
      await this.#aWhile()
      await trouble.begin()
    }
    this.#disturbances++
    await this.#notices(action.fault, before)
    await this.#aWhile()
    await this.#maybeKilled()
    await trouble.end()
    this.#count(nameOfAction(action))
    await this.#maybeRetry()
  }

  /** At that very moment: the gateway stands still meanwhile. */
  async #receiverDiesAt(point: SinkPoint): Promise<void> {
    const { killed } = this.#receiver.troubles
    if (killed === undefined) throw new Error('it cannot be killed')
    const plan = this.#plan(point, 'stop')
    await this.#arm(plan)
    const { process } = this.#gateway
    const reached = await process.waitForLine(lastWords(plan), PATIENCE_MS).then(
      () => true,
      () => false,
    )
    // Its words come before it stands still: a signal between the two would be lost.
    if (reached)
      await until('the gateway stands still', () => isStopped(process.pid ?? 0), PATIENCE_MS)
    await killed.begin()
    this.#disturbances++
    this.#disarm()
    this.#count(reached ? `receiver killed at ${point}` : `not reached: ${point}`)
    await this.#aWhile()
    await this.#maybeKilled()
    await killed.end()
    await this.#maybeRetry()
  }

  #plan(point: SinkPoint, deed: PointPlan['deed']): PointPlan {
    return { point, nth: 1 + this.#random.below(MOST_PASSES), deed, number: ++this.#plans }
  }

  /** Carried out by the gateway that runs, or by the next one from its start on. */
  async #arm(plan: PointPlan): Promise<void> {
    if (!this.#gateway.isRunning) {
      await this.#live(plan)
      return
    }
    await this.#ensureLife()
    if (plan.deed === 'die') for (const device of this.#devices) device.expectClose()
    this.#tell(plan)
    this.#gateway.process.kill(ARMING_SIGNAL)
  }

  /** Or it would stand still later, at a point that it reached too late. */
  #disarm(): void {
    this.#tell(null)
    this.#gateway.process.kill(ARMING_SIGNAL)
    this.#gateway.thaw()
  }

  #tell(plan: PointPlan | null): void {
    writeFileSync(this.#planPath, JSON.stringify(plan))
  }

  async #ensureLife(): Promise<void> {
    if (!this.#gateway.isRunning) await this.#live(null)
    // One that stood still at a point may be about to.
    else await this.#gateway.event('broker.started', START_MS)
    const connected = this.#devices.filter((device) => device.isConnected)
    // One that stood still while devices connected has let none of them in.
    if (connected.length < STREAMS.length) await this.#connect(null)
    for (const device of connected) device.begin()
  }

  /** A new life of the gateway, with devices that publish. */
  async #live(plan: PointPlan | null): Promise<void> {
    this.#configure()
    this.#tell(plan)
    this.#gateway.launch()
    const started = await this.#gateway.event('broker.started', START_MS).then(
      () => true,
      () => false,
    )
    // What was pinned goes out at once: it may reach the point before devices are let in.
    if (!started && plan === null)
      throw new Error(`it does not start:\n${this.#gateway.process.stderr}`)
    if (started) await this.#connect(plan)
  }

  async #connect(plan: PointPlan | null): Promise<void> {
    const { mqttPort } = this.#gateway
    try {
      if (this.#random.chance(POISON_SHARE)) await this.#sendPoison()
      for (const prefix of STREAMS) {
        const name = `${prefix}-${this.#devices.length + 1}`
        const device = new Qos1Device(name, { ...DEVICE, prefix, level: this.#nextLevel() })
        this.#devices.push(device)
        await device.connect(mqttPort)
        if (plan?.deed === 'die') device.expectClose()
        device.begin()
      }
    } catch (error) {
      // It died meanwhile, or stands still.
      if (plan === null) throw error
    }
  }

  async #sendPoison(): Promise<void> {
    const { poison } = this.#o.tested
    if (poison === undefined) return
    const n = ++this.#poison.sent
    const fields = { clientId: `poison-${n}`, level: this.#nextLevel() }
    const client = await RawMqtt.connect(this.#gateway.mqttPort, fields)
    try {
      await publishAll(client, `plant/poison-${n}`, [poison(n)])
      this.#poison.acked++
      this.#count('poison records')
    } finally {
      client.cut()
    }
  }

  async #kill(): Promise<void> {
    await this.#aWhile()
    for (const device of this.#devices) device.expectClose()
    await this.#gateway.kill()
    await this.#part()
    this.#disturbances++
    this.#count('killed at any time')
  }

  async #part(): Promise<void> {
    for (const device of this.#devices) await device.close()
  }

  async #maybeKilled(): Promise<void> {
    if (!this.#random.chance(KILL_IN_FAULT_SHARE)) return
    await this.#kill()
    await this.#live(null)
    await this.#aWhile()
  }

  /** Half of the time an operator asks for it; a hold needs one, what is retried passes by itself. */
  async #maybeRetry(): Promise<void> {
    if (!this.#gateway.isRunning) return
    const { sinks, streams } = await this.#gateway.status()
    const isHeld =
      sinks.some(({ state }) => state === 'held') ||
      streams.some(({ delivery }) => delivery.state === 'held')
    if (!isHeld && this.#random.chance(0.5)) return
    const response = await fetch(`${this.#gateway.adminUrl}/api/sinks/cloud/retry`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    })
    if (response.status !== 202) throw new Error(`retry is answered ${response.status}`)
  }

  /** What changes with each try that got nothing through. */
  async #failures(): Promise<Failures> {
    const { sinks, streams } = await this.#gateway.status()
    const tries = Object.entries(sinks[0]?.requests ?? {})
      .filter(([outcome]) => outcome !== 'acked' && outcome !== 'partial')
      .reduce((all, [, times]) => all + times, 0)
    const nextTries = streams
      .filter(({ delivery }) => delivery.state !== 'ok')
      .flatMap(({ delivery: { nextTryAt } }) => (nextTryAt === null ? [] : [nextTryAt]))
    return { tries, nextTries }
  }

  /** The gateway tried, and met the trouble. */
  async #notices(fault: string, before: Failures): Promise<void> {
    for (const endMs = performance.now() + FAULT_MS; ; await sleep(POLL_MS)) {
      const { tries, nextTries } = await this.#failures()
      if (tries > before.tries) return
      // A partial answer may ack nothing: then it waits, as for any other.
      if (nextTries.some((at) => !before.nextTries.includes(at))) return
      if (performance.now() > endMs) throw new Error(`nobody noticed that it is ${fault}`)
    }
  }

  async #aWhile(): Promise<void> {
    await sleep(this.#random.below(LASTS_MS))
  }

  /** Everything is delivered, and what the receiver has is what it should have. */
  async #check(): Promise<string[]> {
    await this.#ensureLife()
    await this.#aWhile()
    for (const device of this.#devices) {
      if (!device.isConnected) continue
      // A refused record stays parked until a later one of its stream was taken.
      const later = device.acked.length + device.unacked
      await until(`${device.clientId} goes on`, () => device.acked.length > later, DRAIN_MS)
      device.pause()
      await until(`acks of ${device.clientId}`, () => device.unacked === 0, DRAIN_MS)
      device.check()
    }
    const status = await this.#drained()
    assertBalanced(status)
    const refused = status.streams.reduce((all, { counters }) => all + counters.deadLettered, 0)
    const { sent, acked } = this.#poison
    if (refused < acked || refused > sent)
      return [`I8: ${refused} dead letters of ${acked} to ${sent} poison records`]
    const stored = await this.#receiver.read()
    const { delivery, window = 0, repeatsARefusal = 0 } = this.#o.tested
    const disturbances = this.#disturbances + sent * repeatsARefusal
    const expected = { delivery, window, disturbances }
    const faults = judge(expected, stored, this.#devices)
    if (stored.some(({ device }) => device.startsWith('poison-')))
      faults.push('a poison record was stored')
    this.#count('checks')
    this.#readings = this.#devices.reduce((all, { acked: ours }) => all + ours.length, 0)
    this.#repeated = repeatsIn(stored).reduce((all, { seqs }) => all + seqs.length, 0)
    return faults
  }

  /** Fails only if nothing more is delivered for so long: a slow machine is no fault. */
  async #drained(): Promise<Status> {
    for (let left = Number.POSITIVE_INFINITY; ; ) {
      let pending = left
      const status = await this.#gateway.untilStatus(
        'more is delivered',
        ({ streams }) => {
          pending = streams.reduce((all, { counters }) => all + counters.pending, 0)
          return pending < left
        },
        DRAIN_MS,
      )
      if (pending === 0) return status
      left = pending
    }
  }

  #configure(): void {
    const { configPath } = this.#gateway
    const config = JSON.parse(readFileSync(configPath, 'utf8')) as Record<string, unknown>
    const own = this.#receiver.sink(this.#link?.port ?? 0, this.#random)
    const cloud = { linger: '0s', maxInFlight: 2, ...own }
    const streams = Object.fromEntries(
      STREAMS.map((name) => [name, { topics: [`${name}/#`], sink: 'cloud' }]),
    )
    writeFileSync(configPath, JSON.stringify({ ...config, streams, sinks: { cloud } }, null, 1))
  }

  #count(what: string): void {
    this.#happened[what] = (this.#happened[what] ?? 0) + 1
  }

  #logTail(): string {
    return this.#gateway.wasStarted ? this.#gateway.logTail(12) : ''
  }
}

async function until(what: string, condition: () => boolean, timeoutMs: number): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await sleep(POLL_MS)
  }
}

/** Of Linux: the state stands behind the name, which is in brackets. */
function isStopped(pid: number): boolean {
  return /^.*\) T /s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}
