/**
 * Slow and failing fsync (fault 5), many: stalls, single and lasting failures, of the log, of the
 * lease, of tables or of any file, some of them ended by a SIGKILL. Beside them, once and in real
 * time, the long stall.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '../../../device-sim/random.ts'
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { sideBySide } from '../side-by-side.ts'
import { type KeptDevice, SyncBench } from './sync-bench.ts'

/** Faults on one folder. */
const ROUNDS = 10
const FOLDERS_AT_ONCE = 5
/**
 * As the issue of this campaign has it: devices with this keepalive, connected through a stall of
 * five minutes.
 */
const LONG = { keepAliveSeconds: 10, stallMs: 300_000, fromRuns: 100 }
/** In shorter campaigns: five keepalives all the same. */
const SHORT = { keepAliveSeconds: 2, stallMs: 10_000 }
const SUFFIXES = ['.log', 'seq-lease', '.ldb', '']
/** Of these, what is synced at each opening, and seldom otherwise. */
const OF_OPENING = ['seq-lease', '.ldb']

/** `runs`: faults. */
export async function campaign(options: CampaignOptions): Promise<CampaignResult> {
  const { runs, seed, say } = options
  const faults: Record<string, number> = {}
  const failures: string[] = []
  const guarded = async (what: string, use: (bench: SyncBench) => Promise<void>): Promise<void> => {
    await SyncBench.run(use, `${seed} ${what}`).catch((error: unknown) =>
      failures.push(`seed ${seed}, ${what}: ${String(error)}`),
    )
  }
  const long = runs >= LONG.fromRuns ? LONG : SHORT
  const stall = async (): Promise<void> => {
    await guarded('the long stall', (bench) => longStall(bench, long))
    count(faults, `a stall of ${long.stallMs / 1000} s, keepalive ${long.keepAliveSeconds} s`)
    say(`fsync: the long stall is over, ${failures.length} failures`)
  }
  let done = 1
  const others = sideBySide(
    FOLDERS_AT_ONCE,
    Array(Math.ceil((runs - 1) / ROUNDS)).keys(),
    async (folder) => {
      if (failures.length > 0) return
      const random = new Random(seed, `fsync ${folder}`)
      const rounds = Math.min(ROUNDS, runs - 1 - folder * ROUNDS)
      await guarded(`folder ${folder}`, async (bench) => {
        for (let round = 1; round <= rounds; round++) {
          count(faults, await oneFault(bench, random, `press-${folder}-${round}`))
          if (random.chance(0.3)) await bench.untilAllDelivered()
        }
        await bench.untilAllDelivered()
      })
      done += rounds
      if (done % 100 <= ROUNDS) say(`fsync: ${done} of ${runs} faults`)
    },
  )
  await Promise.all([stall(), others])
  return { name: 'fsync', runs: done, faults, failures }
}

async function longStall(
  bench: SyncBench,
  { keepAliveSeconds, stallMs }: { readonly keepAliveSeconds: number; readonly stallMs: number },
): Promise<void> {
  const devices: KeptDevice[] = []
  for (let i = 0; i < 10; i++) devices.push(await bench.device(`kept-${i}`, keepAliveSeconds))
  bench.fault.set('stall')
  for (const [i, device] of devices.entries()) device.publish(i === 0 ? 3_000 : 5)
  await sleep(stallMs)
  const gone = devices.filter(({ isConnected }) => !isConnected)
  if (gone.length > 0) throw new Error(`${gone.length} devices were disconnected in the stall`)
  if (bench.acked > 0)
    throw new Error(`${bench.acked} readings were acknowledged in the stall (I1)`)
  if (bench.fault.hits === 0) throw new Error('nothing stalled')
  bench.fault.clear()
  for (const device of devices) await device.untilAcked()
  await bench.untilAllDelivered()
}

/** Returns what it was. */
async function oneFault(bench: SyncBench, random: Random, name: string): Promise<string> {
  const { fault, gateway } = bench
  if (random.chance(0.5)) bench.sinkDown()
  else bench.sinkUp()
  const device = await bench.device(name, 0)
  device.publish(1 + random.below(500))
  await device.untilAcked()
  const { hits } = fault
  const what = (['stall', 'eio', 'eio-once'] as const)[random.below(3)] ?? 'stall'
  // Only the log is synced whenever something is published.
  const suffix = what === 'eio-once' ? (SUFFIXES[random.below(SUFFIXES.length)] ?? '') : ''
  const isOfOpening = OF_OPENING.includes(suffix)
  fault.set(what, suffix)
  device.publish(1 + random.below(1_500))
  const lastsMs = random.between(50, what === 'eio' ? 6_000 : 2_000)
  await sleep(lastsMs)
  const killed = isOfOpening || random.chance(0.4)
  if (killed) {
    device.expectClose()
    await gateway.kill()
    if (!isOfOpening && random.chance(0.5)) fault.clear()
    gateway.launch()
    if (isOfOpening) await untilHitOrStarted(bench, hits)
    else await sleep(random.between(0, 1_500))
    fault.clear()
    await gateway.event('broker.started', 20_000)
  } else {
    fault.clear()
    await device.untilAcked()
  }
  const fired = fault.hits > hits ? '' : ', not met'
  return `${what}${suffix === '' ? '' : ` of ${suffix}`}${killed ? ' and SIGKILL' : ''}${fired}`
}

async function untilHitOrStarted({ fault, gateway }: SyncBench, hits: number): Promise<void> {
  while (fault.hits === hits && gateway.countOf('broker.started') === 0) {
    if (!gateway.isRunning) throw new Error(`the gateway ended: ${gateway.logTail()}`)
    await sleep(10)
  }
}

function count(totals: Record<string, number>, name: string): void {
  totals[name] = (totals[name] ?? 0) + 1
}
