/**
 * Gateways in front of three NATS servers with a stream of three replicas, all on this machine: what
 * an ack costs that waits for delivery, how long it takes, and what several gateways carry together,
 * beside the MQTT of NATS itself.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jetstream } from '@nats-io/jetstream'
import { freePort } from '../../../device-sim/free-ports.ts'
import { NatsAdmin, type NatsServer, STREAM, startCluster } from '../../sink/nats/server.ts'
import { findTool } from '../../support/tools.ts'
import { fsyncTimesMs } from '../disk.ts'
import { type Goal, judged, notMeasured } from '../goals.ts'
import { type Group, type Settings, withSluice, withSystem } from '../group.ts'
import { type LoadFigures, measureLoad, notes } from '../load.ts'
import { quantile, ratios, spread } from '../statistics.ts'
import { COMMIT_INTERVAL_MS, type SluiceOptions, type System, startSluice } from '../systems.ts'

const PACE = 1_000
/** Gateways that work together. */
const COUNTS = [1, 2, 3]
const DEVICES = 50
/** A batch of a commit at that pace, as it lies in NATS. */
const BATCH_BYTES = ((PACE * COMMIT_INTERVAL_MS) / 1000) * 60
const PUBLISHES = 300
const FSYNCS = 300

const ACK_WORDS = ['spooled', 'delivered'] as const
type AckWord = (typeof ACK_WORDS)[number]

interface Round {
  readonly paced: Readonly<Record<AckWord, LoadFigures>>
  readonly publishP99Ms: number
  readonly fsyncP99Ms: number
  /** Acks a second: of one gateway, of two, of three, of NATS. */
  readonly gateways: readonly Readonly<Record<AckWord, number>>[]
  readonly nats: number
}

export const cluster: Group = {
  name: 'cluster',
  about: 'gateways in front of three NATS servers: acks that wait for delivery, beside NATS alone',
  run: async (settings) => {
    const measure = 'processor of an ack, delivered against spooled'
    if (findTool('nats-server') === null)
      return [notMeasured(measure, '<= 2.5 x', 'nats-server is not installed')]
    const rounds: Round[] = []
    for (let round = 0; round < settings.rounds; round += 1) {
      const one = await measureRound({ ...settings, seed: settings.seed + round })
      sayRound(settings.say, one)
      rounds.push(one)
    }
    return goalsOf(measure, rounds)
  },
}

