/**
 * Real clients of MQTT 5 against a real gateway: their messages with properties in the cloud's
 * records, their sessions over a kill.
 */
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { afterEach, expect, test } from 'vitest'
import { reapProcesses, runToEnd } from '../support/process.ts'
import { testWithTool } from '../support/tool-tests.ts'
import { Rig, type StoredRecord } from './rig.ts'

const STREAMS = {
  streams: {
    telemetry: {
      topics: ['#'],
      properties: ['contentType', 'userProperties', 'correlationData', 'responseTopic'],
    },
  },
}

const rigs: Rig[] = []
const clients: MqttClient[] = []
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true)
  await reapProcesses()
  for (const rig of rigs.splice(0)) await rig.close()
})

async function startRig(): Promise<Rig> {
  const rig = await Rig.start(STREAMS)
  rigs.push(rig)
  return rig
}

async function connect(rig: Rig, options: IClientOptions): Promise<MqttClient> {
  const client = await connectAsync(rig.gateway.mqttUrl, {
    protocolVersion: 5,
    reconnectPeriod: 100,
    ...options,
  })
  clients.push(client)
  return client
}

type NamedRecord = StoredRecord & {
  readonly contentType?: string
  readonly userProperties?: readonly (readonly [string, string])[]
  readonly correlationData?: string
  readonly responseTopic?: string
}

test('mqtt.js: QoS 0, 1 and 2 with properties, aliases assigned by itself', async () => {
  const rig = await startRig()
  const client = await connect(rig, {
    clientId: 'press-7',
    autoAssignTopicAlias: true,
    properties: { sessionExpiryInterval: 60 },
  })
  for (const qos of [0, 1, 2] as const) {
    for (const n of [1, 2]) {
      await client.publishAsync('plant/press-7/temp', `{"q":${qos},"n":${n}}`, {
        qos,
        properties: {
          contentType: 'application/json',
          responseTopic: 'replies/press-7',
          correlationData: Buffer.from('42'),
          userProperties: { unit: ['C', 'K'], site: 'hall "2"' },
        },
      })
    }
  }
  const records = (await rig.records(6)) as NamedRecord[]
  expect(records.map(({ topic }) => topic)).toEqual(Array(6).fill('plant/press-7/temp'))
  expect(records.map(({ payload }) => payload.toString())).toEqual(
    [0, 1, 2].flatMap((q) => [1, 2].map((n) => `{"q":${q},"n":${n}}`)),
  )
  for (const record of records)
    expect(record).toMatchObject({
      device: 'press-7',
      contentType: 'application/json',
      responseTopic: 'replies/press-7',
      correlationData: Buffer.from('42').toString('base64'),
      userProperties: [
        ['unit', 'C'],
        ['unit', 'K'],
        ['site', 'hall "2"'],
      ],
    })
})

test('mqtt.js: over kills of the gateway QoS 1 arrives, and QoS 2 once', async () => {
  const rig = await startRig()
  const client = await connect(rig, {
    clientId: 'press-7',
    clean: false,
    properties: { sessionExpiryInterval: 600 },
  })
  for (let from = 0; from < 200; from += 50) {
    const sent: Promise<unknown>[] = []
    for (let n = from; n < from + 50; n += 1) {
      sent.push(client.publishAsync('q1', `${n}`, { qos: 1 }))
      sent.push(client.publishAsync('q2', `${n}`, { qos: 2 }))
    }
    await rig.killAndRestart()
    // The client gives up on what it sends again if that is cut, too.
    await Promise.all(sent)
  }
  const numbers = Array.from({ length: 200 }, (_, n) => n)
  const records = await rig.records(400)
  const of = (topic: string): number[] =>
    records.filter((record) => record.topic === topic).map(({ payload }) => Number(payload))
  expect(of('q2').toSorted((a, b) => a - b)).toEqual(numbers)
  expect([...new Set(of('q1'))].toSorted((a, b) => a - b)).toEqual(numbers)
})

testWithTool(
  'mosquitto_pub',
  'mosquitto_pub -V 5: properties, repeats in their order',
  async () => {
    const rig = await startRig()
    const properties = [
      ['content-type', 'text/plain'],
      ['user-property', 'b', '1'],
      ['user-property', 'a', '2'],
      ['user-property', 'b', '3'],
      ['payload-format-indicator', '1'],
      ['message-expiry-interval', '60'],
      ['topic-alias', '1'],
    ].flatMap((property) => ['-D', 'publish', ...property])
    for (const qos of ['0', '1', '2']) {
      const where = ['-h', '127.0.0.1', '-p', rig.mqttPort, '-V', '5', '-c', '-x', '60']
      const what = ['-i', `pub-${qos}`, '-q', qos, '-t', `plant/${qos}`, '-m', `"${qos}"`]
      const { exit, stderr } = await runToEnd('mosquitto_pub', [...where, ...what, ...properties])
      expect(exit.code, stderr).toBe(0)
    }
    const records = (await rig.records(3)) as NamedRecord[]
    for (const qos of [0, 1, 2])
      expect(records.find((record) => record.qos === qos)).toMatchObject({
        device: `pub-${qos}`,
        topic: `plant/${qos}`,
        contentType: 'text/plain',
        userProperties: [
          ['b', '1'],
          ['a', '2'],
          ['b', '3'],
        ],
      })
  },
)

/** Publishes at every QoS, comes again, and says what it was told, one word a line. */
const PAHO = `
import sys
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

def say(*words):
    print(*words, flush=True)

def options(kind, **values):
    properties = Properties(kind)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties

client = mqtt.Client(client_id='paho', protocol=mqtt.MQTTv5)
client.on_connect = lambda c, u, flags, code, properties: say(
    'connected', code.value, flags['session present'], properties.TopicAliasMaximum)
session = options(PacketTypes.CONNECT, SessionExpiryInterval=60)
for start in (True, False):
    client.connect('127.0.0.1', int(sys.argv[1]), clean_start=start, properties=session)
    client.loop_start()
    for qos in (0, 1, 2):
        given = options(PacketTypes.PUBLISH, ContentType='text/plain', UserProperty=('n', str(qos)))
        client.publish('paho/%d' % qos, '"x"', qos, properties=given).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()
`

/** Of the distribution: packages of another Python are not its own. */
const PYTHON = '/usr/bin/python3'

test('paho for Python: every QoS with properties, and its session goes on', async (context) => {
  const { exit: found } = await runToEnd(PYTHON, ['-c', 'import paho.mqtt.properties'])
  if (found.code !== 0) context.skip('needs python3-paho-mqtt')
  const rig = await startRig()
  const { exit, stdout, stderr } = await runToEnd(PYTHON, ['-c', PAHO, rig.mqttPort])
  expect(exit.code, stderr).toBe(0)
  expect(stdout.trim().split('\n')).toEqual(['connected 0 0 20', 'connected 0 1 20'])
  const records = (await rig.records(6)) as NamedRecord[]
  expect(records.map(({ topic }) => topic)).toEqual([0, 1, 2, 0, 1, 2].map((q) => `paho/${q}`))
  for (const record of records)
    expect(record).toMatchObject({
      contentType: 'text/plain',
      userProperties: [['n', record.topic.slice(-1)]],
    })
})
