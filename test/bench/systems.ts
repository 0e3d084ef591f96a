/**
 * What a system under measurement is, and the first of them: Sluice on its default configuration.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../device-sim/free-ports.ts'
import { listening, type NodeProgram, type Running, startNode } from './processes.ts'

export interface System {
  readonly name: string
  readonly version: string
  readonly port: number
  readonly process: Running
  /** Of its admin server; absent: it has none. */
  readonly adminUrl?: string
  /** Where it keeps messages. */
  readonly folder: string
  /** Counts of its sink; null: it has none. */
  delivered(): Promise<SinkCounts | null>
  /** Documents of its admin server; null: it has none. */
  status(): Promise<GatewayStatus | null>
  stop(): Promise<void>
}

export interface SinkCounts {
  readonly records: number
  readonly wireBytes: number
  readonly rawBytes: number
}

export interface GatewayStatus {
  readonly version: string
  readonly spool: { readonly commits: number }
  readonly streams: ReadonlyArray<{ readonly counters: { readonly pending: number } }>
}

async function json<T>(url: string): Promise<T> {
  const response = await fetch(url)
  return (await response.json()) as T
}

export interface SluiceOptions {
  readonly folder?: string
  /**
   * False: the sink is down, so a backlog grows. An object: a sink of that configuration, whose
   * receiver is the caller's. @default one that counts
   */
  readonly sink?: false | Readonly<Record<string, unknown>>
  /** Of the gateway. @default bench */
  readonly id?: string
  /** Of its streams. @default spooled */
  readonly ack?: 'spooled' | 'delivered'
  /** Topic filters of each stream. @default one stream that takes everything */
  readonly streams?: ReadonlyArray<readonly string[]>
  /** Called as soon as the process of the gateway is made, with its MQTT port; waited for. */
  readonly onLaunch?: (port: number) => Promise<void>
  /** What runs the gateway. @default the Node of the bench */
  readonly node?: NodeProgram
  /** `spool.commitBurst`. @default the gateway's own */
  readonly commitBurst?: number
}

/** `spool.commitInterval` as it is by default. */
export const COMMIT_INTERVAL_MS = 50
/** `spool.commitBurst` as it is by default. */
export const COMMIT_BURST = 1000

export async function startSluice(options: SluiceOptions = {}): Promise<System> {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const port = await freePort()
  const adminPort = await freePort()
  const sinkPort = await freePort()
  const sink =
    options.sink === undefined ? startNode('test/bench/sink.js', [String(sinkPort)]) : null
  const sinkKeys = options.sink || { type: 'http', url: `http://127.0.0.1:${sinkPort}/ingest` }
  const file = join(folder, 'sluice.yaml')
  const streams = (options.streams ?? [['#']]).map((topics, i) => {
    const name = i === 0 ? 'telemetry' : `telemetry-${i}`
    return `${name}: { topics: ${JSON.stringify(topics)}, sink: cloud, maxBytes: 20GiB, ack: ${options.ack ?? 'spooled'} }`
  })
  const config = [
    `gateway: { id: ${options.id ?? 'bench'}, dataDir: ./data }`,
    `mqtt: { listeners: [{ host: 127.0.0.1, port: ${port} }] }`,
    `streams: { ${streams.join(', ')} }`,
    ...(options.commitBurst === undefined
      ? []
      : [`spool: { commitBurst: ${options.commitBurst} }`]),
    `sinks: { cloud: ${JSON.stringify(sinkKeys)} }`,
    `admin: { host: 127.0.0.1, port: ${adminPort} }`,
    `log: { level: warn, format: json }`,
  ]
  writeFileSync(file, `${config.join('\n')}\n`)
  const gateway = startNode('gateway/main.js', ['start', '--config', file], options.node)
  await options.onLaunch?.(port)
  await listening(port, gateway)
  if (sink) await listening(sinkPort, sink)
  const status = (): Promise<GatewayStatus> => json(`http://127.0.0.1:${adminPort}/api/status`)
  return {
    name: 'Sluice',
    version: (await status()).version,
    port,
    process: gateway,
    adminUrl: `http://127.0.0.1:${adminPort}`,
    folder,
    delivered: async () =>
      sink ? await json<SinkCounts>(`http://127.0.0.1:${sinkPort}/counts`) : null,
    status,
    stop: async () => {
      await gateway.stop()
      await sink?.stop('SIGKILL')
      if (!options.folder) rmSync(folder, { recursive: true, force: true })
    },
  }
}
