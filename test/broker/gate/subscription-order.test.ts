/** SUBSCRIBE and UNSUBSCRIBE of one connection take effect in the order in which they were sent. */
import { afterEach, expect, test } from 'vitest'
import { packet, RawMqtt, readPublish, TYPE } from '../../support/raw-mqtt.ts'
import { startRig, stopRigs } from './harness.ts'

afterEach(stopRigs)

test.each([true, false])(
  'what is subscribed last stays, however fast one follows the other (clean %s)',
  async (clean) => {
    const rig = await startRig()
    const client = await RawMqtt.connect(rig.port, { clientId: 'changeable', clean })
    const [on, off] = [packet.subscribe(1, [['live/x', 1]]), packet.unsubscribe(2, ['live/x'])]
    for (const [frames, copies] of [
      [[on, off, on], 1],
      [[off, on, off], 0],
      [[on, off, off, on, on, off], 0],
      [[on, on, off, on], 1],
    ] as const) {
      client.send(...frames)
      const answers = await client.take(frames.length)
      expect(answers.map(({ type }) => type)).toEqual(
        frames.map((frame) => (frame === on ? TYPE.SUBACK : TYPE.UNSUBACK)),
      )
      client.send(packet.publish('live/x', 'copy', { qos: 1, id: 7 }))
      const frame = await client.take(1 + copies)
      expect(frame.map(({ type }) => type).toSorted((a, b) => a - b)).toEqual(
        [TYPE.PUBLISH, TYPE.PUBACK].slice(1 - copies),
      )
      for (const copy of frame.filter(({ type }) => type === TYPE.PUBLISH)) {
        client.send(packet.ack(TYPE.PUBACK, readPublish(copy).id))
      }
      await client.roundTrip()
      expect(client.inbox).toEqual([])
    }
  },
)

test('two SUBSCRIBEs under one packet id, with a filter twice, are answered for each filter', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'hasty' })
  const frame = packet.subscribe(7, [
    ['live/x', 0],
    ['live/x', 1],
    ['live/y', 0],
  ])
  client.send(frame, frame)
  const answers = await client.take(2)
  expect(answers.map(({ type, body }) => [type, body.readUInt16BE(0), body.length])).toEqual([
    [TYPE.SUBACK, 7, 5],
    [TYPE.SUBACK, 7, 5],
  ])
})
