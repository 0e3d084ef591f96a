/**
 * A backlog of millions of records: what it costs on disk and in memory, at a start, to live
 * traffic, and to catch up.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startToFirstAck } from '../first-ack.ts'
import { type Goal, judged, notMeasured } from '../goals.ts'
import { type Group, type Settings, withSystem } from '../group.ts'
import { drained, type LoadFigures, measureLoad } from '../load.ts'
import { type Filled, fillBacklog, pending } from '../measures.ts'
import { type Memory, memoryMb } from '../processes.ts'
import { type System, startSluice } from '../systems.ts'
import { FLAT_WITHIN } from './growth.ts'

const LIVE_PER_SECOND = 20_000
const COST_PER_SECOND = 10_000
/** Of the backlog, what is caught up with before live traffic joins. */
const ALONE_SHARE = 0.4
/** What must still be pending when the live load ends, or it did not run beside a catch-up. */
const MIN_LEFT = 100_000
const POLL_MS = 50
const SETTLE_MS = 5000
const CATCH_UP_TIMEOUT_MS = 180_000

interface Stood {
  readonly startMs: number
  readonly memory: Memory
  readonly cost: LoadFigures
}

/**
 * Starts with the sink down: time to the first ack, memory once settled, processor time of a
 * message; then whatever is to be done with it.
 */
async function stand<T>(
  settings: Settings,
  folder: string,
  then: (system: System) => Promise<T>,
): Promise<{ stood: Stood; result: T }> {
  let startMs = Number.NaN
  // Without small commits at once both commit at the same pace from the first message on.
  const start = async (): Promise<System> => {
    const started = await startToFirstAck({ folder, sink: false, commitBurst: 0 })
    startMs = started.ms
    return started.system
  }
  return withSystem(start, async (system) => {
    await sleep(SETTLE_MS)
    const memory = memoryMb(system.process.pid)
    const { seconds, seed } = settings
    const cost = await measureLoad(system, { seconds, seed, messagesPerSecond: COST_PER_SECOND })
    return { stood: { startMs, memory, cost }, result: await then(system) }
  })
}

interface CaughtUp {
  readonly recordsPerSecond: number
  readonly beside: LoadFigures
  /** Pending when the load beside it ended. */
  readonly left: number
  readonly quiet: LoadFigures
}

/** Records a second from the first delivery to `until` records, as the sink counts them. */
async function deliveryRate(system: System, until: number): Promise<number> {
  const endsMs = performance.now() + CATCH_UP_TIMEOUT_MS
  let first: { atMs: number; records: number } | null = null
  for (;;) {
    const records = (await system.delivered())?.records ?? 0
    const atMs = performance.now()
    if (first === null && records > 0) first = { atMs, records }
    if (first !== null && records >= until)
      return ((records - first.records) * 1000) / (atMs - first.atMs)
    if (atMs > endsMs) throw new Error(`only ${records} records of a backlog were delivered`)
    await sleep(POLL_MS)
  }
}

async function catchUp(settings: Settings, folder: string, records: number): Promise<CaughtUp> {
  return withSystem(
    () => startSluice({ folder }),
    async (system) => {
      const recordsPerSecond = await deliveryRate(system, records * ALONE_SHARE)
      const { seconds, seed } = settings
      const live = { seconds, seed, messagesPerSecond: LIVE_PER_SECOND }
      const beside = await measureLoad(system, live)
      const left = await pending(system)
      await drained(system)
      const quiet = await measureLoad(system, live)
      return { recordsPerSecond, beside, left, quiet }
    },
  )
}

function catchUpGoals({ recordsPerSecond, beside, quiet, left }: CaughtUp): Goal[] {
  const latency = 'ack p99 of 20,000 messages/s beside a catch-up, against without'
  return [
    judged(
      { measure: 'catch-up to a local sink', atLeast: 300_000, unit: 'records/s', digits: 0 },
      [recordsPerSecond],
    ),
    left < MIN_LEFT
      ? notMeasured(
          latency,
          '<= 2 x',
          `only ${left} records were left at its end: a larger --backlog`,
        )
      : judged(
          {
            measure: latency,
            atMost: 2,
            unit: 'x',
            note:
              `p99 ${beside.p99Ms.toFixed(1)} against ${quiet.p99Ms.toFixed(1)} ms, ` +
              `${beside.ackedPerSecond.toFixed(0)} and ${quiet.ackedPerSecond.toFixed(0)} acked/s`,
          },
          [beside.p99Ms / quiet.p99Ms],
        ),
  ]
}

function costGoals(empty: Stood, full: Stood, filled: Filled): Goal[] {
  return [
    judged(
      {
        measure: 'disk bytes per payload byte, backlog',
        atMost: 0.7,
        unit: '',
        note: `${filled.records} records; whole block device ${filled.deviceBytesPerPayloadByte.toFixed(2)}`,
      },
      [filled.diskBytesPerPayloadByte],
    ),
    judged(
      {
        measure: 'RssAnon with the backlog, after a start',
        atMost: 150,
        unit: 'MB',
        digits: 0,
        note: `VmRSS ${full.memory.rss.toFixed(0)} MB; empty ${empty.memory.rssAnon.toFixed(0)} MB`,
      },
      [full.memory.rssAnon],
    ),
    judged(
      {
        measure: 'start to first PUBACK with the backlog',
        atMost: 1000,
        unit: 'ms',
        digits: 0,
        note: `empty ${empty.startMs.toFixed(0)} ms`,
      },
      [full.startMs],
    ),
    judged(
      {
        measure: 'processor per message with the backlog, against without',
        atMost: FLAT_WITHIN,
        unit: 'x',
        note: `${full.cost.cpuMicrosPerMessage.toFixed(1)} against ${empty.cost.cpuMicrosPerMessage.toFixed(1)} us`,
      },
      [full.cost.cpuMicrosPerMessage / empty.cost.cpuMicrosPerMessage],
    ),
  ]
}

export const backlog: Group = {
  name: 'backlog',
  about: 'millions of records pending: disk, memory, start, cost of a message, catch-up',
  run: async (settings) => {
    if (settings.backlog === 0) return [notMeasured('backlog', '', '--backlog 0')]
    const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-backlog-'))
    try {
      const { stood: empty, result: filled } = await stand(settings, folder, (s) =>
        fillBacklog(s, settings.backlog, settings.seed),
      )
      settings.say(`  ${filled.records} records pending`)
      const { stood: full, result: total } = await stand(settings, folder, pending)
      const caughtUp = await catchUp(settings, folder, total)
      return [...costGoals(empty, full, filled), ...catchUpGoals(caughtUp)]
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
}
