/**
 * What happens to a cluster, one after the other: each scenario brings its fault about, shows that it
 * took place, and says what it broke. Names are those of the page on what is promised
 * (gateway/packaging/cluster/README.md).
 */
import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '../../../device-sim/random.ts'
import { runProgram } from '../../support/process.ts'
import { type ClusterBench, until } from './bench.ts'
import { WINDOW } from './device.ts'

/** Of the command and all around it; it has 30 s itself. */
const LEAVE_MS = 60_000

/** Connections closer together may both stay (gateway/broker/takeover/neighbors.ts). */
const APART_MS = 400
/** Devices that move at once. */
const MOVERS = 50
/** Until a gateway has noticed that the last node is gone. */
const SEVERED_MS = 90_000

export interface ClusterReport {
  /** What happened, for people: how often, how many. */
  readonly happened: Readonly<Record<string, number>>
  /** Promises that were broken. */
  readonly faults: readonly string[]
}

export interface ScenarioOptions {
  readonly seed: number
  /** Of the fault, or between two of them, ms. */
  readonly holdMs: number
  readonly kills: number
}

type Scenario = (bench: ClusterBench, options: ScenarioOptions) => Promise<ClusterReport>

/** A gateway is killed again and again; its disk survives. */
const killed: Scenario = async (bench, { holdMs, kills, seed }) => {
  const random = new Random(seed, 'killed')
  for (let n = 0; n < kills; n += 1) {
    const gateway = bench.gateways[random.below(bench.gateways.length)]!
    await gateway.kill()
    // Its devices go on at a neighbor.
    await bench.untilAcked()
    await sleep(holdMs)
    await gateway.start()
    await bench.untilAcked()
  }
  await bench.settle()
  const lost = await bench.lost()
  return report(
    { kills, drops: bench.drops },
    { ...lostFaults('delivered', lost.safe), ...lostFaults('spooled', lost.plain) },
  )
}

/** A gateway and its disk are destroyed while the engine has no quorum. */
const destroyed: Scenario = async (bench) => {
  const [gateway] = bench.gateways
  if (gateway === undefined) throw new Error('no gateway')
  await bench.untilAcked()
  const frozen = bench.nodes.slice(1)
  for (const node of frozen) await node.stand()
  // The spool goes on acknowledging, the other stream does not.
  await bench.untilAcked('plain', 3)
  for (const device of bench.devices) device.pause()
  await until('nothing of the spooled stream is on its way', () =>
    bench.devices.every(({ options, unacked }) => options.prefix === 'safe' || unacked === 0),
  )
  const pending = await bench.pendingOf(gateway, 'plain')
  await gateway.kill()
  rmSync(gateway.dataDir, { recursive: true })
  for (const node of frozen) node.signal('SIGCONT')
  await gateway.start()
  for (const device of bench.devices) device.resume()
  await bench.untilAcked()
  await bench.settle()
  const lost = await bench.lost()
  const happened = {
    'pending when it was destroyed': pending,
    'spooled readings lost': lost.plain.length,
  }
  return report(happened, {
    ...lostFaults('delivered', lost.safe),
    ...(lost.plain.length > pending
      ? { spooled: `${lost.plain.length} spooled readings lost, ${pending} were pending` }
      : {}),
  })
}

/** One node of the engine dies and comes back. */
const oneNodeDown: Scenario = async (bench, { holdMs }) => {
  await bench.untilAcked()
  const { drops } = bench
  const node = bench.nodes[await bench.leader()]
  await node?.end('SIGKILL')
  await bench.untilAcked(null, 3)
  await sleep(holdMs)
  await node?.start()
  return await withoutDrops(bench, drops, {})
}

