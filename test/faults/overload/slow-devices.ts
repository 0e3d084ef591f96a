/**
 * Devices that publish once a second, while others publish as fast as acks come. Where the disk is
 * what is overloaded, the p99 of the slow ones' acks is at most {@link MAX_ACK_RATIO} times the
 * quiet one of the same run. Where it is the processor, they wait for what the others have in
 * flight, as long as it takes at full rate: {@link MAX_BUSY_ACK_MS}.
 *
 * Quiet and loaded windows alternate, and the median of the pairs is judged: one stall of the
 * machine spoils one pair. A p99 below {@link FLOOR_MS} counts as that: below it timers and
 * scheduling of the machine are measured.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { runPublisher } from '../../bench/processes.ts'
import { GatewayProcess } from '../../support/gateway-process.ts'
import { levelsInTurn } from '../../support/levels.ts'
import { SteadyDevice } from '../network/steady-device.ts'
import { recorderEnv, SyncFault } from '../power/recorder.ts'
import { MAX_ACK_RATIO, MAX_BUSY_ACK_MS, quantile } from './limits.ts'

export interface SlowDevicesOptions {
  readonly folder: string
  readonly seed: number
  readonly windowMs: number
  readonly windowPairs: number
  /**
   * Each fsync takes so much longer, in quiet windows, too: the disk is what is overloaded. 0: as
   * fast as it is.
   */
  readonly syncDelayMs: number
  /** Messages that each of the loud devices has in flight. */
  readonly loudWindow: number
}

export interface SlowDevicesReport {
  readonly syncDelayMs: number
  readonly pairs: ReadonlyArray<{ readonly quietMs: number; readonly loadedMs: number }>
  readonly medianRatio: number
  readonly medianLoadedMs: number
  /** Readings of the others, acknowledged in the loaded windows. */
  readonly load: number
  readonly samples: number
}

const SLOW_DEVICES = 20
const PUBLISH_EVERY_MS = 1_000
const LOUD_DEVICES = 50
/** The publisher's start and its first acks are not measured. */
const RAMP_MS = 500
const FLOOR_MS = 5

export async function measureSlowDevices(options: SlowDevicesOptions): Promise<SlowDevicesReport> {
  const { folder, seed, windowMs, windowPairs, syncDelayMs, loudWindow } = options
  const fault = new SyncFault(`${folder}/fault`)
  const gateway = await GatewayProcess.start({
    folder,
    // Nobody answers: delivery is not what is measured.
    sinkUrl: 'http://127.0.0.1:9/ingest',
    env: syncDelayMs > 0 ? recorderEnv({ root: `${folder}/data`, fault }) : {},
  })
  if (syncDelayMs > 0) fault.set(`slow-${syncDelayMs}`)
  const nextLevel = levelsInTurn(seed)
  const devices = Array.from(
    { length: SLOW_DEVICES },
    (_, i) => new SteadyDevice(`slow-${i}`, PUBLISH_EVERY_MS, nextLevel()),
  )
  let load = 0
  let samples = 0
  const latencies = async (during: Promise<unknown>): Promise<number> => {
    for (const { latenciesMs } of devices) latenciesMs.length = 0
    await during
    for (const device of devices) device.check()
    const all = devices.flatMap(({ latenciesMs }) => latenciesMs)
    samples += all.length
    return quantile(all, 0.99)
  }
  const loaded = async (): Promise<number> => {
    const running = runPublisher({
      port: gateway.mqttPort,
      devices: LOUD_DEVICES,
      firstDevice: 0,
      window: loudWindow,
      qos: 1,
      warmupMs: RAMP_MS,
      measureMs: windowMs,
      seed,
      messagesPerSecond: null,
    })
    const ended = running.then(({ total }) => {
      if (total === 0) throw new Error('the load was none')
      load += total
    })
    await Promise.race([sleep(2 * RAMP_MS), ended])
    return await latencies(ended)
  }
  try {
    for (const device of devices) {
      await device.connect(gateway.mqttPort)
      await sleep(PUBLISH_EVERY_MS / SLOW_DEVICES)
    }
    const pairs: { quietMs: number; loadedMs: number }[] = []
    const ratios = (): number[] =>
      pairs.map(
        ({ quietMs, loadedMs }) => Math.max(loadedMs, FLOOR_MS) / Math.max(quietMs, FLOOR_MS),
      )
    while (pairs.length < windowPairs) {
      const quietMs = await latencies(sleep(windowMs))
      pairs.push({ quietMs, loadedMs: await loaded() })
      await sleep(RAMP_MS)
    }
    if (syncDelayMs > 0 && fault.hits === 0) throw new Error('no fsync was slowed')
    const medianLoadedMs = quantile(
      pairs.map((pair) => pair.loadedMs),
      0.5,
    )
    return {
      syncDelayMs,
      pairs,
      medianRatio: quantile(ratios(), 0.5),
      medianLoadedMs,
      load,
      samples,
    }
  } finally {
    for (const device of devices) device.close()
    await gateway.process.reap()
  }
}

export function describeSlowDevices(report: SlowDevicesReport): string {
  const { syncDelayMs, pairs, medianRatio, medianLoadedMs, load, samples } = report
  const each = pairs.map(
    ({ quietMs, loadedMs }) => `${quietMs.toFixed(0)} -> ${loadedMs.toFixed(0)}`,
  )
  return (
    `slow devices${syncDelayMs > 0 ? `, fsync ${syncDelayMs} ms slower` : ''}: p99 of ${samples} acks, ms, quiet -> loaded: ` +
    `${each.join(', ')}; median ${medianRatio.toFixed(2)} x, ${medianLoadedMs.toFixed(0)} ms; ${load} readings of the others acknowledged`
  )
}

export function slowDeviceFaults(report: SlowDevicesReport): string[] {
  const { syncDelayMs, medianRatio, medianLoadedMs } = report
  // Not above: NaN is a fault, too.
  if (syncDelayMs > 0 && !(medianRatio <= MAX_ACK_RATIO))
    return [`${describeSlowDevices(report)}; ${MAX_ACK_RATIO} x are allowed`]
  if (syncDelayMs === 0 && !(medianLoadedMs <= MAX_BUSY_ACK_MS))
    return [`${describeSlowDevices(report)}; ${MAX_BUSY_ACK_MS} ms are allowed`]
  return []
}
