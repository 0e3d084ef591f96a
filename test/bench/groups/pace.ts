/**
 * One gateway idle, at 10,000, 1,000 and 100 messages a second: latency, processor, memory, wear of
 * the disk.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fsyncTimesMs } from '../disk.ts'
import { type Goal, judged } from '../goals.ts'
import { type Group, type Settings, withSluice, withSystem } from '../group.ts'
import { type LoadFigures, measureLoad, notes, paceNote, spendBurst } from '../load.ts'
import { type Memory, memoryMb } from '../processes.ts'
import { ackIntervalMs, startReference } from '../reference.ts'
import { median, quantile, ratios, spread } from '../statistics.ts'
import { COMMIT_INTERVAL_MS } from '../systems.ts'

const RATE = 10_000
/**
 * Of the idle probe: one device, one message at a time. The fsync beside it has the same pauses.
 */
const PROBES_PER_SECOND = 20
const PROBES = 60
const FSYNCS = 500
/** After its start a gateway settles for this long before its idle memory counts. */
const SETTLE_MS = 3000

interface Round {
  readonly idleMemory: Memory
  readonly idle: LoadFigures
  readonly idleFsyncMs: number
  /** p50 of a bare server that appends, fsyncs and acknowledges. */
  readonly idleFloorMs: number
  readonly fsyncP99Ms: number
  readonly at10k: LoadFigures
  readonly at1k: LoadFigures
  readonly at100: LoadFigures
  readonly reference: LoadFigures
}

async function measureRound({ seconds, seed }: Settings, folder: string): Promise<Round> {
  const paced = { seconds, seed, messagesPerSecond: RATE }
  const mine = await withSluice({}, async (system) => {
    await sleep(SETTLE_MS)
    const idleMemory = memoryMb(system.process.pid)
    const everyMs = 1000 / PROBES_PER_SECOND
    const idleFsyncMs = median(await fsyncTimesMs(folder, PROBES, everyMs))
    const probe = {
      seconds: PROBES / PROBES_PER_SECOND,
      seed,
      devices: 1,
      window: 1,
      messagesPerSecond: PROBES_PER_SECOND,
    }
    const idle = await measureLoad(system, probe)
    const floor = await withSystem(
      () => startReference(join(folder, 'floor')),
      (bare) => measureLoad(bare, probe),
    )
    await spendBurst(system, seed)
    const before = await fsyncTimesMs(folder, FSYNCS, 0)
    const at10k = await measureLoad(system, paced)
    const after = await fsyncTimesMs(folder, FSYNCS, 0)
    const at1k = await measureLoad(system, { seconds, seed, messagesPerSecond: 1000 })
    const at100 = await measureLoad(system, { seconds: 2 * seconds, seed, messagesPerSecond: 100 })
    const fsyncP99Ms = quantile([...before, ...after], 0.99)
    return {
      idleMemory,
      idle,
      idleFsyncMs,
      idleFloorMs: floor.p50Ms,
      fsyncP99Ms,
      at10k,
      at1k,
      at100,
    }
  })
  const reference = await withSystem(
    () => startReference(ackIntervalMs(mine.at10k)),
    (system) => measureLoad(system, paced),
  )
  return { ...mine, reference }
}

function latencies(rounds: readonly Round[]): Goal[] {
  return [
    judged(
      {
        measure: 'ack latency p50, idle',
        atMost: rounds.map((r) => 1.5 * r.idleFsyncMs),
        unit: 'ms',
        note: notes(
          `1.5 x one fsync of 4 KiB, p50 ${spread(
            rounds.map((r) => r.idleFsyncMs),
            2,
          )} ms`,
          `a bare server that appends, fsyncs in the thread pool and acknowledges takes ${spread(
            rounds.map((r) => r.idleFloorMs),
            2,
          )} ms`,
        ),
      },
      rounds.map((r) => r.idle.p50Ms),
    ),
    judged(
      {
        measure: 'ack latency p99, 10,000 messages/s',
        atMost: rounds.map((r) => COMMIT_INTERVAL_MS + 3 * r.fsyncP99Ms),
        unit: 'ms',
        digits: 1,
        note: notes(
          `${COMMIT_INTERVAL_MS} ms + 3 x one fsync, p99 ${spread(
            rounds.map((r) => r.fsyncP99Ms),
            1,
          )} ms`,
          paceNote(
            rounds.map((r) => r.at10k),
            RATE,
          ),
        ),
      },
      rounds.map((r) => r.at10k.p99Ms),
    ),
  ]
}

