/** Rates of publishers of MQTT 5 beside those of 3.1.1, on one gateway, in many short turns. */
import { canCompilePublisher } from '../compiled-publisher.ts'
import { type Goal, judged, notMeasured } from '../goals.ts'
import { type Group, type Settings, withSluice } from '../group.ts'
import { drained, isPublisherBound, type LoadFigures, measureLoad } from '../load.ts'
import type { Protocol } from '../readings.ts'
import { medianInterval, ratios, spread } from '../statistics.ts'

const MEASURE = 'rate of MQTT 5, against 3.1.1'
const AT_LEAST = 0.95
const LOADS = [
  { qos: 1, window: 20 },
  { qos: 1, window: 100 },
  { qos: 2, window: 20 },
  { qos: 2, window: 100 },
] as const

type Loads = Readonly<Record<Protocol, LoadFigures[]>>

/** Each pair takes turns soon one after the other: what else the machine does changes within seconds. */
const PAIRS_A_ROUND = 4
const SECONDS = 1
const WARM_UP_MS = 400

async function pairs(settings: Settings, load: (typeof LOADS)[number]): Promise<Loads> {
  const loads: Loads = { 4: [], 5: [] }
  const { rounds, seed } = settings
  await withSluice({}, async (system) => {
    // What is cold at first would be the first one's alone.
    await measureLoad(system, { ...load, seconds: 1, seed })
    for (let pair = 0; pair < rounds * PAIRS_A_ROUND; pair += 1) {
      const order: readonly Protocol[] = pair % 2 === 0 ? [4, 5] : [5, 4]
      for (const protocol of order) {
        await drained(system)
        const options = { ...load, protocol, seconds: SECONDS, seed: seed + pair }
        loads[protocol].push(await measureLoad(system, { ...options, warmupMs: WARM_UP_MS }))
      }
    }
  })
  return loads
}

function goalOf({ qos, window }: (typeof LOADS)[number], loads: Loads): Goal {
  const measure = `${MEASURE}, QoS ${qos}, ${window} in flight`
  if (isPublisherBound(loads[4]) || isPublisherBound(loads[5]))
    return notMeasured(measure, `>= ${AT_LEAST} x`, 'publisher-bound')
  const rates = loads5And4(loads, (one) => one.ackedPerSecond)
  const costs = loads5And4(loads, (one) => one.cpuMicrosPerMessage)
  const values = ratios(...rates)
  const interval = medianInterval(values).map((bound) => bound.toFixed(2))
  const note =
    `median within ${interval.join(' to ')}; ${rates.map((all) => spread(all)).join(' against ')} acks/s, ` +
    `processor of a message ${spread(ratios(...costs), 2)} x`
  return judged({ measure, atLeast: AT_LEAST, unit: 'x', note }, values)
}

function loads5And4(loads: Loads, of: (load: LoadFigures) => number): [number[], number[]] {
  return [loads[5].map(of), loads[4].map(of)]
}

export const protocols: Group = {
  name: 'protocols',
  about: 'rates of publishers of MQTT 5 against those of 3.1.1',
  run: async (settings) => {
    if (!canCompilePublisher()) return [notMeasured(MEASURE, `>= ${AT_LEAST} x`, 'no gcc')]
    const goals: Goal[] = []
    for (const load of LOADS) {
      const goal = goalOf(load, await pairs(settings, load))
      settings.say(`  ${goal.measure}: ${goal.got}, ${goal.note}`)
      goals.push(goal)
    }
    return goals
  },
}
