/** The judge of fault 12 against gates that are right, and against gates with a planted defect. */
import { afterEach, expect, test } from 'vitest'
import { packet } from '../../support/raw-mqtt.ts'
import { compareCodecs, newCodecTotals } from './codec.ts'
import { FuzzedGate, LIMITS } from './fuzzed-gate.ts'
import { newTotals, runBatch } from './fuzzer.ts'
import { type Judgement, judge } from './judge.ts'

let gate: FuzzedGate | null = null

afterEach(async () => {
  await gate?.stop()
  gate = null
})

function judged(...frames: Buffer[]): Judgement {
  const bytes = Buffer.concat([packet.connect({ clientId: 'd' }), ...frames])
  return judge(bytes, new Map(), LIMITS, 'minted')
}

const tooDeep = 't/'.repeat(LIMITS.maxTopicLevels)
const tooLong = 'x'.repeat(LIMITS.maxTopicBytes + 1)

test.each([tooDeep, tooLong])(
  'a filter over a limit is answered, refused, and ends nothing (%#)',
  (filter) => {
    const { ending, subscriptions } = judged(
      packet.subscribe(1, [
        [filter, 1],
        ['live/#', 0],
      ]),
      packet.unsubscribe(2, [filter]),
    )
    expect(ending).toEqual({ kind: 'open', connected: true })
    expect(subscriptions).toEqual(['1 2 1', '2 u'])
  },
)

test('what is no filter ends the connection; a topic over a limit, or under $, is acknowledged and makes no record', () => {
  for (const filter of ['', 'a#b', '#/x', 'a+']) {
    expect(judged(packet.subscribe(1, [[filter, 0]])).ending).toMatchObject({ reason: 'malformed' })
    expect(judged(packet.unsubscribe(1, [filter])).ending).toMatchObject({ reason: 'malformed' })
  }
  for (const topic of [tooDeep, tooLong, '$SYS/x']) {
    const { ending, acks, records } = judged(packet.publish(topic, 'x', { qos: 1, id: 3 }))
    expect([ending.kind, acks, records]).toEqual(['open', ['40 3'], []])
  }
})

test('the batch in which the judge was wrong about an UNSUBSCRIBE, and the one with a PINGREQ without an answer', async () => {
  gate = await FuzzedGate.start()
  const totals = newTotals()
  for (const seed of ['5-169', '1-466']) await runBatch(gate, seed, 'memory', totals)
  expect(totals.failures).toEqual([])
})

test('a bit that makes a CONNECT one of MQTT 5: refused in the words of that version', async () => {
  gate = await FuzzedGate.start()
  const totals = newTotals()
  await runBatch(gate, '900-5', 'memory', totals)
  expect(totals.failures).toEqual([])
})

test('a batch with a subscriber that acknowledges nothing of what is more than its usual bounds', async () => {
  gate = await FuzzedGate.start()
  const totals = newTotals()
  await runBatch(gate, 'mem-157', 'memory', totals)
  expect(totals.failures).toEqual([])
})

test('planted: a gate that refuses filters that are within the limits is caught', async () => {
  // One level: `live/#` is refused with 0x80, which nothing but the SUBACK shows.
  gate = await FuzzedGate.start({ maxTopicLevels: 1 })
  const totals = newTotals()
  await runBatch(gate, 'planted', 'memory', totals, 60)
  expect(totals.failures.some((failure) => failure.includes('SUBACKs: '))).toBe(true)
}, 40_000)

// A CONNACK and a SUBSCRIBE with too short a body.
test.each(['504-3866', '504-2284'])(
  'where mqtt-packet reads on in the next frame is no fault of the gateway (%s)',
  (seed) => {
    const totals = newCodecTotals()
    compareCodecs(seed, totals)
    expect(totals.same.cut).toBeGreaterThan(0)
  },
)
