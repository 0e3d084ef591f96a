/**
 * One load on one system, with everything that can be read meanwhile: the measure below all groups.
 */
import { deviceWrittenBytes } from './disk.ts'
import { cpuSeconds, type MeasureHooks, memoryMb, runPublisher, writeBytes } from './processes.ts'
import type { PublisherOptions, Subscribers } from './publisher.ts'
import type { Protocol, Shape } from './readings.ts'
import { median } from './statistics.ts'
import { COMMIT_BURST, COMMIT_INTERVAL_MS, type System } from './systems.ts'

export interface LoadOptions {
  readonly seconds: number
  readonly seed: number
  /** Messages in flight per device. @default 20; with a pace so many that it is not what limits */
  readonly window?: number
  /** @default 1 */
  readonly qos?: 1 | 2
  /** @default 50 */
  readonly devices?: number
  /** @default models */
  readonly shape?: Shape
  /** Of MQTT. @default 4, which is 3.1.1 */
  readonly protocol?: Protocol
  /** Local subscribers on `#` beside the load. @default none */
  readonly subscribers?: Subscribers
  /** All devices together. @default as many as are acknowledged */
  readonly messagesPerSecond?: number
  /** @default 1500 */
  readonly warmupMs?: number
  /** @default where there is a compiler */
  readonly compiledPublisher?: boolean
  /**
   * Waits until nothing is pending and counts disk writes until then. @default false: those of the
   * measured time
   */
  readonly drain?: boolean
}

export interface LoadFigures {
  readonly system: string
  readonly ackedPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Share of a core. */
  readonly publisherBusy: number
  /** To all local subscribers; null: there were none. */
  readonly copiesPerSecond: number | null
  /** The most of the measured time. */
  readonly rssAnonMb: number
  readonly rssMb: number
  readonly cpuMicrosPerMessage: number
  readonly diskBytesPerPayloadByte: number
  /** Of the whole block device, others' writes included; null: it has no statistics. */
  readonly deviceBytesPerPayloadByte: number | null
  readonly commitsPerSecond: number | null
  /** null: the system has no sink, or `drain` was not asked for. */
  readonly deliveredPerSecond: number | null
  readonly networkBytesPerPayloadByte: number | null
  readonly messages: number
  readonly payloadBytes: number
}

const SAMPLE_MS = 250
const PACED_WINDOW = 1000
const SPEND_TIMEOUT_MS = 90_000
/** Commits at the interval, and what timers and the refill add to them. */
const SPENT_FACTOR = 1.5
const DRAIN_TIMEOUT_MS = 120_000
/** Above this share of a core the publisher, not the system, may be what limits the rate. */
const MAX_PUBLISHER_SHARE = 0.7

interface Snapshot {
  readonly cpu: number
  readonly disk: number
  readonly device: number | null
}

function snapshot(system: System): Snapshot {
  const { pid } = system.process
  return { cpu: cpuSeconds(pid), disk: writeBytes(pid), device: deviceWrittenBytes(system.folder) }
}

