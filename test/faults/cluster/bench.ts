/**
 * Two or three gateways behind HAProxy with the configuration that is shipped, three nats-servers
 * with a stream of three replicas behind them, and a fleet that comes back. The judge asks the
 * engine: what was acknowledged has to be there.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../../../device-sim/free-ports.ts'
import {
  NatsAdmin,
  type NatsServer,
  type ReadMessage,
  startCluster,
} from '../../sink/nats/server.ts'
import { GatewayProcess } from '../../support/gateway-process.ts'
import { Haproxy } from '../../support/haproxy.ts'
import { dealLevels } from '../../support/levels.ts'
import { proxyHeader } from '../../support/proxy-header.ts'
import { type ConnectFields, RawMqtt } from '../../support/raw-mqtt.ts'
import { sourcePath } from '../../support/source-path.ts'
import { ClusterDevice } from './device.ts'

export interface ClusterOptions {
  readonly folder: string
  readonly seed: number
  readonly gateways: number
  readonly devices: number
  /** Between two readings of a device, ms. */
  readonly paceMs: number
  /** A planted defect: the stream that has to be `delivered` acknowledges from the spool. */
  readonly acksEarly?: true
}

const SETTLE_MS = 120_000
const POLL_MS = 100
const SHIPPED = 'gateway/packaging/cluster/haproxy.cfg'

export class ClusterBench {
  readonly gateways: readonly GatewayProcess[]
  readonly nodes: readonly NatsServer[]
  readonly devices: readonly ClusterDevice[]
  readonly #admin: NatsAdmin
  readonly #proxyText: string
  readonly port: number
  #proxy: Haproxy

  private constructor(parts: {
    gateways: readonly GatewayProcess[]
    nodes: readonly NatsServer[]
    devices: readonly ClusterDevice[]
    admin: NatsAdmin
    proxy: { readonly text: string; readonly port: number; readonly running: Haproxy }
  }) {
    this.gateways = parts.gateways
    this.nodes = parts.nodes
    this.devices = parts.devices
    this.#admin = parts.admin
    this.#proxyText = parts.proxy.text
    this.port = parts.proxy.port
    this.#proxy = parts.proxy.running
  }

  static async start(options: ClusterOptions): Promise<ClusterBench> {
    const { folder, seed } = options
    const nodes = await startCluster(join(folder, 'nats'))
    const admin = await NatsAdmin.to(nodes.map(({ port }) => port))
    await admin.makeStream({ num_replicas: nodes.length })
    const gateways = await Promise.all(
      Array.from({ length: options.gateways }, (_, n) => prepareGateway(options, n, nodes)),
    )
    await Promise.all(gateways.map((gateway) => gateway.start()))
    const [port = 0] = await freePorts(1)
    const text = localProxy(readFileSync(sourcePath(SHIPPED), 'utf8'), port, gateways)
    const proxy = { text, port, running: await Haproxy.start(text) }
    const kinds = Array.from({ length: options.devices }, (_, n) => ({
      clientId: `device-${n}`,
      prefix: n % 2 === 0 ? ('safe' as const) : ('plain' as const),
      qos: n % 4 < 2 ? (1 as const) : (2 as const),
      paceMs: options.paceMs,
      seed,
    }))
    const devices = dealLevels(seed, kinds).map((kind) => new ClusterDevice(kind))
    return new ClusterBench({ gateways, nodes, devices, admin, proxy })
  }

  begin(): void {
    for (const device of this.devices) device.start(this.port)
  }

  /** Every device has published and got acks since the call. */
  async untilAcked(prefix: 'safe' | 'plain' | null = null, more = 1): Promise<void> {
    const wanted = this.devices.filter(
      ({ options }) => prefix === null || options.prefix === prefix,
    )
    const before = new Map(wanted.map((device) => [device, device.acked.size]))
    await until('acks of every device', () =>
      wanted.every((device) => device.acked.size >= (before.get(device) ?? 0) + more),
    )
  }

  ackedOf(prefix: 'safe' | 'plain'): number {
    return this.devices
      .filter(({ options }) => options.prefix === prefix)
      .reduce((sum, { acked }) => sum + acked.size, 0)
  }

  get drops(): number {
    return this.devices.reduce((sum, { drops }) => sum + drops, 0)
  }

