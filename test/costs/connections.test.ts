/**
 * What a client leaves behind in memory when it has gone for good: nothing, whatever it did. Many
 * clients choose a new id each time, so a trace of each would grow as long as the gateway runs (I6).
 */
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, expect, test } from 'vitest'
import { eventually } from '../broker/harness.ts'
import { FuzzedGate } from '../faults/fuzz/fuzzed-gate.ts'
import { type ConnectFields, packet } from '../support/raw-mqtt.ts'

const CLIENTS = 1_500
const AT_A_TIME = 50
const MOST_ROUNDS = 6
/** An entry of a map with the id has more; what V8 adds by itself is less. */
const MAX_BYTES_PER_CLIENT = 64

let gate: FuzzedGate | null = null

afterEach(async () => {
  await gate?.stop()
  gate = null
})

/** Used by live objects: the least of some moments, because what goes takes some turns. */
async function leastHeapBytes(): Promise<number> {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  let least = Number.POSITIVE_INFINITY
  for (let moment = 0; moment < 5; moment += 1) {
    await setTimeout(1)
    gc()
    const { heapUsed, external } = process.memoryUsage()
    least = Math.min(least, heapUsed + external)
  }
  return least
}

/** Connects, does all that a client may do, and goes. */
type Visit = (clientId: string) => readonly Buffer[]

const will = { topic: 't/will', payload: 'gone', qos: 1 }

/** `fields`: of a session that outlives its connection. */
const visits = (level: 4 | 5, fields: ConnectFields): Record<string, Visit> => {
  const own = level === 5 ? {} : undefined
  const properties = own === undefined ? {} : { properties: own }
  const connect = (clientId: string, more: ConnectFields = {}): Buffer =>
    packet.connect({ level, clientId, ...more })
  return {
    'publishes and subscribes': (clientId) => [
      connect(clientId, { will }),
      packet.subscribe(1, [[`t/${clientId}`, 2]], own),
      packet.publish(`t/${clientId}`, 'x', { qos: 1, id: 1, ...properties }),
      packet.publish(`t/${clientId}`, 'x', { qos: 2, id: 2, ...properties }),
      packet.pubrel(2),
      packet.publish(`t/${clientId}`, 'x', { retain: true, ...properties }),
      packet.publish(`t/${clientId}`, '', { retain: true, ...properties }),
      packet.unsubscribe(2, [`t/${clientId}`], own),
    ],
    'ends a session that would stay': (clientId) => [
      connect(clientId, { ...fields, clean: false }),
      packet.subscribe(1, [[`t/${clientId}`, 1]], own),
      packet.publish(`t/${clientId}`, 'kept', { qos: 2, id: 1, ...properties }),
      packet.disconnect(),
      connect(clientId),
      packet.disconnect(),
    ],
    'breaks the rules': (clientId) => [
      connect(clientId, { will }),
      packet.publish('t/x', 'x', { qos: 2, id: 1, ...properties }),
      Buffer.of(0, 0),
    ],
    'is not let in': (clientId) => [connect(clientId, { will: { ...will, topic: 't/#' } })],
  }
}

const ALL = [
  ...Object.entries(visits(4, {})).map(([what, visit]) => ['3.1.1', what, visit] as const),
  ...Object.entries(visits(5, { properties: { sessionExpiryInterval: 600 } })).map(
    ([what, visit]) => ['5', what, visit] as const,
  ),
]

async function visit(on: FuzzedGate, frames: readonly Buffer[]): Promise<void> {
  // One connection for each CONNECT.
  const starts = frames.flatMap((frame, at) => (frame[0] === 0x10 ? [at] : []))
  for (const [index, at] of starts.entries()) {
    const { end, farEndGone } = await on.connect('memory')
    const ended = new Promise((resolve) => end.once('close', resolve))
    end.resume()
    end.end(Buffer.concat(frames.slice(at, starts[index + 1])))
    await ended
    await farEndGone
  }
}

test.each(ALL)(
  'a client of MQTT %s that %s leaves nothing behind',
  async (_, __, make) => {
    gate = await FuzzedGate.start()
    const on = gate
    let number = 0
    const all = async (): Promise<void> => {
      for (let left = CLIENTS; left > 0; left -= AT_A_TIME) {
        const some = Array.from({ length: AT_A_TIME }, () => `client-${(number += 1)}`)
        await Promise.all(some.map((clientId) => visit(on, make(clientId))))
        await eventually(() => on.broker.connections() === 2, 'the connections are gone')
        on.appender.records.length = 0
        on.appender.checkpoint()
      }
      expect(on.broker.stats.sessions).toBe(0)
    }
    // The heap of the first ones is that of code, too; a trace of each shows in every round.
    let before = await leastHeapBytes()
    let grown = Number.POSITIVE_INFINITY
    for (let round = 0; round < MOST_ROUNDS && grown > MAX_BYTES_PER_CLIENT; round += 1) {
      await all()
      const after = await leastHeapBytes()
      grown = (after - before) / CLIENTS
      before = after
    }
    expect(grown).toBeLessThanOrEqual(MAX_BYTES_PER_CLIENT)
  },
  120_000,
)
