/**
 * The subscriptions of aedes' clients, with what was granted for a topic, against the definition.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  type AedesSubscription,
  GrantedFilters,
  type ServedClient,
} from '../../../gateway/broker/aedes/granted-filters.ts'
import {
  checkTopicFilter,
  filterMatches,
  PROTOCOL_TOPIC_LIMITS,
} from '../../../gateway/shared/topics/topics.ts'

function served(): { client: ServedClient; granted: GrantedFilters; delivered: string[] } {
  const delivered: string[] = []
  const client: ServedClient = {
    subscriptions: {},
    deliver0: ({ topic }) => delivered.push(`0 ${topic}`),
    deliverQoS: ({ topic }) => delivered.push(`qos ${topic}`),
    clean: true,
    conn: { isRestored: false, isReplayed: false },
  }
  const granted = new GrantedFilters({ now: () => 0, onReplaced: () => {}, onRestored: () => {} })
  granted.serve(client)
  return { client, granted, delivered }
}

/** As aedes makes one: its function is what ends the subscription. */
const subscription = (qos: number): AedesSubscription => ({ qos, func: () => qos })

const level = fc.constantFrom('a', 'b', '', '+', '#', '__proto__')
const filter = fc
  .array(level, { minLength: 1, maxLength: 3 })
  .map((levels) => levels.join('/'))
  .filter((text) => checkTopicFilter(text, PROTOCOL_TOPIC_LIMITS) === null)
const topic = fc
  .array(fc.constantFrom('a', 'b', '', '__proto__', '$x'), { minLength: 1, maxLength: 3 })
  .map((levels) => levels.join('/'))

test('over any run of SUBSCRIBEs and UNSUBSCRIBEs the highest QoS of the filters that take a topic is known', () => {
  const step = fc.record({ filter, qos: fc.option(fc.nat(2), { nil: null }), topic })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { client, granted } = served()
      const model = new Map<string, AedesSubscription>()
      for (const { filter, qos, topic } of steps) {
        if (qos === null) {
          delete client.subscriptions[filter]
          model.delete(filter)
        } else {
          const made = subscription(qos)
          client.subscriptions[filter] = made
          model.set(filter, made)
        }
        const taking = [...model]
          .filter(([each]) => filterMatches(each, topic))
          .map(([, { qos }]) => qos)
        expect(granted.qosOf(topic)).toBe(Math.max(-1, ...taking))
        // What aedes unsubscribes with, and what it lists at the end of a connection.
        for (const [each, { func }] of model) expect(client.subscriptions[each]?.func).toBe(func)
        expect(new Set(Object.keys(client.subscriptions))).toEqual(new Set(model.keys()))
      }
    }),
  )
})

test('a copy for a filter at QoS 0 is sent at the QoS of another filter that takes its topic', () => {
  const { client, delivered } = served()
  client.subscriptions['a/+'] = subscription(0)
  const send = (qos: number): void => client.deliver0({ topic: 'a/b', qos }, () => {})
  send(1)
  client.subscriptions['a/b'] = subscription(1)
  send(1)
  send(0)
  expect(delivered).toEqual(['0 a/b', 'qos a/b', '0 a/b'])
})

test('aedes finds a subscription that is sent again changed, so that its new QoS holds', () => {
  const { client } = served()
  client.subscriptions['a'] = subscription(1)
  const stored = client.subscriptions['a'] as AedesSubscription & { nl?: unknown }
  // aedes 1.2, handlers/subscribe.js: replaced if qos, rh, rap or nl differ.
  for (const nl of [undefined, null, false, true]) expect(stored.nl).not.toBe(nl)
})
