/**
 * Local subscribers on everything, while each reading of a full load is stored and acknowledged,
 * too: acks and copies beside Mosquitto as it is installed.
 */
import { acked, against, copied, inTurn } from '../beside.ts'
import { canCompilePublisher } from '../compiled-publisher.ts'
import { type Goal, notMeasured } from '../goals.ts'
import type { Group } from '../group.ts'
import { findPeers } from '../peers.ts'
import type { Subscribers } from '../publisher.ts'

const LOADS: readonly Subscribers[] = [
  { count: 1, qos: 0 },
  { count: 1, qos: 1 },
  { count: 10, qos: 0 },
  { count: 10, qos: 1 },
]

export const subscribers: Group = {
  name: 'subscribers',
  about: 'acks and copies with one and ten local subscribers on #, against Mosquitto',
  run: async (settings) => {
    if (!canCompilePublisher()) return [notMeasured('local subscribers', '>= 1 x', 'no gcc')]
    const { mosquitto } = findPeers()
    const setups = mosquitto.setups.filter(({ name }) => name === 'defaults')
    const goals: Goal[] = []
    for (const each of LOADS) {
      const load = { qos: 1, window: 20, shape: 'models', subscribers: each } as const
      const compared = await inTurn(settings, load, { ...mosquitto, setups })
      const who = `with ${each.count} on # at QoS ${each.qos}, against Mosquitto`
      goals.push(
        against(`acks ${who}`, 1, compared, acked),
        against(`copies ${who}`, 1, compared, copied),
      )
    }
    return goals
  },
}
