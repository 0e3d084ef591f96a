/**
 * Connections that race for few client ids, cut at any moment, while streams fill up and commits
 * stall: what becomes of each cannot be foretold, but when all are gone nothing is charged to
 * anybody, and the bystanders notice nothing (I6).
 */
import { Random } from '../../../device-sim/random.ts'
import { FrameTaker } from './frame-taker.ts'
import { FuzzedGate, type Transport } from './fuzzed-gate.ts'
import { MUTATIONS, mutate, SPLITS, segments } from './mutations.ts'
import { makeSession, pick } from './sessions.ts'

const IDS = ['race-1', 'race-2', 'race-3']

export interface ChaosTotals {
  connections: number
  cuts: number
  takeovers: number
  fullStreams: number
  heldCommits: number
  readonly failures: string[]
}

export function newChaosTotals(): ChaosTotals {
  return { connections: 0, cuts: 0, takeovers: 0, fullStreams: 0, heldCommits: 0, failures: [] }
}

/** A gate with tight bounds, so that they are met. */
export async function startTightGate(): Promise<FuzzedGate> {
  return FuzzedGate.start({
    maxUnackedMessages: 5,
    maxHoldBackBytes: 1_024,
    maxSubscriberMessages: 50,
    maxHoldBackBytesTotal: 16 * 1024,
  })
}

/** One round: `connections` at the same time. */
export async function runChaos(
  gate: FuzzedGate,
  seed: string,
  transport: Transport,
  totals: ChaosTotals,
  connections = 24,
): Promise<void> {
  const random = new Random(seed, 'chaos')
  const { appender, broker, bystander } = gate
  const takeovers = broker.stats.connectionsClosed.takeover
  gate.turnClock(1)
  try {
    if (random.chance(0.3)) {
      appender.setRoom('alarms', random.below(4))
      totals.fullStreams += 1
    }
    const racing = Array.from({ length: connections }, () =>
      runOne(gate, random, transport, totals),
    )
    const publishing = bystander.publish(5)
    if (random.chance(0.3)) {
      appender.hold()
      totals.heldCommits += 1
      await turns(random.below(20))
      appender.release()
    }
    await publishing
    await Promise.all(racing)
    appender.setRoom('alarms', null)
    await until('all are gone', () => broker.connections() === 2)
    const { stats } = broker
    await until('nothing is left', () => {
      const { unackedMessages, unackedBytes, holdBackBytes, waitingMessages, waitingBytes } = stats
      return unackedMessages + unackedBytes + holdBackBytes + waitingMessages + waitingBytes === 0
    })
    await until(
      'no copy is left',
      () => stats.subscriberBytes === 0 && gate.watcher.seen >= bystander.published,
    )
    const mine = appender.records
      .filter(({ device }) => device === 'bystander')
      .map(({ payload }) => payload)
    const expected = Array.from({ length: 5 }, (_, i) => String(bystander.published - 4 + i))
    if (mine.join() !== expected.join())
      throw new Error(`the bystander's records are ${mine.join()}`)
  } catch (error) {
    totals.failures.push(`chaos ${seed}: ${String(error)}`)
  }
  for (const fault of gate.takeFaults())
    totals.failures.push(`chaos ${seed}: an error inside the broker: ${fault}`)
  totals.takeovers += broker.stats.connectionsClosed.takeover - takeovers
  appender.records.length = 0
  appender.checkpoint()
}

async function runOne(
  gate: FuzzedGate,
  random: Random,
  transport: Transport,
  totals: ChaosTotals,
): Promise<void> {
  const clean = random.chance(0.5)
  const session = makeSession(random, { clientId: pick(random, IDS), clean, maxFrames: 25 })
  const parts = segments(
    random,
    mutate(random, session, pick(random, MUTATIONS)),
    pick(random, SPLITS),
  )
  const [cutAt, delay, ends] = [random.below(parts.length + 1), random.below(20), random.below(3)]
  const reads = random.chance(0.8)
  await turns(delay)
  const { end } = await gate.connect(transport)
  const taker = new FrameTaker(end)
  if (!reads) end.pause()
  for (const [index, part] of parts.entries()) {
    if (index === cutAt || end.destroyed) break
    end.write(part)
    if (index % 4 === 0) await turns(1)
  }
  totals.connections += 1
  if (ends === 0) end.end()
  else {
    if (ends === 2) await turns(3)
    totals.cuts += 1
    end.destroy()
  }
  if (taker.fault !== null) throw taker.fault
}

async function turns(count: number): Promise<void> {
  for (let left = count; left > 0; left -= 1) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 10_000
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`did not happen: ${what}`)
    await new Promise((resolve) => {
      setTimeout(resolve, 1)
    })
  }
}