/** Two nodes die: what has to be delivered waits, the rest goes on, every device stays. */
const twoNodesDown: Scenario = async (bench, { holdMs }) => {
  await bench.untilAcked()
  const { drops } = bench
  const down = bench.nodes.slice(1)
  for (const node of down) await node.end('SIGKILL')
  // What the engine had acknowledged by then is on its way to the devices.
  await bench.untilAcked('plain', 3)
  const before = bench.ackedOf('safe')
  const beganMs = performance.now()
  await bench.untilAcked('plain', 3)
  await sleep(holdMs)
  const withheldMs = Math.round(performance.now() - beganMs)
  const acked = bench.ackedOf('safe') - before
  for (const node of down) await node.start()
  await bench.untilAcked()
  const found = await withoutDrops(bench, drops, { 'ms without a quorum': withheldMs })
  const early = `${acked} readings were acknowledged as delivered without a quorum`
  return acked === 0 ? found : { ...found, faults: [...found.faults, early] }
}

/** HAProxy restarts: devices come to the gateway that knows them. */
const proxyRestarts: Scenario = async (bench, { kills }) => {
  await bench.untilAcked()
  for (let n = 0; n < kills; n += 1) {
    const before = new Map(bench.devices.map((device) => [device, device.connections]))
    const resumed = new Map(bench.devices.map((device) => [device, device.resumed]))
    await bench.restartProxy()
    await until('every device is back', () =>
      bench.devices.every((device) => device.connections > (before.get(device) ?? 0)),
    )
    const strangers = bench.devices.filter((device) => device.resumed === resumed.get(device))
    if (strangers.length > 0)
      return report(
        {},
        { sticky: `${strangers.length} devices came to a gateway that does not know them` },
      )
    await bench.untilAcked()
  }
  await bench.settle()
  const lost = await bench.lost()
  return report(
    { 'restarts of HAProxy': kills },
    {
      ...lostFaults('delivered', lost.safe),
      ...lostFaults('spooled', lost.plain),
    },
  )
}

/** A gateway leaves under load: it sends its devices away, and delivers what it has. */
const leaves: Scenario = async (bench) => {
  await bench.untilAcked()
  const [gateway] = bench.gateways
  if (gateway === undefined) throw new Error('no gateway')
  const beganMs = performance.now()
  const args = ['leave', '--config', gateway.configPath, '--timeout', '30s']
  const { exit, stdout } = await runProgram('gateway', args, { timeoutMs: LEAVE_MS })
  const leftMs = Math.round(performance.now() - beganMs)
  const stopped = await gateway.stop()
  await bench.untilAcked(null, 3)
  await bench.settle()
  const lost = await bench.lost()
  const window = bench.devices.length * WINDOW
  return report(
    { 'ms to leave': leftMs, repeats: lost.repeats },
    {
      ...lostFaults('delivered', lost.safe),
      ...lostFaults('spooled', lost.plain),
      ...(exit.code === 0 && stopped.code === 0 ? {} : { leave: `it did not leave: ${stdout}` }),
      ...(lost.repeats > window
        ? { repeats: `${lost.repeats} repeats of ${window} in flight` }
        : {}),
    },
  )
}

/** The node that leads is frozen: nothing is acknowledged that the others do not have. */
const frozenNode: Scenario = async (bench, { holdMs }) => {
  await bench.untilAcked()
  const { drops } = bench
  const node = bench.nodes[await bench.leader()]
  await node?.stand()
  await bench.untilAcked('plain', 3)
  await bench.untilAcked('safe')
  await sleep(holdMs)
  node?.signal('SIGCONT')
  return await withoutDrops(bench, drops, {})
}

/**
 * Devices connect to a second gateway and leave a connection behind at the first, which has no way
 * to see it: that one ends at once, not by its keepalive, and nobody else's does.
 */