  /** The index of the node that leads the stream. */
  async leader(): Promise<number> {
    await this.#admin.waitForLeader()
    return Number((await this.#admin.leader())?.slice(1) ?? 0)
  }

  /** A client of its own, past HAProxy, from an address that HAProxy would tell of. */
  async clientAt(gateway: GatewayProcess, fields: ConnectFields): Promise<RawMqtt> {
    const client = await RawMqtt.open(listenerOf(gateway), fields.level === 5 ? 5 : 4)
    client.send(proxyHeader())
    return await client.begin(fields)
  }

  async restartProxy(): Promise<void> {
    await this.#proxy.end()
    this.#proxy = await Haproxy.start(this.#proxyText)
  }

  async pendingOf(gateway: GatewayProcess, stream: string): Promise<number> {
    const { streams } = await gateway.status()
    return streams.find(({ name }) => name === stream)?.counters.pending ?? 0
  }

  /**
   * The fleet publishes nothing new and brings what is open to its end; every gateway delivers what
   * it has.
   */
  async settle(): Promise<void> {
    for (const device of this.devices) device.pause()
    await until('every reading is acknowledged', () =>
      this.devices.every(({ unacked }) => unacked === 0),
    )
    for (const gateway of this.gateways) {
      if (!gateway.isRunning) continue
      await fetch(`${gateway.adminUrl}/api/sinks/nats/retry`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
      })
      await gateway.untilStatus(
        'nothing is pending',
        ({ streams }) => streams.every(({ counters }) => counters.pending === 0),
        SETTLE_MS,
      )
    }
  }

  /**
   * Acknowledged readings that the engine does not have, by kind of stream, and how many readings it
   * has more than once.
   */
  async lost(): Promise<{
    readonly safe: string[]
    readonly plain: string[]
    readonly repeats: number
  }> {
    const there = new Set<string>()
    let repeats = 0
    for (const { text } of await this.#read())
      for (const [, device, n] of text.matchAll(/"payload":\{"device":"([^"]+)","n":(\d+)\}/g)) {
        const reading = `${device}/${n}`
        if (there.has(reading)) repeats += 1
        there.add(reading)
      }
    const lost = { safe: [] as string[], plain: [] as string[], repeats }
    for (const { acked, options } of this.devices)
      for (const n of acked) {
        const reading = `${options.clientId}/${n}`
        if (!there.has(reading)) lost[options.prefix].push(reading)
      }
    return lost
  }

  /** All messages of the engine, which may be choosing a leader, or bringing a replica up to date. */
  async #read(): Promise<readonly ReadMessage[]> {
    let messages: readonly ReadMessage[] | null = null
    await until('the engine can be read', async () => {
      messages = await this.#admin.read().catch(() => null)
      return messages !== null
    })
    return messages ?? []
  }

  async stop(): Promise<void> {
    await Promise.all(this.devices.map((device) => device.stop()))
    await this.#proxy.end()
    await this.#admin.close()
  }
}

async function prepareGateway(
  { acksEarly, folder }: ClusterOptions,
  n: number,
  nodes: readonly NatsServer[],
): Promise<GatewayProcess> {
  const [listener = 0] = await freePorts(1)
  const own = join(folder, `gateway-${n}`)
  mkdirSync(own, { recursive: true })
  return await GatewayProcess.prepare({
    folder: own,
    sinkUrl: 'http://127.0.0.1:9/unused',
    sections: {
      gateway: { id: `edge-0${n}` },
      mqtt: {
        allowAnonymous: true,
        listeners: [{ host: '127.0.0.1', port: listener, proxyProtocol: { from: ['127.0.0.1'] } }],
      },
      cluster: { takeover: { sink: 'nats' } },
      streams: {
        safe: { topics: ['safe/#'], sink: 'nats', ack: acksEarly ? 'spooled' : 'delivered' },
        plain: { topics: ['plain/#'], sink: 'nats' },
      },
      sinks: {
        nats: {
          type: 'nats',
          servers: nodes.map(({ port }) => `127.0.0.1:${port}`),
          jetStream: 'SLUICE',
          message: 'batch',
          // biome-ignore lint/suspicious/noTemplateCurlyInString: the gateway fills it in
          subject: 'sluice.${gateway}.${stream}',
          minReplicas: 3,
          timeout: '2s',
        },
      },
    },
  })
}

/** The shipped configuration, with addresses of this machine. */
function localProxy(shipped: string, port: number, gateways: readonly GatewayProcess[]): string {
  const servers = gateways.map((gateway, n) => {
    const { port: admin } = new URL(gateway.adminUrl)
    return `  server sluice-${n + 1} 127.0.0.1:${listenerOf(gateway)} id ${n + 1} port ${admin}`
  })
  const lines = shipped.split('\n').filter((line) => !/^\s*server /.test(line))
  const text = lines
    .join('\n')
    .replace(/^\s*bind :1883.*$/m, `  bind 127.0.0.1:${port}`)
    // A tester may not open as many descriptors as a server.
    .replace(/^\s*maxconn .*$/m, '  maxconn 2000')
  return `${text.trimEnd()}\n${servers.join('\n')}\n`
}

function listenerOf({ configPath }: GatewayProcess): number {
  const { mqtt } = JSON.parse(readFileSync(configPath, 'utf8')) as {
    mqtt: { listeners: { port: number }[] }
  }
  return mqtt.listeners[0]?.port ?? 0
}

/** @throws when it has not come true in time */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = SETTLE_MS,
): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await sleep(POLL_MS)
  }
}
