/** `ack: delivered` at the gate: acks wait for a sink that the test plays (I1, I2, I3, I9). */
import { afterEach, expect, test } from 'vitest'
import type { Passage, Ticket } from '../../../gateway/ports/appender.ts'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, type Rig, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

/** What the sink has taken, as the test says. */
class PlayedPassage implements Passage {
  through: Ticket = 0
  readonly lost = new Set<Ticket>()

  isLost(ticket: Ticket): boolean {
    return this.lost.has(ticket)
  }
}

async function startDelivered(
  config: object = {},
): Promise<{ readonly rig: Rig; readonly slow: PlayedPassage; readonly other: PlayedPassage }> {
  const [slow, other] = [new PlayedPassage(), new PlayedPassage()]
  const rig = await startRig(config, undefined, {}, [
    { name: 'slow', topics: ['slow/#', 'all/#'], passage: slow },
    { name: 'other', topics: ['other/#', 'all/#'], passage: other },
    { name: 'plain', topics: ['plain/#', 'all/#'] },
  ])
  return { rig, slow, other }
}

/** The sink has everything that is durable now. */
function deliver(rig: Rig, ...passages: PlayedPassage[]): void {
  for (const passage of passages) passage.through = rig.appender.durableTicket
  rig.appender.passed()
}

async function stored(rig: Rig, records: number): Promise<void> {
  await eventually(() => rig.appender.records.length >= records, `${records} records are durable`)
}

test('PUBACK and PUBREC leave when the sink has the record, and not at its fsync', async () => {
  const { rig, slow } = await startDelivered()
  const client = await RawMqtt.connect(rig.port)
  client.send(
    packet.publish('slow/1', 'one', { qos: 1, id: 1 }),
    packet.publish('slow/1', 'two', { qos: 2, id: 2 }),
  )
  await stored(rig, 2)
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  deliver(rig, slow)
  expect((await client.take(2)).map(({ type }) => type)).toEqual([TYPE.PUBACK, TYPE.PUBREC])
})

test('I1: what the sink has is not acknowledged before its commit is durable', async () => {
  const { rig, slow } = await startDelivered()
  const client = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  client.send(packet.publish('slow/1', 'one', { qos: 1, id: 1 }))
  await client.roundTrip()
  slow.through = Number.POSITIVE_INFINITY
  rig.appender.passed()
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  rig.appender.release()
  expect(await client.acks(1)).toEqual([1])
})

test('I2: acks of streams of both kinds leave in the order of their PUBLISHes', async () => {
  const { rig, slow } = await startDelivered()
  const client = await RawMqtt.connect(rig.port)
  client.send(
    packet.publish('plain/1', 'a', { qos: 1, id: 1 }),
    packet.publish('slow/1', 'b', { qos: 1, id: 2 }),
    packet.publish('plain/1', 'c', { qos: 1, id: 3 }),
    packet.publish('nowhere', 'd', { qos: 1, id: 4 }),
  )
  expect(await client.acks(1)).toEqual([1])
  await stored(rig, 3)
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  deliver(rig, slow)
  expect(await client.acks(3)).toEqual([2, 3, 4])
})

test('a message in several streams waits for each of them that is delivered', async () => {
  const { rig, slow, other } = await startDelivered()
  const client = await RawMqtt.connect(rig.port)
  client.send(packet.publish('all/1', 'x', { qos: 1, id: 1 }))
  await stored(rig, 3)
  deliver(rig, slow)
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  deliver(rig, other)
  expect(await client.acks(1)).toEqual([1])
})

test('I3: a repeat of a pending QoS 2 message is stored once, its PUBREC waits for the same record', async () => {
  const { rig, slow } = await startDelivered()
  const session = { clientId: 'd', clean: false }
  const first = await RawMqtt.connect(rig.port, session)
  first.send(packet.publish('slow/1', 'x', { qos: 2, id: 7 }))
  await stored(rig, 1)
  const second = await RawMqtt.connect(rig.port, session)
  second.send(packet.publish('slow/1', 'x', { qos: 2, id: 7, dup: true }))
  await second.roundTrip()
  expect(second.inbox).toEqual([])
  deliver(rig, slow)
  expect(await second.acks(1, TYPE.PUBREC)).toEqual([7])
  expect(rig.appender.payloads('slow')).toEqual(['x'])

  // Passed meanwhile: its PUBREC leaves at once.
  const third = await RawMqtt.connect(rig.port, session)
  third.send(packet.publish('slow/1', 'x', { qos: 2, id: 7, dup: true }))
  expect(await third.acks(1, TYPE.PUBREC)).toEqual([7])
  expect(rig.appender.payloads('slow')).toEqual(['x'])
})

