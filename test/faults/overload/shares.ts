/**
 * One sink behind a slow link, three streams: live readings at the highest priority, and two
 * backlogs below. Live data flows while they drain, and each backlog gets its promised share of the
 * bytes, in every window of 10 s or 10 n batches, whichever is longer.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { promisedShare } from '../../../gateway/drain/policy/scheduler.ts'
import { dealLevels, levelsInTurn } from '../../support/levels.ts'
import { SteadyDevice } from '../network/steady-device.ts'
import type { LedgerRequest } from '../oracle/ledger.ts'
import { Oracle } from '../oracle/oracle.ts'
import { drainTimeoutMs, quantile } from './limits.ts'

export interface SharesOptions {
  readonly folder: string
  /** Of the link. */
  readonly bytesPerSecond: number
  /** How long shares are looked at; at least one window. */
  readonly lastsMs: number
}

export interface SharesReport {
  readonly batches: number
  /** The least of its stream in any window. */
  readonly leastShare: Readonly<Record<string, number>>
  readonly windows: number
  readonly live: {
    readonly delivered: number
    readonly p50Ms: number
    readonly p99Ms: number
    readonly maxMs: number
  }
  /**
   * From one batch at the sink to the next, ms: link, commit of the pin, and what the machine does
   * beside.
   */
  readonly turn: { readonly p50Ms: number; readonly maxMs: number }
  readonly faults: readonly string[]
}

interface Sent {
  readonly atMs: number
  readonly stream: string
  readonly bytes: number
}

const BACKLOGS = ['middle', 'low'] as const
const STREAMS = {
  live: { topics: ['plant/#'], sink: 'cloud', priority: 0 },
  middle: { topics: ['middle/#'], sink: 'cloud', priority: 4 },
  low: { topics: ['low/#'], sink: 'cloud', priority: 9 },
}
const STREAM_COUNT = 3
const LIVE_DEVICES = 4
const LIVE_EVERY_MS = 100
const WINDOW_MS = 10_000
const WINDOW_BATCHES = 10 * STREAM_COUNT
/** The batch under way, one that each backlog is owed, and its own. */
const MAX_LIVE_TURNS = 1 + BACKLOGS.length + 1
const FILL_TIMEOUT_MS = 60_000

export async function measureShares(options: SharesOptions): Promise<SharesReport> {
  const { folder, bytesPerSecond, lastsMs } = options
  const devices = BACKLOGS.flatMap((stream) =>
    [0, 1, 2].map((i) => ({
      name: `${stream}-${i}`,
      qos: 1 as const,
      topic: `${stream}/${i}`,
      window: 100,
      textBytes: 400,
    })),
  )
  const sink = { maxBatchRecords: 1_000, maxBatchBytes: '64KiB', linger: '20ms' }
  const oracle = await Oracle.prepare(
    { folder, sections: { streams: STREAMS }, sink },
    dealLevels('shares', devices),
  )
  const nextLevel = levelsInTurn('shares')
  const live = Array.from(
    { length: LIVE_DEVICES },
    (_, i) => new SteadyDevice(`live-${i}`, LIVE_EVERY_MS, nextLevel()),
  )
  try {
    oracle.sink.mood = () => 'refused'
    await oracle.gateway.start()
    await fill(oracle, (lastsMs / 1000) * bytesPerSecond)
    const { sent, latenciesMs } = watch(oracle, bytesPerSecond)
    for (const device of live) await device.connect(oracle.gateway.mqttPort)
    // The sink was down: its backoff ends first.
    while (sent.length === 0) await sleep(20)
    sent.length = 0
    latenciesMs.length = 0
    await sleep(lastsMs)
    const looked = [...sent]
    const delays = [...latenciesMs]
    const { streams } = await oracle.gateway.status()
    const dry = streams
      .filter(({ name, backlogBytes }) => name !== 'live' && backlogBytes === 0)
      .map(({ name }) => name)
    for (const device of live) device.check()
    for (const device of live) device.close()
    oracle.sink.delayMs = () => 0
    await oracle.check(drainTimeoutMs(await oracle.gateway.status(), bytesPerSecond))
    return judge(looked, delays, [
      ...oracle.faults,
      ...dry.map((name) => `${name}: its backlog ended too early`),
    ])
  } finally {
    for (const device of live) device.close()
    await oracle.close()
  }
}

/**
 * Backlogs that last: of each stream, while the sink refuses everything, as many bytes as the link
 * takes in all.
 */
