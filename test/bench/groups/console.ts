/**
 * What consoles that look on cost a gateway: event streams of the admin server beside a paced load,
 * in pairs with the same load without them. How soon one has its first view: first-view.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { openEvents } from '../event-stream.ts'
import { type Goal, judged } from '../goals.ts'
import { type Group, type Settings, withSluice } from '../group.ts'
import { type LoadFigures, measureLoad, notes, paceNote } from '../load.ts'
import { cpuSeconds } from '../processes.ts'
import { median, medianInterval, ratios, spread } from '../statistics.ts'
import type { System } from '../systems.ts'

const RATE = 10_000
const STREAMS = 3
/** What else the machine does changes within seconds: short turns, and many. */
const PAIRS_A_ROUND = 4
const MIN_PAIRS = 11

async function withStreams<T>(system: System, count: number, use: () => Promise<T>): Promise<T> {
  const open = Array.from({ length: count }, () => openEvents(system.adminUrl ?? ''))
  const streams = await Promise.all(open)
  try {
    return await use()
  } finally {
    for (const stream of streams) stream.destroy()
  }
}

interface Pairs {
  readonly watched: readonly LoadFigures[]
  readonly alone: readonly LoadFigures[]
}

async function pairs({ rounds, seconds, seed, say }: Settings): Promise<Pairs> {
  const taken: { watched: LoadFigures[]; alone: LoadFigures[] } = { watched: [], alone: [] }
  const count = Math.max(MIN_PAIRS, rounds * PAIRS_A_ROUND)
  await withSluice({}, async (system) => {
    const load = { seconds, messagesPerSecond: RATE }
    // What is cold at first would be the first one's alone.
    await withStreams(system, STREAMS, () => measureLoad(system, { ...load, seed }))
    for (let pair = 0; pair < count; pair += 1) {
      for (const turn of pair % 2 === 0 ? ['alone', 'watched'] : ['watched', 'alone']) {
        const streams = turn === 'watched' ? STREAMS : 0
        const figures = await withStreams(system, streams, () =>
          measureLoad(system, { ...load, seed: seed + pair }),
        )
        taken[turn as keyof Pairs].push(figures)
      }
      const [watched, alone] = [taken.watched.at(-1), taken.alone.at(-1)]
      say(
        `  pair ${pair + 1}: ${watched?.cpuMicrosPerMessage.toFixed(1)} against ${alone?.cpuMicrosPerMessage.toFixed(1)} us a message, p99 ${watched?.p99Ms.toFixed(1)} against ${alone?.p99Ms.toFixed(1)} ms`,
      )
    }
  })
  return taken
}

function costs({ watched, alone }: Pairs): Goal[] {
  const goal = (measure: string, unit: string, of: (figures: LoadFigures) => number): Goal => {
    const [over, under] = [watched.map(of), alone.map(of)]
    const values = ratios(over, under)
    const interval = medianInterval(values).map((bound) => bound.toFixed(3))
    const note = notes(
      `median of ${values.length} pairs within ${interval.join(' to ')}`,
      `${spread(over, 1)} against ${spread(under, 1)} ${unit}`,
      paceNote([...watched, ...alone], RATE),
    )
    return judged({ measure, atMost: 1.05, unit: 'x', digits: 3, note }, values)
  }
  const with3 = `${STREAMS} event streams open, 10,000 messages/s, against none`
  return [
    goal(`processor, ${with3}`, 'us a message', (f) => f.cpuMicrosPerMessage),
    goal(`ack latency p99, ${with3}`, 'ms', (f) => f.p99Ms),
  ]
}

/** Clock ticks of 10 ms are what the kernel counts: short windows say nothing. */
const IDLE_WINDOWS = 10

/**
 * What the streams take by themselves, as a share of what the load takes: where the machine is
 * noisy, this is the figure that means something.
 */
async function share({ seconds, say }: Settings, { alone }: Pairs): Promise<Goal> {
  const windowMs = IDLE_WINDOWS * seconds * 1_000
  const [without, beside] = await withSluice({}, async (system) => {
    const taken = async (streams: number): Promise<number> =>
      withStreams(system, streams, async () => {
        const before = cpuSeconds(system.process.pid)
        await sleep(windowMs)
        return ((cpuSeconds(system.process.pid) - before) * 1_000_000) / windowMs
      })
    return [await taken(0), await taken(STREAMS)]
  })
  const loadMs = (median(alone.map((f) => f.cpuMicrosPerMessage)) * RATE) / 1_000
  const percent = (100 * (beside - without)) / loadMs
  const note = `idle gateway ${without.toFixed(2)} ms of processor a second, ${beside.toFixed(2)} with them; the load ${loadMs.toFixed(0)}`
  say(`  ${note}`)
  const measure = `processor of ${STREAMS} event streams, share of that of 10,000 messages/s`
  return judged({ measure, atMost: 5, unit: '%', note }, [percent])
}

export const consoles: Group = {
  name: 'console',
  about: 'what consoles that look on cost',
  run: async (settings) => {
    const taken = await pairs(settings)
    return [...costs(taken), await share(settings, taken)]
  },
}