const leftBehind: Scenario = async (bench, { kills }) => {
  await bench.untilAcked()
  const { drops } = bench
  const [first, second] = bench.gateways
  if (first === undefined || second === undefined) throw new Error('no two gateways')
  let slowestMs = 0
  for (let n = 0; n < kills; n += 1) {
    const level = n % 2 === 0 ? 4 : 5
    const fields = { clientId: `mover-${n}`, level, keepAlive: 600 }
    const old = await bench.clientAt(first, fields)
    // Else they cannot be told apart.
    await sleep(APART_MS)
    const beganMs = performance.now()
    const fresh = await bench.clientAt(second, fields)
    await old.closed()
    slowestMs = Math.max(slowestMs, Math.round(performance.now() - beganMs))
    await fresh.roundTrip()
    fresh.cut()
  }
  return await withoutDrops(bench, drops, { moves: kills, 'ms until the old one ended': slowestMs })
}

/**
 * The same while every node of the engine is down, so that no gateway is told: what was left behind
 * stays, and ends once the engine is back.
 */
const leftBehindUntold: Scenario = async (bench, { holdMs }) => {
  await bench.untilAcked()
  const { drops } = bench
  const [first, second] = bench.gateways
  if (first === undefined || second === undefined) throw new Error('no two gateways')
  const movers = Array.from({ length: MOVERS }, (_, n) => ({
    clientId: `mover-${n}`,
    level: n % 2 === 0 ? 4 : 5,
    keepAlive: 600,
  }))
  const old = await Promise.all(movers.map((fields) => bench.clientAt(first, fields)))
  for (const node of bench.nodes) await node.end('SIGKILL')
  for (const gateway of bench.gateways)
    await gateway.untilStatus(
      'the others cannot be told',
      ({ broker }) => broker?.neighbors?.isConnected === false,
      SEVERED_MS,
    )
  await sleep(APART_MS)
  const fresh = await Promise.all(movers.map((fields) => bench.clientAt(second, fields)))
  await sleep(holdMs)
  for (const client of old) await client.roundTrip()
  const beganMs = performance.now()
  await Promise.all(bench.nodes.map((node) => node.start()))
  await until('what was left behind ends', () => old.every(({ isClosed }) => isClosed))
  const ms = Math.round(performance.now() - beganMs)
  for (const client of fresh) {
    await client.roundTrip()
    client.cut()
  }
  return await withoutDrops(bench, drops, { moves: MOVERS, 'ms until all old ones ended': ms })
}

export const SCENARIOS = {
  'T1 a gateway is killed': killed,
  'T2 a gateway and its disk are destroyed': destroyed,
  'T3 one node of the engine is down': oneNodeDown,
  'T4 two nodes of the engine are down': twoNodesDown,
  'T5 HAProxy restarts': proxyRestarts,
  'T6 a gateway leaves': leaves,
  'T7 the node that leads is frozen': frozenNode,
  'T9 devices leave a connection behind': leftBehind,
  'T10 the engine is away while devices move': leftBehindUntold,
} as const satisfies Readonly<Record<string, Scenario>>

/** Nothing is lost, and no device had to come again since. */
async function withoutDrops(
  bench: ClusterBench,
  dropsBefore: number,
  happened: Readonly<Record<string, number>>,
): Promise<ClusterReport> {
  await bench.untilAcked()
  const drops = bench.drops - dropsBefore
  await bench.settle()
  const lost = await bench.lost()
  return report(
    { ...happened, acked: bench.ackedOf('safe') + bench.ackedOf('plain') },
    {
      ...lostFaults('delivered', lost.safe),
      ...lostFaults('spooled', lost.plain),
      ...(drops > 0 ? { drops: `${drops} connections ended, and none had to` } : {}),
    },
  )
}

function lostFaults(kind: string, lost: readonly string[]): Readonly<Record<string, string>> {
  if (lost.length === 0) return {}
  return {
    [kind]: `${lost.length} acknowledged readings (${kind}) are lost: ${lost.slice(0, 5).join()}`,
  }
}

function report(
  happened: Readonly<Record<string, number>>,
  faults: Readonly<Record<string, string>>,
): ClusterReport {
  return { happened, faults: Object.values(faults) }
}
