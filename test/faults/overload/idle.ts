/**
 * Connections that say nothing: what each holds in the gateway's memory, and that others are
 * acknowledged beside them.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { memoryMb } from '../../bench/processes.ts'
import { GatewayProcess } from '../../support/gateway-process.ts'
import type { RunningProcess } from '../../support/process.ts'
import { Qos1Device } from '../../support/qos1-device.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { startStorm, stormEnd } from '../network/storm.ts'
import { HEAP_GROWTH_MB, MAX_IDLE_CONNECTION_KIB } from './limits.ts'

export interface IdleReport {
  readonly connected: number
  readonly connectedMs: number
  readonly kibPerConnection: number
  readonly rssAnonMb: number
  readonly rssMb: number
  /** Readings of another device, acknowledged beside them. */
  readonly acked: number
  readonly faults: readonly string[]
}

const CONNECTS_PER_SECOND = 2_000
/** Files of the gateway besides connections, with room to spare. */
const OTHER_FILES = 300
const CONNECT_TIMEOUT_MS = 600_000
const ACKS_WANTED = 500
const ACK_TIMEOUT_MS = 20_000
const REST_MS = 1_500

/**
 * null, or why so many connections cannot be had here. Node has raised the soft limit to the hard
 * one already.
 */
export function refusedConnections(count: number): string | null {
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return limit !== undefined && Number(limit) < 1.5 * count + OTHER_FILES
    ? `${count} connections were not tried: ulimit -n is ${limit}, ${1.5 * count + OTHER_FILES} are needed`
    : null
}

/** @throws when the machine refuses so many connections */
export async function idleConnections(folder: string, count: number): Promise<IdleReport> {
  const refused = refusedConnections(count)
  if (refused !== null) throw new Error(refused)
  const sink = await ScriptedSink.start()
  const sections = { mqtt: { maxConnections: 2 * count, maxSessions: 2 * count } }
  const gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url, sections })
  const device = new Qos1Device('press-7', { window: 10, textBytes: 100 })
  const storms: RunningProcess[] = []
  const connect = async (prefix: string, devices: number): ReturnType<typeof stormEnd> => {
    const withinMs = (devices / CONNECTS_PER_SECOND) * 1000
    const storm = startStorm({
      port: gateway.mqttPort,
      devices,
      withinMs,
      seed: prefix,
      prefix,
      keepAliveSeconds: 0,
    })
    storms.push(storm)
    return await stormEnd(storm, CONNECT_TIMEOUT_MS)
  }
  try {
    await device.connect(gateway.mqttPort)
    // What the first messages and connections bring in stays, and is nobody's: those before count
    // as the beginning.
    await connect('first', count / 2)
    const before = await settledMemory(gateway, device)
    const { connected, connectedMs } = await connect('idle', count)
    const after = await settledMemory(gateway, device)
    const there = (await gateway.status()).broker?.connections ?? 0
    const kibPerConnection = ((after.rssAnon - before.rssAnon) * 1024) / count
    const faults: string[] = []
    if (connected !== count || there < 1.5 * count)
      faults.push(`${connected} of ${count} connected, ${there} are there`)
    // Not above: NaN is a fault, too.
    const allowedKib = MAX_IDLE_CONNECTION_KIB + (HEAP_GROWTH_MB * 1024) / count
    if (!(kibPerConnection <= allowedKib)) {
      faults.push(
        `I6: an idle connection holds ${kibPerConnection.toFixed(1)} KiB, ${allowedKib.toFixed(1)} are allowed (${MAX_IDLE_CONNECTION_KIB}, and ${HEAP_GROWTH_MB} MB once)`,
      )
    }
    const acked = device.acked.length - ACKS_WANTED
    return {
      connected,
      connectedMs,
      kibPerConnection,
      rssAnonMb: after.rssAnon,
      rssMb: after.rss,
      acked,
      faults,
    }
  } finally {
    for (const storm of storms) await storm.reap()
    await device.close()
    await gateway.process.reap()
    await sink.close()
  }
}

/** Behind some traffic, which has the collector run, and a rest. */
async function settledMemory(
  gateway: GatewayProcess,
  device: Qos1Device,
): Promise<ReturnType<typeof memoryMb>> {
  await untilAcked(device, ACKS_WANTED)
  await sleep(REST_MS)
  return memoryMb(gateway.process.pid ?? 0)
}

/** So many more of its readings are acknowledged; then it pauses. */
async function untilAcked(device: Qos1Device, more: number): Promise<void> {
  const goal = device.acked.length + more
  const endMs = performance.now() + ACK_TIMEOUT_MS
  device.begin()
  while (device.acked.length < goal) {
    device.check()
    if (performance.now() > endMs)
      throw new Error(`${device.acked.length} of ${goal} readings were acknowledged`)
    await sleep(5)
  }
  device.pause()
}

export function describeIdle(report: IdleReport): string {
  const { connected, connectedMs, kibPerConnection, rssAnonMb, rssMb, acked: others } = report
  return (
    `idle: ${connected} connections in ${connectedMs} ms, ${kibPerConnection.toFixed(1)} KiB RssAnon each, RssAnon ` +
    `${rssAnonMb.toFixed(0)} MB, VmRSS ${rssMb.toFixed(0)} MB; ${others} readings of another device acknowledged beside them`
  )
}
