/** Nothing an outsider sends may end the process, leak a bound, or harm a bystander. */
import { afterEach, expect, test } from 'vitest'
import { packet, RawMqtt } from '../../support/raw-mqtt.ts'
import { SEED } from '../../support/seed.ts'
import { eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

/** mulberry32: a seed reproduces a run. */
function generator(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

test(`broken, cut and shuffled packets leave the broker whole (SLUICE_SEED=${SEED})`, async () => {
  const random = generator(SEED)
  const below = (limit: number): number => Math.floor(random() * limit)
  const rig = await startRig({
    maxPacketBytes: 4096,
    maxUnackedMessages: 5,
    maxHoldBackBytes: 1024,
  })
  const bystander = await RawMqtt.connect(rig.port, { clientId: 'bystander' })
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!
  const topics = ['t/1', 'a/1', 'both/1', 'live/x', '', '$SYS/x', 't/#', 'é/ü']
  const something = (): Buffer =>
    pick([
      () =>
        packet.publish(pick(topics), 'x'.repeat(below(300)), {
          qos: pick([0, 1, 2]),
          id: below(6),
        }),
      () =>
        packet.publish('t/1', 'x', {
          qos: pick([1, 2]),
          id: 1 + below(5),
          retain: true,
          dup: true,
        }),
      () => packet.pubrel(1 + below(5)),
      () => packet.pingreq(),
      () => packet.subscribe(1 + below(5), [[pick(['live/#', '#', 't/+', 'a/#/b']), below(3)]]),
      () => packet.unsubscribe(1 + below(5), ['live/#']),
      () => packet.ack(pick([0x40, 0x50, 0x70]), 1 + below(5)),
      () => packet.connect({ clientId: pick(['f1', 'f2', '']), clean: random() < 0.5 }),
      () => packet.disconnect(),
    ])()
  for (let round = 0; round < 300; round += 1) {
    const client = await RawMqtt.open(rig.port)
    const clean = random() < 0.5
    const will =
      random() < 0.3 ? { will: { topic: pick(topics), payload: 'w', qos: below(3) } } : {}
    let bytes = Buffer.concat([
      packet.connect({ clientId: pick(['f1', 'f2', 'f3']), clean, ...will }),
      ...Array.from({ length: below(12) }, something),
    ])
    for (let flips = random() < 0.5 ? below(4) : 0; flips > 0; flips -= 1) {
      bytes[below(bytes.length)] = below(256)
    }
    if (random() < 0.3) bytes = bytes.subarray(0, below(bytes.length + 1))
    if (round % 10 === 0) rig.appender.setRoom('telemetry', below(2) === 0 ? 3 : null)
    while (bytes.length > 0) {
      const size = 1 + below(bytes.length)
      client.send(bytes.subarray(0, size))
      bytes = bytes.subarray(size)
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
    }
    if (random() < 0.7) client.cut()
    else client.socket.end()
  }
  rig.appender.setRoom('telemetry', null)
  bystander.send(packet.publish('t/1', 'still here', { qos: 1, id: 1 }))
  await bystander.until(() => bystander.inbox.length > 0)
  await eventually(() => rig.broker.connections() === 1, 'all others are gone')
  await eventually(() => rig.broker.stats.waitingMessages === 0, 'no will waits')
  expect(rig.broker.stats).toMatchObject({ unackedMessages: 0, unackedBytes: 0, holdBackBytes: 0 })
  await eventually(() => rig.broker.stats.subscriberBytes === 0, 'no copy is left')
  expect(rig.broker.stats.waitingByStream.get('telemetry') ?? 0).toBe(0)
}, 60_000)
