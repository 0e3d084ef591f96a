/**
 * Power cuts (fault 2), many: recordings of a real gateway, each cut at many points. A later
 * recording begins where a cut of the one before has left disk and devices, so recoveries are cut,
 * too; in some an fsync fails once in a while.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { Random } from '../../../device-sim/random.ts'
import { dealSpeeches } from '../../support/levels.ts'
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { booksFaults, checkSpool } from './check.ts'
import { SURVIVALS } from './disk-model.ts'
import { PowerSink } from './power-sink.ts'
import { type Cut, chooseCut, RecordFolder, type Recording, record, stateAt } from './recording.ts'
import { newWorld, type World } from './world.ts'

/** Cut points of one recording. */
const CUTS = 40
/** Enough for LevelDB to begin new logs and to merge tables. */
const BYTES = { least: 2e6, most: 16e6 }
const FAILING = ['.log', 'seq-lease', '.ldb', '']

/** `runs`: cut points. */
export async function campaign(options: CampaignOptions): Promise<CampaignResult> {
  const { runs, seed, say } = options
  const random = new Random(seed, 'power')
  const faults: Record<string, number> = { recordings: 0, kills: 0, 'failed fsyncs': 0 }
  const failures: string[] = []
  let folder = new RecordFolder()
  let world = devicesOf(seed, 0)
  let sink = await PowerSink.start()
  let done = 0
  try {
    for (let number = 1; done < runs; number++) {
      const killAt = Array.from({ length: random.below(3) }, () =>
        random.between(0.05, 0.95),
      ).toSorted((a, b) => a - b)
      const failingSyncs = random.chance(0.4)
        ? Array.from(
            { length: 1 + random.below(4) },
            () => FAILING[random.below(FAILING.length)] as string,
          )
        : []
      const delayMs = random.between(0, 80)
      sink.delayMs = () => delayMs
      const bytes = Math.round(random.between(BYTES.least, BYTES.most))
      const options = { sink, world, random, bytes, killAt, failingSyncs, drain: true }
      const recording = await record(folder, options).catch((error: unknown) => String(error))
      if (typeof recording === 'string') {
        failures.push(`seed ${seed}, recording ${number}: ${recording}`)
        break
      }
      count(faults, { recordings: 1, kills: killAt.length, 'failed fsyncs': recording.failedSyncs })
      const end = stateAt(recording, recording.entries.length)
      const tell = (what: string, found: readonly string[]): void => {
        for (const one of found) {
          const line = `seed ${seed}, recording ${number}, ${what}: ${one}`
          failures.push(line)
          say(`power: ${line}`)
        }
      }
      tell('all delivered', booksFaults(end.world, sink.storedAt(end.world)))
      for (let i = 0; i < CUTS && done < runs; i++, done++) {
        const cut = chooseCut(recording, random, SURVIVALS)
        count(faults, { [`cuts, ${cut.survival} survives`]: 1 })
        tell(describeCut(cut), await tryCut(recording, cut, folder, sink, random))
      }
      say(
        `power: recording ${number}, ${recording.entries.length} entries, ${done} of ${runs} cuts, ${failures.length} failures`,
      )
      const next = new RecordFolder()
      if (random.chance(0.7)) {
        const { disk, world: then } = stateAt(recording, chooseCut(recording, random, SURVIVALS).at)
        disk.rebuild(next.disk, SURVIVALS[random.below(SURVIVALS.length)] ?? 'none', random)
        world = then
      } else {
        await sink.close()
        sink = await PowerSink.start()
        world = devicesOf(seed, number)
      }
      folder.remove()
      folder = next
    }
  } finally {
    folder.remove()
    await sink.close()
  }
  return { name: 'power', runs: done, faults, failures }
}

/** Rebuilds the disk at the cut and opens a spool on it. Returns what is not as promised. */
export async function tryCut(
  recording: Recording,
  cut: Cut,
  folder: RecordFolder,
  sink: PowerSink,
  random: Random,
): Promise<string[]> {
  const { disk, world } = stateAt(recording, cut.at)
  const target = join(folder.path, 'cut')
  disk.rebuild(target, cut.survival, random)
  try {
    const isDiskFaulty = recording.failedSyncs > 0
    return await checkSpool(join(target, 'data'), world, sink.storedAt(world), { isDiskFaulty })
  } finally {
    rmSync(target, { recursive: true, force: true })
  }
}

function devicesOf(seed: number, number: number): World {
  const devices = Array.from({ length: 4 }, (_, i) => ({
    name: `device-${number}-${i}`,
    qos: i % 2 === 0 ? (1 as const) : (2 as const),
    seed: `${seed}`,
  }))
  return newWorld(dealSpeeches(`${seed} ${number}`, devices))
}

function describeCut({ at, survival }: Cut): string {
  return `cut at ${at}, ${survival} survives`
}

function count(totals: Record<string, number>, more: Readonly<Record<string, number>>): void {
  for (const [name, n] of Object.entries(more)) totals[name] = (totals[name] ?? 0) + n
}
