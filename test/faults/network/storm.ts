/**
 * Fault 8, reconnect storm: thousands of devices come back within seconds while others publish.
 * Three processes, so that nobody measures himself: the gateway, the devices of the storm
 * (`stormMain`), and here those that publish. What counts is the time from PUBLISH to PUBACK of the
 * latter, before and during the storm.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { GatewayProcess } from '../../support/gateway-process.ts'
import { dealLevels, levelsInTurn } from '../../support/levels.ts'
import type { Level } from '../../support/mqtt-answers.ts'
import { builtFile, type RunningProcess, startProcess } from '../../support/process.ts'
import { type ConnectFields, lastingSession, packet } from '../../support/raw-mqtt.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { SteadyDevice } from './steady-device.ts'

export interface StormOptions {
  readonly folder: string
  readonly devices: number
  /** All of them begin to connect within this time, ms. */
  readonly withinMs: number
  /** How long the publishers are measured before the storm, ms. */
  readonly quietMs: number
  /** Deals the versions of MQTT. */
  readonly seed: number
}

export interface StormReport {
  readonly quiet: Latencies
  readonly storm: Latencies
  /** Devices that got CONNACK 0, and when the last one did, ms from the beginning. */
  readonly connected: number
  readonly connectedMs: number
}

export interface Latencies {
  readonly count: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

const PUBLISHERS = 10
const PUBLISH_EVERY_MS = 20
const SESSION_EXPIRY_SECONDS = 3_600

/** What the processes of a storm say to each other on stdin and stdout. */
interface StormOrder {
  readonly port: number
  readonly devices: number
  readonly withinMs: number
  /** Deals the versions of MQTT. */
  readonly seed: number | string
  /** Of the client ids. @default storm */
  readonly prefix?: string
  /** @default 60 */
  readonly keepAliveSeconds?: number
}

/**
 * Rests, storms, and compares. @throws when a device is not connected in the end, or a publisher
 * lost an ack
 */
async function measureStorm(options: StormOptions): Promise<StormReport> {
  const { folder, devices, withinMs, quietMs, seed } = options
  const sink = await ScriptedSink.start()
  const gateway = await GatewayProcess.start({
    folder,
    sinkUrl: sink.url,
    sections: {
      mqtt: { maxConnections: devices + 100, maxSessions: devices + 100 },
    },
  })
  const names = Array.from({ length: PUBLISHERS }, (_, i) => ({ name: `steady-${i}` }))
  const publishers = dealLevels(seed, names).map(
    ({ name, level }) => new SteadyDevice(name, PUBLISH_EVERY_MS, level),
  )
  try {
    for (const publisher of publishers) await publisher.connect(gateway.mqttPort)
    // Sessions are there already: the devices come back.
    await sleep(500)
    const quiet = await measure(publishers, sleep(quietMs))
    const storming = startStorm({ port: gateway.mqttPort, devices, withinMs, seed })
    try {
      await storming.waitForLine('begins')
      const ended = stormEnd(storming)
      const storm = await measure(publishers, ended)
      const { connected, connectedMs } = await ended
      return { quiet, storm, connected, connectedMs }
    } finally {
      await storming.reap()
    }
  } finally {
    for (const publisher of publishers) publisher.close()
    await gateway.process.reap()
    await sink.close()
  }
}

/** A process that connects all of them, says `begins`, and keeps the connections. */
export function startStorm(order: StormOrder): RunningProcess {
  const main = pathToFileURL(builtFile('test/faults/network/storm.js')).href
  const script = `(await import(${JSON.stringify(main)})).stormMain(${JSON.stringify(order)})`
  return startProcess(process.execPath, ['--input-type=module', '-e', script])
}

/** When the last one is connected, or has given up. */
export async function stormEnd(
  storming: RunningProcess,
  timeoutMs = 120_000,
): Promise<Pick<StormReport, 'connected' | 'connectedMs'>> {
  const { text } = await storming.waitForLine('connected', timeoutMs)
  return JSON.parse(text.slice('connected '.length)) as Pick<
    StormReport,
    'connected' | 'connectedMs'
  >
}

async function measure(
  publishers: readonly SteadyDevice[],
  until: Promise<unknown>,
): Promise<Latencies> {
  for (const publisher of publishers) publisher.latenciesMs.length = 0
  await until
  for (const publisher of publishers) publisher.check()
  const all = publishers.flatMap(({ latenciesMs }) => latenciesMs).toSorted((a, b) => a - b)
  const at = (share: number): number =>
    all[Math.min(all.length - 1, Math.floor(all.length * share))] ?? Number.NaN
  return { count: all.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) }
}

/** The process of the storm: connects all, says so, and keeps the connections until it is ended. */
export async function stormMain(order: StormOrder): Promise<void> {
  const { port, devices, withinMs, seed, prefix = 'storm', keepAliveSeconds = 60 } = order
  const nextLevel = levelsInTurn(seed)
  const sockets = new Set<Socket>()
  process.stdout.write('begins\n')
  const beganMs = performance.now()
  let connected = 0
  const one = async (n: number, level: Level): Promise<void> => {
    const session = n % 2 === 0 ? { level } : lastingSession(level, SESSION_EXPIRY_SECONDS)
    await sleep((n / devices) * withinMs)
    // A device that is refused or cut off tries again.
    for (let tries = 1; ; tries += 1) {
      const isConnected = await connectOnce(
        port,
        { clientId: `${prefix}-${n}`, keepAlive: keepAliveSeconds, ...session },
        sockets,
      )
      if (isConnected) break
      if (tries === 20) return
      await sleep(200)
    }
    connected += 1
  }
  await Promise.all(Array.from({ length: devices }, (_, n) => one(n, nextLevel())))
  const report = { connected, connectedMs: Math.round(performance.now() - beganMs) }
  process.stdout.write(`connected ${JSON.stringify(report)}\n`)
}

async function connectOnce(
  port: number,
  fields: ConnectFields,
  sockets: Set<Socket>,
): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
    sockets.add(socket)
    socket.once('connect', () => socket.write(packet.connect(fields)))
    socket.once('data', (bytes) => resolve(bytes[0] === 0x20 && bytes[3] === 0))
    socket.on('error', () => {})
    socket.once('close', () => {
      sockets.delete(socket)
      resolve(false)
    })
  })
}

/** Of the publishers' p99 during a storm, against the quiet one of the same run. */
const MAX_RATIO = 3

export interface Storms {
  readonly reports: readonly StormReport[]
  /** What else the machine does spoils one storm: on a quiet machine the median is judged ... */
  readonly isHarmless: boolean
  /** ... and beside other tests the best, to which noise has added least. */
  readonly isHarmlessAtBest: boolean
}

/** Three storms, each on a gateway of its own. */
export async function measureStorms(options: Omit<StormOptions, 'folder'>): Promise<Storms> {
  const reports: StormReport[] = []
  while (reports.length < 3) {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-storm-'))
    try {
      reports.push(await measureStorm({ ...options, folder }))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  const ratios = reports
    .map(({ quiet, storm }) => storm.p99Ms / quiet.p99Ms)
    .toSorted((a, b) => a - b)
  const [best = Number.NaN, median = Number.NaN] = ratios
  return { reports, isHarmless: median <= MAX_RATIO, isHarmlessAtBest: best <= MAX_RATIO }
}

export function describeStorm({ connected, connectedMs, quiet, storm }: StormReport): string {
  const p99 = `${quiet.p99Ms.toFixed(1)} ms before, ${storm.p99Ms.toFixed(1)} ms meanwhile`
  return `${connected} devices back in ${connectedMs} ms; p99 of those that publish ${p99}`
}