test('I3: PUBCOMP of a client that sent PUBREL early waits behind its PUBREC', async () => {
  const { rig, slow } = await startDelivered()
  const client = await RawMqtt.connect(rig.port)
  client.send(packet.publish('slow/1', 'x', { qos: 2, id: 7 }), packet.pubrel(7))
  await stored(rig, 1)
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  deliver(rig, slow)
  const frames = await client.take(2)
  expect(frames.map(({ type }) => type)).toEqual([TYPE.PUBREC, TYPE.PUBCOMP])
})

test('I9: a record that is lost is not acknowledged: its connection is closed, and a repeat is new', async () => {
  const { rig, slow } = await startDelivered()
  const session = { clientId: 'd', clean: false }
  const client = await RawMqtt.connect(rig.port, session)
  client.send(packet.publish('plain/1', 'before', { qos: 1, id: 1 }))
  expect(await client.acks(1)).toEqual([1])
  client.send(packet.publish('slow/1', 'x', { qos: 2, id: 7 }))
  await stored(rig, 2)
  const lost = rig.appender.records.at(-1)!.ticket
  slow.lost.add(lost)
  slow.through = lost
  rig.appender.passed([{ first: lost, last: lost }])
  await client.closed()
  expect(client.inbox).toEqual([])
  expect(rig.broker.stats.connectionsClosed['lost-before-delivery']).toBe(1)

  const again = await RawMqtt.connect(rig.port, session)
  again.send(packet.publish('slow/1', 'x', { qos: 2, id: 7, dup: true }))
  await stored(rig, 3)
  expect(rig.appender.payloads('slow')).toEqual(['x', 'x'])
  deliver(rig, slow)
  expect(await again.acks(1, TYPE.PUBREC)).toEqual([7])
})

test('I9: ids that a loss took along are gone with the commit that makes it durable, not a later one', async () => {
  const { rig, slow } = await startDelivered()
  const session = { clientId: 'd', clean: false }
  const client = await RawMqtt.connect(rig.port, session)
  client.send(packet.publish('slow/1', 'x', { qos: 2, id: 7 }))
  await stored(rig, 1)
  const { ticket } = rig.appender.records[0]!
  // The commit that is open now, in which the spool notes the loss.
  rig.appender.lose({ first: ticket, last: ticket })
  const { commits } = rig.appender
  await eventually(() => rig.appender.commits > commits, 'it is durable')
  // A kill before the passage moves on: nobody was told, and the device was not sent away.
  expect(rig.broker.stats.connectionsClosed['lost-before-delivery']).toBe(0)
  const after = await startRig({}, rig.appender.crash(), {}, [
    { name: 'slow', topics: ['slow/#'], passage: slow },
  ])
  const again = await RawMqtt.connect(after.port, session)
  again.send(packet.publish('slow/1', 'x', { qos: 2, id: 7, dup: true }))
  await stored(after, 2)
})

test('I3: PUBCOMP of an id that a loss took along waits until its removal is durable', async () => {
  const { rig, slow } = await startDelivered()
  const client = await RawMqtt.connect(rig.port, { clientId: 'd', clean: false })
  client.send(packet.publish('plain/1', 'x', { qos: 2, id: 7 }))
  expect(await client.acks(1, TYPE.PUBREC)).toEqual([7])
  const lost = rig.appender.records.at(-1)!.ticket
  rig.appender.hold()
  slow.lost.add(lost)
  rig.appender.passed([{ first: lost, last: lost }])
  client.send(packet.pubrel(7))
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  rig.appender.release()
  expect(await client.acks(1, TYPE.PUBCOMP)).toEqual([7])
})

test('I6: at its bound of withheld acks a connection is alive, and goes on when the sink does', async () => {
  const maxUnackedMessages = 10
  const { rig, slow } = await startDelivered({ maxUnackedMessages })
  const client = await RawMqtt.connect(rig.port)
  const readings = 3 * maxUnackedMessages
  for (let id = 1; id <= readings; id += 1)
    client.send(packet.publish('slow/1', `${id}`, { qos: 1, id }))
  await stored(rig, maxUnackedMessages)
  await client.roundTrip()
  await client.roundTrip()
  expect(rig.appender.records).toHaveLength(maxUnackedMessages)
  const got: number[] = []
  while (got.length < readings) {
    await stored(rig, Math.min(readings, got.length + maxUnackedMessages))
    deliver(rig, slow)
    got.push(...(await client.acks(Math.min(maxUnackedMessages, readings - got.length))))
  }
  expect(got).toEqual(Array.from({ length: readings }, (_, i) => i + 1))
})

test('a stop does not wait for acks that only a sink can release', async () => {
  const { rig } = await startDelivered()
  const client = await RawMqtt.connect(rig.port)
  client.send(packet.publish('slow/1', 'x', { qos: 1, id: 1 }))
  await stored(rig, 1)
  const beganMs = performance.now()
  await rig.stop()
  expect(performance.now() - beganMs).toBeLessThan(2_000)
  expect(client.inbox).toEqual([])
})
