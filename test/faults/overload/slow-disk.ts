/**
 * Publishers faster than the disk: each fsync takes {@link SYNC_DELAY_MS} longer. Acks are withheld
 * that long (I1), what devices may have in flight is bounded and so is the memory (I6), and nothing
 * that was acknowledged is lost.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { dealLevels } from '../../support/levels.ts'
import { SteadyDevice } from '../network/steady-device.ts'
import { Oracle } from '../oracle/oracle.ts'
import { recorderEnv, SyncFault } from '../power/recorder.ts'
import {
  describePeak,
  drainTimeoutMs,
  type MemoryPeak,
  memoryFaults,
  peakOf,
  quantile,
} from './limits.ts'

export interface SlowDiskReport {
  readonly peak: MemoryPeak
  /** Calls of fsync that were slowed. */
  readonly slowed: number
  readonly acked: number
  /** The most that the gateway owed acks for at one time. */
  readonly maxUnacked: number
  /** Of acks, while the disk is slow, ms. */
  readonly fastestAckMs: number
  readonly p99AckMs: number
  readonly faults: readonly string[]
}

const SYNC_DELAY_MS = 150
const PUBLISHERS = 6
/** More than `maxUnackedMessages`: the gate has to hold back and to stop reading. */
const WINDOW = 1_500
const TEXT_BYTES = 1_000
const PROBE_EVERY_MS = 20
const MIN_SLOWED = 3

/** `folder`: as /proc shows it. */
export async function slowDisk(folder: string, lastsMs: number): Promise<SlowDiskReport> {
  const fault = new SyncFault(`${folder}/fault`)
  const publishers = Array.from({ length: PUBLISHERS }, (_, i) => ({
    name: `fast-${i}`,
    qos: i % 4 === 3 ? (2 as const) : (1 as const),
    topic: `plant/fast-${i}`,
    window: WINDOW,
    textBytes: TEXT_BYTES,
  }))
  const env = recorderEnv({ root: `${folder}/data`, fault })
  const oracle = await Oracle.prepare({ folder, env }, dealLevels('slow disk', publishers))
  const probe = new SteadyDevice('probe', PROBE_EVERY_MS, 5)
  let maxUnacked = 0
  try {
    await oracle.gateway.start()
    oracle.connect()
    await probe.connect(oracle.gateway.mqttPort)
    const peak = await peakOf(oracle.gateway.process.pid, async () => {
      fault.set(`slow-${SYNC_DELAY_MS}`)
      // What was under way is acknowledged by a commit of before.
      await sleep(2 * SYNC_DELAY_MS)
      probe.latenciesMs.length = 0
      oracle.publishing = true
      const endMs = performance.now() + lastsMs
      while (performance.now() < endMs) {
        const { broker } = await oracle.gateway.status()
        maxUnacked = Math.max(maxUnacked, broker?.unackedMessages ?? 0)
        await sleep(SYNC_DELAY_MS / 2)
      }
    })
    const latencies = [...probe.latenciesMs]
    const acked = oracle.devices.reduce((sum, { ackedCount }) => sum + ackedCount, 0)
    fault.clear()
    probe.check()
    probe.close()
    await oracle.check(drainTimeoutMs(await oracle.gateway.status()))
    const report = {
      peak,
      slowed: fault.hits,
      acked,
      maxUnacked,
      fastestAckMs: Math.min(...latencies),
      p99AckMs: quantile(latencies, 0.99),
    }
    return {
      ...report,
      faults: [...oracle.faults, ...memoryFaults('a slow disk', peak), ...withheld(report)],
    }
  } finally {
    fault.clear()
    probe.close()
    await oracle.close()
  }
}

/** The fault fired, and acks waited for it. */
function withheld(
  report: Pick<SlowDiskReport, 'slowed' | 'acked' | 'maxUnacked' | 'fastestAckMs'>,
): string[] {
  const { slowed, acked, maxUnacked, fastestAckMs } = report
  const faults: string[] = []
  if (slowed < MIN_SLOWED) faults.push(`only ${slowed} fsyncs were slowed`)
  if (acked === 0) faults.push('nothing was acknowledged')
  if (maxUnacked < WINDOW) faults.push(`no overload: ${maxUnacked} messages waited for their acks`)
  // Not above: NaN is a fault, too.
  if (!(fastestAckMs >= SYNC_DELAY_MS))
    faults.push(`I1: an ack came after ${fastestAckMs} ms, before its fsync`)
  return faults
}

export function describeSlowDisk(report: SlowDiskReport): string {
  const { peak, slowed, acked, maxUnacked, fastestAckMs, p99AckMs } = report
  return (
    `slow disk: ${slowed} fsyncs took ${SYNC_DELAY_MS} ms longer, ${acked} readings acknowledged meanwhile, up to ${maxUnacked} ` +
    `waited; acks after ${fastestAckMs.toFixed(0)} ms at the soonest, p99 ${p99AckMs.toFixed(0)} ms; ${describePeak(peak)}`
  )
}