async function fill(oracle: Oracle, bytes: number): Promise<void> {
  oracle.connect()
  oracle.publishing = true
  const isFull = (stored: number): boolean => stored >= bytes
  await oracle.gateway.untilStatus(
    'the backlogs are there',
    ({ streams }) =>
      streams.every(({ name, storedBytes }) => name === 'live' || isFull(storedBytes)),
    FILL_TIMEOUT_MS,
  )
  oracle.publishing = false
}

/** From now on the link is slow; what comes over it is noted. */
function watch(oracle: Oracle, bytesPerSecond: number): { sent: Sent[]; latenciesMs: number[] } {
  const sent: Sent[] = []
  const latenciesMs: number[] = []
  const { sink } = oracle
  const lastsMs = ({ raw }: LedgerRequest): number => (raw.length / bytesPerSecond) * 1000
  sink.mood = (request) => {
    sent.push({ atMs: performance.now(), stream: request.stream, bytes: request.raw.length })
    if (request.stream === 'live') {
      const arrivesMs = Date.now() + lastsMs(request)
      for (const line of request.lines) {
        const { receivedAt } = JSON.parse(line) as { receivedAt: string }
        latenciesMs.push(arrivesMs - Date.parse(receivedAt))
      }
    }
    return 'ok'
  }
  sink.delayMs = lastsMs
  return { sent, latenciesMs }
}

function judge(
  sent: readonly Sent[],
  delays: readonly number[],
  faults: readonly string[],
): SharesReport {
  const found = [...faults]
  const windows = windowsOf(sent)
  const promised = promisedShare(STREAM_COUNT)
  const leastShare: Record<string, number> = {}
  for (const stream of BACKLOGS) {
    const shares = windows.map(
      (window) => bytesOf(window.filter((one) => one.stream === stream)) / bytesOf(window),
    )
    const least = Math.min(...shares)
    leastShare[stream] = least
    if (!(least >= promised))
      found.push(
        `${stream} had ${(100 * least).toFixed(1)} % of a window, ${100 * promised} % are promised`,
      )
  }
  if (windows.length === 0) found.push(`no window: ${sent.length} batches`)
  const turnsMs = sent.slice(1).map(({ atMs }, i) => atMs - sent[i]!.atMs)
  const turn = { p50Ms: quantile(turnsMs, 0.5), maxMs: quantile(turnsMs, 1) }
  const live = {
    delivered: delays.length,
    p50Ms: quantile(delays, 0.5),
    p99Ms: quantile(delays, 0.99),
    maxMs: quantile(delays, 1),
  }
  // A stall of the machine shows in the turns, too; a live stream that waits for the others does
  // not.
  const isPrompt =
    live.p50Ms <= MAX_LIVE_TURNS * turn.p50Ms && live.p99Ms <= MAX_LIVE_TURNS * turn.maxMs
  if (!isPrompt) found.push(`live readings wait for backlogs: ${JSON.stringify({ live, turn })}`)
  return { batches: sent.length, leastShare, windows: windows.length, live, turn, faults: found }
}

/** Every run of batches that is just long enough. */
function windowsOf(sent: readonly Sent[]): Sent[][] {
  const windows: Sent[][] = []
  let to = 0
  for (let from = 0; from < sent.length; from += 1) {
    const isLongEnough = (): boolean =>
      sent[to]!.atMs - sent[from]!.atMs >= WINDOW_MS && to - from >= WINDOW_BATCHES
    while (to < sent.length && !isLongEnough()) to += 1
    if (to === sent.length) break
    windows.push(sent.slice(from, to))
  }
  return windows
}

function bytesOf(sent: readonly Sent[]): number {
  return sent.reduce((sum, { bytes }) => sum + bytes, 0)
}

export function describeShares({ batches, leastShare, windows, live, turn }: SharesReport): string {
  const shares = Object.entries(leastShare).map(
    ([stream, share]) => `${stream} ${(100 * share).toFixed(1)} %`,
  )
  return (
    `shares: ${batches} batches, a turn takes ${turn.p50Ms.toFixed(0)} ms (p50), ${turn.maxMs.toFixed(0)} ms at most; least of ${windows} windows: ${shares.join(', ')}; ` +
    `${live.delivered} live readings delivered after ${live.p50Ms.toFixed(0)} ms (p50), ${live.p99Ms.toFixed(0)} ms (p99), ` +
    `${live.maxMs.toFixed(0)} ms at most`
  )
}