async function measureRound(settings: Settings): Promise<Round> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-cluster-'))
  const mqttPort = await freePort()
  const nodes = await startCluster(folder, (index) =>
    index === 0 ? `mqtt { listen: 127.0.0.1:${mqttPort} }` : '',
  )
  const admin = await NatsAdmin.to(nodes.map(({ port }) => port))
  try {
    await admin.makeStream({ num_replicas: nodes.length })
    const paced = { spooled: await pace('spooled'), delivered: await pace('delivered') }
    const publishP99Ms = await publishTimes(admin)
    const fsyncP99Ms = quantile(await fsyncTimesMs(folder, FSYNCS, 0), 0.99)
    const gateways: Record<AckWord, number>[] = []
    for (const count of COUNTS)
      gateways.push({
        spooled: await rate(count, 'spooled'),
        delivered: await rate(count, 'delivered'),
      })
    const nats = await natsRate()
    return { paced, publishP99Ms, fsyncP99Ms, gateways, nats }
  } finally {
    await admin.close()
    for (const node of nodes) await node.end('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }

  function options(ack: AckWord, id: string): SluiceOptions {
    return { ack, id, sink: sinkTo(nodes) }
  }

  async function pace(ack: AckWord): Promise<LoadFigures> {
    const { seconds, seed } = settings
    // As after the first seconds of such a trickle: its commits go by the interval.
    const trickling = { ...options(ack, `paced-${ack}`), commitBurst: 0 }
    return await withSluice(trickling, (system) =>
      measureLoad(system, { seconds, seed, messagesPerSecond: PACE }),
    )
  }

  /** All of them at full load at the same time. */
  async function rate(gateways: number, ack: AckWord): Promise<number> {
    const systems: System[] = []
    try {
      for (let n = 0; n < gateways; n += 1)
        systems.push(await startSluice(options(ack, `${ack}-${gateways}-${n}`)))
      return await together(systems)
    } finally {
      for (const system of systems) await system.stop()
    }
  }

  async function natsRate(): Promise<number> {
    const system: System = {
      name: 'NATS',
      version: '',
      port: mqttPort,
      process: { pid: nodes[0]?.pid ?? 0, output: () => '', stop: async () => undefined },
      folder,
      delivered: async () => null,
      status: async () => null,
      stop: async () => undefined,
    }
    return await withSystem(
      async () => system,
      () => together([system]),
    )
  }

  async function together(systems: readonly System[]): Promise<number> {
    const { seconds, seed } = settings
    const devices = Math.ceil(DEVICES / systems.length)
    const loads = await Promise.all(
      systems.map((system, n) => measureLoad(system, { seconds, seed: seed + n, devices })),
    )
    return loads.reduce((sum, { ackedPerSecond }) => sum + ackedPerSecond, 0)
  }
}

function sinkTo(nodes: readonly NatsServer[]): Readonly<Record<string, unknown>> {
  return {
    type: 'nats',
    servers: nodes.map(({ port }) => `127.0.0.1:${port}`),
    jetStream: STREAM,
    message: 'batch',
    // oxlint-disable-next-line no-template-curly-in-string -- the gateway fills it in
    subject: 'sluice.${gateway}.${stream}',
    minReplicas: nodes.length,
    linger: '0s',
  }
}

/** One message after the other, as large as a batch, each until its ack. */
async function publishTimes(admin: NatsAdmin): Promise<number> {
  const client = jetstream(admin.connection)
  const body = Buffer.alloc(BATCH_BYTES, 0x5a)
  const times: number[] = []
  for (let n = 0; n < PUBLISHES; n += 1) {
    const beganMs = performance.now()
    await client.publish('sluice.bench.publish', body)
    times.push(performance.now() - beganMs)
  }
  return quantile(times, 0.99)
}

function goalsOf(processor: string, rounds: readonly Round[]): Goal[] {
  const cost = (ack: AckWord): number[] => rounds.map((r) => r.paced[ack].cpuMicrosPerMessage)
  const bound = (r: Round): number => COMMIT_INTERVAL_MS + r.fsyncP99Ms + 3 * r.publishP99Ms
  const rates = (of: (r: Round) => number): string => spread(rounds.map(of))
  return [
    judged(
      {
        measure: `${processor}, ${PACE} messages/s`,
        atMost: 2.5,
        unit: 'x',
        note: `${spread(cost('delivered'), 1)} against ${spread(cost('spooled'), 1)} us a message`,
      },
      ratios(cost('delivered'), cost('spooled')),
    ),
    judged(
      {
        measure: `ack latency p99, delivered, ${PACE} messages/s`,
        atMost: rounds.map(bound),
        unit: 'ms',
        digits: 1,
        note: notes(
          `${COMMIT_INTERVAL_MS} ms + one fsync, p99 ${rates((r) => r.fsyncP99Ms)} ms`,
          `+ 3 x one publish of ${BATCH_BYTES} bytes, p99 ${rates((r) => r.publishP99Ms)} ms`,
          `spooled ${rates((r) => r.paced.spooled.p99Ms)} ms`,
        ),
      },
      rounds.map((r) => r.paced.delivered.p99Ms),
    ),
    ...COUNTS.flatMap((count, n) =>
      ACK_WORDS.map((ack) => {
        const acks = (r: Round): number => r.gateways[n]?.[ack] ?? Number.NaN
        return judged(
          {
            measure: `acks of ${count} gateways, ${ack}, against the MQTT of NATS (stated)`,
            atLeast: 0,
            unit: 'x',
            note: `${rates(acks)} acks/s, NATS ${rates((r) => r.nats)}`,
          },
          rounds.map((r) => acks(r) / r.nats),
        )
      }),
    ),
  ]
}

function sayRound(say: Settings['say'], { paced, gateways, nats }: Round): void {
  for (const ack of ACK_WORDS) {
    const acks = COUNTS.map((count, n) => `${count} x ${gateways[n]?.[ack].toFixed(0)}`)
    const { cpuMicrosPerMessage, p50Ms, p99Ms } = paced[ack]
    say(
      `  ${ack}: ${cpuMicrosPerMessage.toFixed(1)} us a message, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms, ` +
        `acks/s of gateways ${acks.join(', ')}, NATS ${nats.toFixed(0)}`,
    )
  }
}