export async function measureLoad(system: System, load: LoadOptions): Promise<LoadFigures> {
  const options: PublisherOptions = {
    port: system.port,
    devices: load.devices ?? 50,
    firstDevice: 0,
    window: load.window ?? (load.messagesPerSecond === undefined ? 20 : PACED_WINDOW),
    qos: load.qos ?? 1,
    warmupMs: load.warmupMs ?? 1500,
    measureMs: load.seconds * 1000,
    seed: load.seed,
    messagesPerSecond: load.messagesPerSecond ?? null,
    shape: load.shape ?? 'models',
    ...(load.protocol === undefined ? {} : { protocol: load.protocol }),
    ...(load.subscribers === undefined ? {} : { subscribers: load.subscribers }),
  }
  const first = snapshot(system)
  const recordsBefore = (await system.delivered())?.records ?? 0
  const wireBefore = (await system.delivered())?.wireBytes ?? 0
  const startedMs = performance.now()
  let began = first
  let ended = first
  let commitsBefore: Promise<number | null> = Promise.resolve(null)
  let commitsAfter: Promise<number | null> = Promise.resolve(null)
  const commits = async (): Promise<number | null> => (await system.status())?.spool.commits ?? null
  let peak = memoryMb(system.process.pid)
  const sampler = setInterval(() => {
    const now = memoryMb(system.process.pid)
    if (now.rssAnon > peak.rssAnon) peak = now
  }, SAMPLE_MS)
  const hooks: MeasureHooks = {
    began: () => {
      began = snapshot(system)
      commitsBefore = commits()
    },
    ended: () => {
      ended = snapshot(system)
      commitsAfter = commits()
    },
  }
  const result = await runPublisher(options, hooks, load.compiledPublisher)
  clearInterval(sampler)
  const committed = [await commitsBefore, await commitsAfter]
  if (load.drain) {
    await drained(system)
    began = { ...began, disk: first.disk, device: first.device }
    const last = snapshot(system)
    ended = { ...ended, disk: last.disk, device: last.device }
  }
  const counts = await system.delivered()
  const records = counts === null ? 0 : counts.records - recordsBefore
  const payloadBytes = (load.drain ? result.total : result.completed) * result.payloadBytes
  return {
    system: system.name,
    ackedPerSecond: result.completed / result.seconds,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    publisherBusy: result.busyShare,
    copiesPerSecond: result.copies === null ? null : result.copies / result.seconds,
    rssAnonMb: peak.rssAnon,
    rssMb: peak.rss,
    cpuMicrosPerMessage: ((ended.cpu - began.cpu) * 1e6) / result.completed,
    diskBytesPerPayloadByte: (ended.disk - began.disk) / payloadBytes,
    deviceBytesPerPayloadByte:
      ended.device === null || began.device === null
        ? null
        : (ended.device - began.device) / payloadBytes,
    commitsPerSecond:
      committed[0] == null || committed[1] == null
        ? null
        : (committed[1] - committed[0]) / result.seconds,
    deliveredPerSecond:
      counts && load.drain ? records / ((performance.now() - startedMs) / 1000) : null,
    networkBytesPerPayloadByte:
      counts && load.drain
        ? (counts.wireBytes - wireBefore) / (records * result.payloadBytes)
        : null,
    messages: result.total,
    payloadBytes: result.payloadBytes,
  }
}

/** Waits until nothing is pending. */
export async function drained(system: System): Promise<void> {
  const endsMs = performance.now() + DRAIN_TIMEOUT_MS
  for (;;) {
    const status = await system.status()
    if (!status || status.streams.every((s) => s.counters.pending === 0)) return
    if (performance.now() > endsMs) throw new Error('the sink does not catch up')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/**
 * Small commits until the budget for them is spent. It shows: as many commits as the budget were
 * made, and now there are no more of them than one per interval, which is what refills it. Latency
 * would not tell: a busy machine has that, too.
 */
export async function spendBurst(system: System, seed: number): Promise<void> {
  const endsMs = performance.now() + SPEND_TIMEOUT_MS
  const before = (await system.status())?.spool.commits ?? 0
  let last: LoadFigures
  let made: number
  do {
    if (performance.now() > endsMs) {
      throw new Error(
        'the budget of small commits is not spent: the disk makes too few of them a second',
      )
    }
    last = await measureLoad(system, { seconds: 1, warmupMs: 500, seed, messagesPerSecond: 2000 })
    made = ((await system.status())?.spool.commits ?? 0) - before
  } while (
    made < COMMIT_BURST ||
    (last.commitsPerSecond ?? 0) > (SPENT_FACTOR * 1000) / COMMIT_INTERVAL_MS
  )
}

/** True: the publisher was so busy that the rate says as much of it as of the system. */
export function isPublisherBound(loads: readonly LoadFigures[]): boolean {
  return median(loads.map((l) => l.publisherBusy)) > MAX_PUBLISHER_SHARE
}

/** A load below this share of its pace says little about that pace. */
const MIN_PACE_SHARE = 0.97

/** Says so where a load did not keep its pace. */
export function paceNote(loads: readonly LoadFigures[], messagesPerSecond: number): string {
  const got = Math.min(...loads.map((l) => l.ackedPerSecond))
  return got < messagesPerSecond * MIN_PACE_SHARE
    ? `PACE NOT KEPT: ${got.toFixed(0)} of ${messagesPerSecond} messages/s, the machine is too busy`
    : ''
}

/** Notes of a goal, without those that have nothing to say. */
export function notes(...all: readonly string[]): string {
  return all.filter((note) => note !== '').join('; ')
}
