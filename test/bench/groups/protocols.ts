/** Rates of publishers of MQTT 5 beside those of 3.1.1, on one gateway, in turns. */
import { canCompilePublisher } from '../compiled-publisher.ts'
import { type Goal, judged, notMeasured } from '../goals.ts'
import { type Group, type Settings, withSluice } from '../group.ts'
import { drained, isPublisherBound, type LoadFigures, measureLoad } from '../load.ts'
import type { Protocol } from '../readings.ts'
import { ratios, spread } from '../statistics.ts'

const MEASURE = 'rate of MQTT 5, against 3.1.1'
const AT_LEAST = 0.95
const LOADS = [
  { qos: 1, window: 20 },
  { qos: 1, window: 100 },
  { qos: 2, window: 20 },
  { qos: 2, window: 100 },
] as const

type Loads = Readonly<Record<Protocol, LoadFigures[]>>

async function pairs(settings: Settings, load: (typeof LOADS)[number]): Promise<Loads> {
  const loads: Loads = { 4: [], 5: [] }
  const { rounds, seconds, seed } = settings
  for (let round = 0; round < rounds; round += 1) {
    const order: readonly Protocol[] = round % 2 === 0 ? [4, 5] : [5, 4]
    await withSluice({}, async (system) => {
      // What is cold at first would be the first one's alone.
      await measureLoad(system, { ...load, seconds: 1, seed })
      for (const protocol of order) {
        await drained(system)
        const options = { ...load, protocol, seconds, seed: seed + round }
        loads[protocol].push(await measureLoad(system, options))
      }
    })
  }
  return loads
}

function goalOf({ qos, window }: (typeof LOADS)[number], loads: Loads): Goal {
  const measure = `${MEASURE}, QoS ${qos}, ${window} in flight`
  if (isPublisherBound(loads[4]) || isPublisherBound(loads[5]))
    return notMeasured(measure, `>= ${AT_LEAST} x`, 'publisher-bound')
  const [rates4, rates5] = ([4, 5] as const).map((protocol) =>
    loads[protocol].map((one) => one.ackedPerSecond),
  ) as [number[], number[]]
  const note = `${spread(rates5)} against ${spread(rates4)} acks/s`
  return judged({ measure, atLeast: AT_LEAST, unit: 'x', note }, ratios(rates5, rates4))
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
