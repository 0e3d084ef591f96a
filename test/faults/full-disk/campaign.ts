/**
 * Full and broken disks (fault 4), many: somebody else fills a small file system, or a preload
 * answers for one, while readings arrive, while the backlog drains, and across a SIGKILL and a
 * start on the full disk.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '../../../device-sim/random.ts'
import {
  type FaultyDisk,
  mountedDisk,
  type PreloadedDisk,
  preloadedDisk,
} from '../../support/faulty-disk.ts'
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { sideBySide } from '../side-by-side.ts'
import { ACKS_AGAIN_MS, DiskBench } from './disk-bench.ts'

/** One of so many runs of the campaign: a disk fills slowly. */
const RUNS_PER_FAULT = 2
/** Faults of one disk. */
const ROUNDS = 10
const DISKS_AT_ONCE = 3
const MIB = 1024 * 1024
const DISK_BYTES = 96 * MIB
/** Around `spool.minFreeBytes`, which is 1 MiB here. */
const LITTLE_ROOM_BYTES = 2 * MIB
/** The guard looks every second, the store is tried again every five. */
const MAX_FAULT_MS = 6_000

type Deed<D> = readonly [name: string, deed: (disk: D, random: Random) => void]

const FILLS: readonly Deed<FaultyDisk>[] = [
  ['full', (disk) => disk.fill()],
  ['full, and again whatever is deleted', (disk) => disk.fillForGood()],
  ['little room', (disk, random) => disk.fill(random.below(LITTLE_ROOM_BYTES))],
]
const PRELOADED: readonly Deed<PreloadedDisk>[] = [
  ...FILLS,
  ['full for tables', (disk) => disk.fault('tables-full')],
  ['EIO of each write', (disk) => disk.fault('write-eio')],
  ['EIO of each fsync', (disk) => disk.fault('sync-eio')],
]

/** @throws where neither a mount nor a C compiler is to be had */
export async function campaign({ runs, seed, say }: CampaignOptions): Promise<CampaignResult> {
  const faults: Record<string, number> = {}
  const failures: string[] = []
  const wanted = Math.ceil(runs / RUNS_PER_FAULT)
  let done = 0
  await sideBySide(DISKS_AT_ONCE, Array(Math.ceil(wanted / ROUNDS)).keys(), async (index) => {
    const rounds = Math.min(ROUNDS, wanted - index * ROUNDS)
    const random = new Random(seed, `disk ${index}`)
    try {
      const mounted = index % 2 === 0 ? mountedDisk(DISK_BYTES) : null
      if (mounted !== null) await abuse(mounted, FILLS, rounds, random, faults)
      else {
        const preloaded = preloadedDisk()
        if (preloaded === null) throw new Error('needs the right to mount, or gcc')
        await abuse(preloaded, PRELOADED, rounds, random, faults)
      }
    } catch (error) {
      failures.push(
        `seed ${seed}, disk ${index}: ${error instanceof Error ? error.message : String(error)}`,
      )
      say(`disk: disk ${index} FAILED`)
    }
    done += rounds
    if (done % 50 < ROUNDS) say(`disk: ${done} of ${wanted} faults`)
  })
  return { name: 'disk', runs: done, faults, failures }
}

/** A disk that fails again and again. @throws what is not as promised */
export async function abuse<D extends FaultyDisk>(
  disk: D,
  deeds: readonly Deed<D>[],
  rounds: number,
  random: Random,
  faults: Record<string, number>,
): Promise<void> {
  const seed = String(random.next())
  const use = async (bench: DiskBench<D>): Promise<void> => {
    const { gateway } = bench
    let device = await bench.device('press-0')
    for (let round = 1; round <= rounds; round++) {
      if (random.chance(0.5)) bench.sinkDown()
      else bench.sinkUp()
      await bench.acked(device, 1 + random.below(800))
      const before = (await gateway.status()).spool.commitFailures
      const [name, deed] = deeds[random.below(deeds.length)]!
      deed(disk, random)
      await sleep(random.between(20, MAX_FAULT_MS))
      if (random.chance(0.3)) bench.sinkUp()
      device.check()
      const { spool } = await gateway.status()
      const met = spool.commitFailures > before ? 'a write failed' : spool.state
      const isKilled = random.chance(0.4)
      if (isKilled) {
        await bench.kill(device)
        // Half of them start on the disk as it is.
        if (random.chance(0.5)) disk.free()
        gateway.launch()
        await sleep(random.between(0, 4_000))
        disk.free()
        await gateway.event('broker.started', 2 * ACKS_AGAIN_MS)
        device = await bench.device(`press-${round}`)
      } else disk.free()
      await bench.acked(device, 1, ACKS_AGAIN_MS)
      const what = `${disk.kind}, ${name}${isKilled ? ' and SIGKILL' : ''}: ${met}`
      faults[what] = (faults[what] ?? 0) + 1
      if (random.chance(0.2)) {
        bench.sinkUp()
        await bench.untilDrained()
        bench.expectNothingLost()
      }
    }
    await bench.expectNothingLostAtTheNextOpening(device)
  }
  await DiskBench.run(disk, use, { seed })
}