function costs(rounds: readonly Round[]): Goal[] {
  const wear = (pace: number, atMost: number, of: (r: Round) => LoadFigures): Goal => {
    const device = rounds.map((r) => of(r).deviceBytesPerPayloadByte ?? Number.NaN)
    return judged(
      {
        measure: `disk bytes per payload byte, ${pace.toLocaleString('en')} messages/s, budget of small commits spent`,
        atMost,
        unit: '',
        note: notes(`whole block device ${spread(device, 2)}`, paceNote(rounds.map(of), pace)),
      },
      rounds.map((r) => of(r).diskBytesPerPayloadByte),
    )
  }
  const mine = rounds.map((r) => r.at10k.cpuMicrosPerMessage)
  const bare = rounds.map((r) => r.reference.cpuMicrosPerMessage)
  return [
    judged(
      {
        measure: 'processor, 10,000 messages/s, against a bare TCP server',
        atMost: 1.7,
        unit: 'x',
        note: notes(
          `${spread(mine, 1)} against ${spread(bare, 1)} us a message`,
          paceNote([...rounds.map((r) => r.at10k), ...rounds.map((r) => r.reference)], RATE),
        ),
      },
      ratios(mine, bare),
    ),
    wear(1000, 1.5, (r) => r.at1k),
    wear(100, 8, (r) => r.at100),
    judged(
      {
        measure: 'RssAnon, idle',
        atMost: 95,
        unit: 'MB',
        digits: 0,
        note: `VmRSS ${spread(rounds.map((r) => r.idleMemory.rss))} MB`,
      },
      rounds.map((r) => r.idleMemory.rssAnon),
    ),
    judged(
      {
        measure: 'RssAnon, 10,000 messages/s',
        atMost: 140,
        unit: 'MB',
        digits: 0,
        note: `VmRSS ${spread(rounds.map((r) => r.at10k.rssMb))} MB`,
      },
      rounds.map((r) => r.at10k.rssAnonMb),
    ),
  ]
}

function sayRound(say: Settings['say'], { at10k, at1k, at100, reference, idle }: Round): void {
  for (const [load, rate] of [
    [idle, PROBES_PER_SECOND],
    [at10k, RATE],
    [reference, RATE],
    [at1k, 1000],
    [at100, 100],
  ] as const) {
    say(
      `  ${notes(
        `${load.system} at ${rate}/s: ${load.ackedPerSecond.toFixed(0)} acked/s`,
        `p50 ${load.p50Ms.toFixed(1)} ms, p99 ${load.p99Ms.toFixed(1)} ms`,
        `${load.cpuMicrosPerMessage.toFixed(1)} us a message`,
        `${load.commitsPerSecond?.toFixed(1) ?? 'no'} commits/s`,
        `${load.diskBytesPerPayloadByte.toFixed(2)} disk bytes per payload byte`,
        paceNote([load], rate),
      )}`,
    )
  }
}

export const pace: Group = {
  name: 'pace',
  about: 'idle, 10,000, 1,000 and 100 messages a second: latency, processor, memory, disk',
  run: async (settings) => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-fsync-'))
    try {
      const rounds: Round[] = []
      for (let round = 0; round < settings.rounds; round++) {
        const each = await measureRound({ ...settings, seed: settings.seed + round }, folder)
        sayRound(settings.say, each)
        rounds.push(each)
      }
      return [...latencies(rounds), ...costs(rounds)]
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
}
