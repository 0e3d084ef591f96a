/**
 * The `$SYS` tree: retained and live values for who subscribes, and nothing of it anywhere else.
 */
import { afterEach, expect, test } from 'vitest'
import { packet, type RawFrame, RawMqtt, readPublish, TYPE } from '../../support/raw-mqtt.ts'
import { startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

/** `<RETAIN> <topic> <payload>` of the copies that came. */
function copies(frames: readonly RawFrame[]): string[] {
  return frames
    .filter(({ type }) => type === TYPE.PUBLISH)
    .map((frame) => `${frame.flags & 1} ${readPublish(frame).topic} ${readPublish(frame).payload}`)
}

test('a subscriber gets the values of this moment as retained, then new ones every sysInterval', async () => {
  const rig = await startRig({ sysInterval: 50 }, undefined, { version: '0.0.0-test' })
  const device = await RawMqtt.connect(rig.port)
  device.send(packet.publish('t/1', 'four', { qos: 1, id: 1, retain: true }))
  await device.acks(1)
  const panel = await RawMqtt.connect(rig.port, { clientId: 'panel', clean: false })
  panel.send(packet.subscribe(1, [['$SYS/broker/#', 1]]))
  expect([...(await panel.next(TYPE.SUBACK)).body]).toEqual([0, 1, 1])
  await panel.until(() => copies(panel.inbox).length >= 12)
  const first = copies(panel.inbox).slice(0, 12)
  expect(first.every((copy) => copy.startsWith('1 $SYS/broker/'))).toBe(true)
  expect(first).toEqual(
    expect.arrayContaining([
      '1 $SYS/broker/version sluice version 0.0.0-test',
      '1 $SYS/broker/clients/connected 2',
      '1 $SYS/broker/messages/received 1',
      '1 $SYS/broker/publish/bytes/received 4',
      '1 $SYS/broker/retained messages/count 1',
    ]),
  )
  device.send(packet.publish('t/1', 'x', { qos: 1, id: 2 }))
  await device.acks(1)
  await panel.until(() => copies(panel.inbox).includes('0 $SYS/broker/messages/received 2'))
  // Of the server's own: no record, nothing kept beside the device's message, no subscriber of #
  // and no publisher has to do with it.
  expect(rig.broker.counts.kept.retainedMessages).toBe(1)
  expect(rig.appender.records.map(({ topic }) => topic)).toEqual(['t/1', 't/1'])
  expect(rig.appender.crash().keyed.retained.size).toBe(1)
})

test('what begins with a wildcard takes nothing of it, one value can be had alone, and a client cannot set it', async () => {
  const rig = await startRig({ sysInterval: 20 })
  const all = await RawMqtt.connect(rig.port)
  all.send(
    packet.subscribe(1, [
      ['#', 0],
      ['+/broker/uptime', 0],
    ]),
  )
  const one = await RawMqtt.connect(rig.port)
  one.send(packet.publish('$SYS/broker/version', 'mine', { qos: 1, id: 1, retain: true }))
  one.send(packet.subscribe(1, [['$SYS/broker/version', 0]]))
  await one.until(() => copies(one.inbox).length >= 3)
  expect(new Set(copies(one.inbox).map((copy) => copy.slice(2)))).toEqual(
    new Set(['$SYS/broker/version sluice version unknown']),
  )
  await all.roundTrip()
  expect(copies(all.inbox)).toEqual([])
  expect(rig.broker.stats.unwanted['dollar-topic']).toBe(1)
})
