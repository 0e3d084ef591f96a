/** What the broker tells of devices: who is let in, what each connection sent, what was refused. */
import { afterEach, expect, test } from 'vitest'
import type { DeviceLog } from '../../../gateway/ports/devices.ts'
import { packet, RawMqtt } from '../../support/raw-mqtt.ts'
import { startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

/** Notes what it is told, in order. */
function notingLog(): { readonly devices: DeviceLog; readonly told: string[] } {
  const told: string[] = []
  const devices: DeviceLog = {
    connected: (clientId) => {
      told.push(`${clientId} connected`)
      return {
        took: ({ topic, lanes }) =>
          told.push(`${clientId} ${topic} to ${lanes.map(({ stream }) => stream.name).join()}`),
        ended: () => told.push(`${clientId} ended`),
      }
    },
    refused: (clientId, reason) => told.push(`${clientId} ${reason}`),
  }
  return { devices, told }
}

test('a connection from CONNACK to its end, with each message that was taken, whatever its QoS', async () => {
  const { devices, told } = notingLog()
  const { port } = await startRig({}, undefined, { devices })
  const device = await RawMqtt.connect(port, { clientId: 'plc-1' })
  device.send(
    packet.publish('t/x', '1'),
    packet.publish('both/x', '2', { qos: 1, id: 1 }),
    packet.publish('nowhere', '3', { qos: 2, id: 2 }),
    packet.disconnect(),
  )
  await device.closed()
  expect(told).toEqual([
    'plc-1 connected',
    'plc-1 t/x to telemetry',
    'plc-1 both/x to alarms,audit',
    'plc-1 nowhere to ',
    'plc-1 ended',
  ])
})

test('a takeover ends the one before; a client without an id is no device', async () => {
  const { devices, told } = notingLog()
  const { port } = await startRig({}, undefined, { devices })
  const first = await RawMqtt.connect(port, { clientId: 'plc-1' })
  await RawMqtt.connect(port, { clientId: 'plc-1' })
  await first.closed()
  const nameless = await RawMqtt.connect(port, { clientId: '' })
  nameless.send(packet.publish('t/x', '1'))
  await nameless.roundTrip()
  expect(told).toEqual(['plc-1 connected', 'plc-1 ended', 'plc-1 connected'])
})

test('what is refused: a login, a packet against the rules, a message that is answered by a code', async () => {
  const { devices, told } = notingLog()
  const refusing = await startRig({}, undefined, {
    devices,
    authenticate: async () => ({ ok: false, returnCode: 4, reason: 'bad-credentials' }),
  })
  const stranger = await RawMqtt.open(refusing.port)
  stranger.send(packet.connect({ clientId: 'plc-1' }))
  await stranger.closed()
  const { port } = await startRig({ unrouted: 'refuse', refusals: 'code' }, undefined, { devices })
  const device = await RawMqtt.connect(port, { clientId: 'plc-2', level: 5 })
  device.send(packet.publish('nowhere', '1', { qos: 1, id: 1, level: 5 }))
  await device.take(1)
  const broken = await RawMqtt.connect(port, { clientId: 'plc-3' })
  broken.send(Buffer.of(0xf0, 0))
  await broken.closed()
  expect(told).toEqual([
    'plc-1 bad-credentials',
    'plc-2 connected',
    'plc-2 unrouted',
    'plc-3 connected',
    'plc-3 malformed',
    'plc-3 ended',
  ])
})
