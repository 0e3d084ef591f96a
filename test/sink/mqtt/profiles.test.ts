/** What a profile knows of its service: who connects, on which topics, with which limits. */
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { generate, type IConnectPacket, type IPublishPacket, parser } from 'mqtt-packet'
import { afterEach, describe, expect, test } from 'vitest'
import type { MqttSinkConfig } from '../../../gateway/sink/mqtt/config.ts'
import { MqttEncoder } from '../../../gateway/sink/mqtt/encode.ts'
import { createMqttSink } from '../../../gateway/sink/mqtt/sink.ts'
import { batchOf, never } from '../http/batches.ts'
import { mqttSinkConfig } from './configs.ts'

const KEY = Buffer.from('the key of a device').toString('base64')

const closing: Array<() => Promise<void>> = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

interface Service {
  readonly url: string
  readonly connects: IConnectPacket[]
  readonly publishes: IPublishPacket[]
}

/** Takes every client, and acknowledges every message. */
async function serviceOf(): Promise<Service> {
  const service = { connects: [] as IConnectPacket[], publishes: [] as IPublishPacket[] }
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    const packets = parser({ protocolVersion: 4 })
    packets.on('packet', (packet) => {
      if (packet.cmd === 'connect') {
        service.connects.push(packet)
        socket.write(generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }))
      } else if (packet.cmd === 'publish') {
        service.publishes.push(packet)
        socket.write(generate({ cmd: 'puback', messageId: packet.messageId ?? 0 }))
      }
    })
    socket.on('data', (chunk) => packets.parse(chunk))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as { port: number }
  return { ...service, url: `mqtt://127.0.0.1:${port}` }
}

function sinkTo(changes: Partial<MqttSinkConfig>, trial = false) {
  const config = mqttSinkConfig(changes)
  const options = { name: 'hub', config, emit: () => undefined, nowMs: () => 1_700_000_000_000 }
  const sink = createMqttSink({ ...options, trial })
  closing.unshift(() => sink.close())
  return sink
}

describe('azure-iot-hub', () => {
  const HUB = {
    profile: 'azure-iot-hub',
    clientId: 'edge 1',
    sharedAccessKey: { value: KEY },
  } as const

  test('the device is the client id, its name says the hub, its token lasts an hour', async () => {
    const service = await serviceOf()
    const sink = sinkTo({ ...HUB, url: service.url })
    expect(await sink.send(batchOf(1, 2), never())).toMatchObject({ kind: 'verdicts' })
    const [connect] = service.connects
    expect(connect?.clientId).toBe('edge 1')
    expect(connect?.username).toBe('127.0.0.1/edge 1/?api-version=2021-04-12')
    const uri = '127.0.0.1%2Fdevices%2Fedge%201'
    const expiry = 1_700_003_600
    const digest = createHmac('sha256', 'the key of a device').update(`${uri}\n${expiry}`)
    const signature = encodeURIComponent(digest.digest('base64'))
    const token = `SharedAccessSignature sr=${uri}&sig=${signature}&se=${expiry}`
    expect(String(connect?.password)).toBe(token)
    const topics = service.publishes.map(({ topic }) => topic)
    expect(topics).toEqual(Array(2).fill('devices/edge 1/messages/events/'))
  })

  test('a try does not end the connection of a gateway that runs', async () => {
    const service = await serviceOf()
    const answer = await sinkTo({ ...HUB, url: service.url }, true).send(batchOf(1, 1), never())
    expect(answer).toMatchObject({ kind: 'hold', unsent: true })
    expect(JSON.stringify(answer)).toMatch(/one client id of a device.*check --try/)
    expect(service.connects).toEqual([])
  })
})

test('a try of another profile connects beside the gateway', async () => {
  const service = await serviceOf()
  const sink = sinkTo({ url: service.url, clientId: 'edge' }, true)
  expect(await sink.send(batchOf(1, 1), never())).toMatchObject({ kind: 'verdicts' })
  expect(service.connects.map(({ clientId }) => clientId)).toEqual(['edge-test'])
})

test('aws-iot-core gets no more messages in a second than it takes', async () => {
  const service = await serviceOf()
  const sink = sinkTo({ url: service.url, profile: 'aws-iot-core', window: 100 })
  const startedAt = performance.now()
  expect(await sink.send(batchOf(1, 60), never())).toMatchObject({ kind: 'verdicts' })
  expect(service.publishes).toHaveLength(60)
  expect(performance.now() - startedAt).toBeGreaterThan(450)
})

test.each([
  ['a/b/c/d/e/f/g/h', null],
  ['a/b/c/d/e/f/g/h/i', /more than 7 slashes/],
  // Basic Ingest: its three levels are no part of the limits.
  ['$aws/rules/telemetry/a/b/c/d/e/f/g/h', null],
  ['$aws/rules/telemetry/a/b/c/d/e/f/g/h/i', /more than 7 slashes/],
  [`$aws/rules/telemetry/${'x'.repeat(256)}`, null],
  ['x'.repeat(257), /257 bytes/],
])('aws-iot-core: topic %s', async (topic, refusal) => {
  const encoder = new MqttEncoder(mqttSinkConfig({ profile: 'aws-iot-core', topic }))
  for await (const one of encoder.messages(batchOf(1, 1))) {
    if (refusal === null) expect(one).not.toHaveProperty('refusal')
    else expect('refusal' in one && one.refusal).toMatch(refusal)
  }
})
