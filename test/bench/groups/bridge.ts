/**
 * The mqtt sink beside Mosquitto's bridge: the same backlog in the files of each, the same receiver,
 * in turns. Both speak 3.1.1 and send at the same QoS.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Mosquitto } from '../../sink/mqtt/mosquitto.ts'
import { missingLine, missingTools } from '../../support/tools.ts'
import { type Goal, judged, notMeasured } from '../goals.ts'
import { type Group, type Settings, withSluice } from '../group.ts'
import { cpuSeconds } from '../processes.ts'
import { Backlog } from '../sinks/backlog.ts'
import { BRIDGE_SETUPS, BridgeBacklog } from '../sinks/bridge/mosquitto-bridge.ts'
import { ReceiverPace } from '../sinks/bridge/receiver-pace.ts'
import type { Rate } from '../sinks/contest.ts'
import { median, ratios, spread } from '../statistics.ts'

const TOOLS = ['mosquitto']
/** By QoS. */
const RECORDS = { 1: 300_000, 2: 100_000 } as const
const AT_LEAST = 1
const RECEIVERS = [
  { name: 'Mosquitto by its defaults', lines: [] },
  { name: 'Mosquitto with set_tcp_nodelay true', lines: ['set_tcp_nodelay true'] },
] as const
/** Of the sink: none, and as many in flight as the bridge has at its best. */
const SINK_SETUPS = [
  { name: 'defaults', keys: {} },
  {
    name: 'window 1000, maxBatchRecords 10000',
    keys: { window: 1000, maxBatchRecords: 10_000 },
  },
] as const

interface Sender {
  readonly name: string
  readonly rates: Rate[]
  run(receiver: Mosquitto, pace: ReceiverPace): Promise<Rate>
}

function sluice(backlog: Backlog, qos: 1 | 2, setup: (typeof SINK_SETUPS)[number]): Sender {
  return {
    name: `Sluice, ${setup.name}`,
    rates: [],
    run: async ({ url }, pace) => {
      const before = await pace.packets()
      const sink = { type: 'mqtt', url, qos, ...setup.keys }
      return await backlog.withCopy((folder) =>
        withSluice({ folder, sink }, ({ process: { pid } }) =>
          pace.rate(RECORDS[qos], qos, before, () => cpuSeconds(pid)),
        ),
      )
    },
  }
}

function bridges(backlog: BridgeBacklog, qos: 1 | 2): Sender[] {
  return BRIDGE_SETUPS.map(({ name, lines }) => ({
    name: `the bridge, ${lines.length === 0 ? name : lines.join(', ')}`,
    rates: [],
    run: async ({ port }, pace) => {
      const before = await pace.packets()
      const bridge = await backlog.bridge(port, lines)
      try {
        return await pace.rate(RECORDS[qos], qos, before, () => cpuSeconds(bridge.pid))
      } finally {
        await bridge.stop('SIGKILL')
      }
    },
  }))
}

/** Each sender once a round, to a receiver of that round. */
async function inTurn(
  senders: readonly Sender[],
  lines: readonly string[],
  rounds: number,
): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    for (const sender of round % 2 === 0 ? senders : senders.toReversed()) {
      const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-receiver-'))
      const receiver = await Mosquitto.start(folder, ['sys_interval 1', ...lines])
      const pace = await ReceiverPace.of(receiver.url)
      try {
        sender.rates.push(await sender.run(receiver, pace))
      } catch (error) {
        throw new Error(`${sender.name}: ${String(error)}`, { cause: error })
      } finally {
        await pace.close()
        await receiver.end('SIGKILL')
        rmSync(folder, { recursive: true, force: true })
      }
    }
  }
}

const perSecond = ({ rates }: Sender): number[] => rates.map((one) => one.recordsPerSecond)
const costs = ({ rates }: Sender): number[] => rates.map((one) => one.cpuMicrosPerRecord)

async function compare(
  settings: Settings,
  qos: 1 | 2,
  backlogs: { readonly own: Backlog; readonly bridge: BridgeBacklog },
): Promise<Goal[]> {
  const goals: Goal[] = []
  for (const { name, lines } of RECEIVERS) {
    const mine = SINK_SETUPS.map((setup) => sluice(backlogs.own, qos, setup))
    const theirs = bridges(backlogs.bridge, qos)
    await inTurn([...mine, ...theirs], lines, settings.rounds)
    settings.say(`QoS ${qos}, into ${name}, ${settings.rounds} rounds`)
    for (const sender of [...mine, ...theirs])
      settings.say(
        `  ${sender.name}: ${spread(perSecond(sender))} records/s, ${spread(costs(sender), 1)} us of processor a record`,
      )
    const best = theirs.toSorted((a, b) => median(perSecond(b)) - median(perSecond(a)))[0]
    for (const sender of best === undefined ? [] : mine) {
      const measure = `sink mqtt, QoS ${qos}, into ${name}, ${sender.name}, against the better bridge`
      goals.push(
        judged(
          { measure, atLeast: AT_LEAST, unit: 'x', note: `against ${best?.name}` },
          ratios(perSecond(sender), best === undefined ? [] : perSecond(best)),
        ),
      )
    }
  }
  return goals
}

export const bridge: Group = {
  name: 'bridge',
  about: "catch-up of the mqtt sink into a Mosquitto, beside Mosquitto's bridge",
  run: async (settings) => {
    const missing = missingTools(TOOLS)
    if (missing.length > 0) return [notMeasured('sink mqtt', '', missingLine(missing))]
    const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-bridge-'))
    const own = await Backlog.make(RECORDS[1], settings.seed)
    try {
      const goals: Goal[] = []
      for (const qos of [1, 2] as const) {
        const place = join(folder, `qos-${qos}`)
        const filled = await BridgeBacklog.make(place, qos, own.batches, RECORDS[qos])
        goals.push(...(await compare(settings, qos, { own, bridge: filled })))
      }
      return goals
    } finally {
      own.remove()
      rmSync(folder, { recursive: true, force: true })
    }
  },
}
