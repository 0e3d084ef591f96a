/**
 * A sink that is slower than the publishers, an hour of it compressed: the link takes so many bytes
 * a second, a fraction of what comes. Three streams, one for each `whenFull`, grow up to their
 * `maxBytes` and then do what their policy says, in bounded memory; when the sink is fast again,
 * everything is delivered or counted (I5, I6, I9).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { StreamStatus } from '../../../gateway/ports/status.ts'
import { dealLevels } from '../../support/levels.ts'
import { Oracle } from '../oracle/oracle.ts'
import { describePeak, drainTimeoutMs, type MemoryPeak, memoryFaults, peakOf } from './limits.ts'

export interface SlowSinkReport {
  readonly peak: MemoryPeak
  readonly streams: readonly SlowStream[]
  readonly acked: number
  readonly verified: number
  readonly faults: readonly string[]
}

interface SlowStream {
  readonly policy: Policy
  /** The most that was stored at one time, bytes. */
  maxStoredBytes: number
  /** What it was when it was looked at, for "it grows". */
  readonly growth: number[]
  /** Messages that waited for room, at most. */
  maxWaiting: number
  dropped: number
}

export interface SlowSinkOptions {
  readonly folder: string
  readonly maxBytesMib: number
  readonly linkBytesPerSecond: number
  /** How long it goes on behind the moment when every policy has applied. */
  readonly fullMs: number
}

const POLICIES = ['block', 'drop-oldest', 'drop-newest'] as const
type Policy = (typeof POLICIES)[number]
const MIB = 1024 * 1024
const DEVICES_PER_STREAM = 3
const WINDOW = 100
const TEXT_BYTES = 600
const LOOK_EVERY_MS = 100
const FILL_TIMEOUT_MS = 120_000

export async function slowSink(options: SlowSinkOptions): Promise<SlowSinkReport> {
  const { folder, maxBytesMib, linkBytesPerSecond, fullMs } = options
  const devices = POLICIES.flatMap((policy) =>
    Array.from({ length: DEVICES_PER_STREAM }, (_, i) => ({
      name: `${policy}-${i}`,
      qos: i === 2 ? (2 as const) : (1 as const),
      topic: `${policy}/${i}`,
      window: WINDOW,
      textBytes: TEXT_BYTES,
      lossy: policy !== 'block',
    })),
  )
  const streamOf = (policy: Policy): object => ({
    topics: [`${policy}/#`],
    sink: 'cloud',
    maxBytes: `${maxBytesMib}MiB`,
    whenFull: policy,
  })
  const streams = Object.fromEntries(POLICIES.map((policy) => [policy, streamOf(policy)]))
  const sink = { maxBatchRecords: 500, maxBatchBytes: '256KiB' }
  const oracle = await Oracle.prepare(
    { folder, sections: { streams }, sink },
    dealLevels('slow sink', devices),
  )
  const seen = POLICIES.map(
    (policy): SlowStream => ({ policy, maxStoredBytes: 0, growth: [], maxWaiting: 0, dropped: 0 }),
  )
  try {
    await oracle.gateway.start()
    oracle.sink.delayMs = ({ raw }) => (raw.length / linkBytesPerSecond) * 1000
    oracle.connect()
    const peak = await peakOf(oracle.gateway.process.pid, async () => {
      oracle.publishing = true
      await untilFull(oracle, seen)
      const endMs = performance.now() + fullMs
      while (performance.now() < endMs) await look(oracle, seen)
    })
    const acked = oracle.devices.reduce((sum, { ackedCount }) => sum + ackedCount, 0)
    oracle.sink.delayMs = () => 0
    await oracle.check(drainTimeoutMs(await oracle.gateway.status(), linkBytesPerSecond))
    const faults = [
      ...oracle.faults,
      ...memoryFaults('a slow sink', peak),
      ...seen.flatMap((one) => streamFaults(one, maxBytesMib * MIB)),
    ]
    return { peak, streams: seen, acked, verified: oracle.verified, faults }
  } finally {
    await oracle.close()
  }
}

/** Every policy has applied. */
async function untilFull(oracle: Oracle, seen: readonly SlowStream[]): Promise<void> {
  const endMs = performance.now() + FILL_TIMEOUT_MS
  while (!seen.every(hasApplied)) {
    if (performance.now() > endMs)
      throw new Error(
        `not full after ${FILL_TIMEOUT_MS} ms: ${seen.map(({ policy, maxStoredBytes }) => `${policy} ${maxStoredBytes}`).join(', ')}`,
      )
    await look(oracle, seen)
  }
}

function hasApplied({ policy, maxWaiting, dropped }: SlowStream): boolean {
  return policy === 'block' ? maxWaiting > 0 : dropped > 0
}

async function look(oracle: Oracle, seen: readonly SlowStream[]): Promise<void> {
  const { streams } = await oracle.gateway.status()
  for (const one of seen) {
    const status = streams.find(({ name }) => name === one.policy) as StreamStatus
    if (!hasApplied(one)) one.growth.push(status.storedBytes)
    one.maxStoredBytes = Math.max(one.maxStoredBytes, status.storedBytes)
    one.maxWaiting = Math.max(one.maxWaiting, status.waitingMessages)
    const dropped: Readonly<Record<string, number>> = status.counters.dropped
    one.dropped = dropped[one.policy === 'drop-oldest' ? 'dropped-oldest' : 'drop-newest'] ?? 0
  }
  await sleep(LOOK_EVERY_MS)
}

function streamFaults({ policy, maxStoredBytes, growth }: SlowStream, maxBytes: number): string[] {
  const faults: string[] = []
  if (maxStoredBytes > maxBytes)
    faults.push(`I6: ${policy}: ${maxStoredBytes} bytes stored, maxBytes is ${maxBytes}`)
  if (maxStoredBytes < maxBytes / 2)
    faults.push(`${policy}: it was called full at ${maxStoredBytes} of ${maxBytes} bytes`)
  if (!growth.some((bytes) => bytes > 0 && bytes < maxBytes / 2))
    faults.push(`${policy}: its backlog was not seen to grow`)
  return faults
}

export function describeSlowSink({ peak, streams, acked, verified }: SlowSinkReport): string {
  const each = streams.map(({ policy, maxStoredBytes, maxWaiting, dropped }) => {
    const stored = (maxStoredBytes / MIB).toFixed(2)
    return `${policy} ${stored} MiB, ${policy === 'block' ? `${maxWaiting} waited` : `${dropped} dropped`}`
  })
  return `slow sink: ${acked} acknowledged meanwhile; ${each.join('; ')}; ${verified} accounted for; ${describePeak(peak)}`
}
