/** The MQTT sink over WebSocket, with and without TLS, and by ALPN, to a real Mosquitto. */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { freePort } from '../../../device-sim/free-ports.ts'
import type { MqttSinkConfig } from '../../../gateway/sink/mqtt/config.ts'
import { createMqttSink } from '../../../gateway/sink/mqtt/sink.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { reapProcesses } from '../../support/process.ts'
import { sourcePath } from '../../support/source-path.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { batchOf, never, recordId } from '../http/batches.ts'
import { mqttSinkConfig } from './configs.ts'
import { Mosquitto, Subscriber } from './mosquitto.ts'

const TLS = sourcePath('test/support/tls')
const CA = `${TLS}/authority.pem`
const OWN = { ca: CA, cert: `${TLS}/client.pem`, key: `${TLS}/client.key`, alpn: null }
const SERVER_FILES = [`certfile ${TLS}/server.pem`, `keyfile ${TLS}/server.key`]
const ACKED = { kind: 'verdicts', ackedThrough: null, listed: [] }

let folder: string
const closing: Array<{ close(): Promise<void> }> = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-transports-'))
})
afterEach(async () => {
  for (const one of closing.splice(0)) await one.close()
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

function sinkTo(url: string, changes: Partial<MqttSinkConfig> = {}): ConfiguredSink {
  const config = mqttSinkConfig({ url, message: 'record', ...changes })
  const sink = createMqttSink({ name: 'hub', config, emit: () => undefined })
  closing.push(sink)
  return sink
}

async function idsAt({ url }: Mosquitto, send: () => Promise<void>): Promise<string[]> {
  const reader = await Subscriber.start(url)
  closing.push(reader)
  await send()
  const seen = await reader.readings()
  return seen.map(({ text }) => (JSON.parse(text) as { id: string }).id)
}

const IDS = Array.from({ length: 300 }, (_, i) => recordId(i + 1))

describeWithTool('mosquitto', 'Mosquitto', () => {
  test.each([
    ['3.1.1', 1],
    ['5', 1],
    ['5', 2],
  ] as const)('over WebSocket, MQTT %s, QoS %i', async (version, qos) => {
    const port = await freePort()
    const broker = await Mosquitto.start(folder, [
      `listener ${port} 127.0.0.1`,
      'protocol websockets',
    ])
    const sink = sinkTo(`ws://127.0.0.1:${port}/mqtt`, { version, qos })
    const ids = await idsAt(broker, async () => {
      expect(await sink.send(batchOf(1, 300), never())).toMatchObject(ACKED)
    })
    expect(ids).toEqual(IDS)
  })

  test('over WebSocket and TLS, with a client certificate that the broker wants', async () => {
    const port = await freePort()
    const broker = await Mosquitto.start(folder, [
      `listener ${port} 127.0.0.1`,
      'protocol websockets',
      `cafile ${CA}`,
      ...SERVER_FILES,
      'require_certificate true',
      'allow_anonymous true',
    ])
    const url = `wss://localhost:${port}/mqtt`
    const stranger = { ...OWN, ca: `${TLS}/stranger-authority.pem` }
    const untrusted = await sinkTo(url, { tls: stranger }).send(batchOf(1, 2), never())
    expect(untrusted).toMatchObject({ kind: 'retry', answered: false, unsent: true })
    expect(JSON.stringify(untrusted)).toMatch(/tls\.ca/)
    const unnamed = { ...OWN, cert: null, key: null }
    const refused = await sinkTo(url, { tls: unnamed }).send(batchOf(1, 2), never())
    expect(refused).toMatchObject({ kind: 'retry', answered: false, unsent: true })
    const sink = sinkTo(url, { tls: OWN })
    const ids = await idsAt(broker, async () => {
      expect(await sink.send(batchOf(1, 300), never())).toMatchObject(ACKED)
    })
    expect(ids).toEqual(IDS)
  })

  test('by the protocol name that a port of many protocols wants', async () => {
    const broker = await Mosquitto.start(folder)
    const sockets = new Set<Socket>()
    const named: Array<string | false | null> = []
    // As AWS IoT Core's port 443: a client of another protocol gets no connection.
    const front = createServer(
      {
        cert: readFileSync(`${TLS}/server.pem`),
        key: readFileSync(`${TLS}/server.key`),
        ca: readFileSync(CA),
        requestCert: true,
        ALPNProtocols: ['x-amzn-mqtt-ca'],
      },
      (near) => {
        named.push(near.alpnProtocol)
        if (near.alpnProtocol !== 'x-amzn-mqtt-ca') return near.destroy()
        const far = connect(broker.port, '127.0.0.1')
        for (const socket of [near, far]) {
          sockets.add(socket)
          socket.on('error', () => undefined)
          socket.on('close', () => [near, far].forEach((one) => one.destroy()))
        }
        near.pipe(far).pipe(near)
        return undefined
      },
    )
    front.on('tlsClientError', () => undefined)
    front.listen(0, '127.0.0.1')
    await once(front, 'listening')
    const close = async (): Promise<void> => {
      for (const socket of sockets) socket.destroy()
      front.close()
    }
    closing.push({ close })
    const url = `mqtts://localhost:${(front.address() as AddressInfo).port}`
    for (const alpn of [null, 'mqtt']) {
      const answer = await sinkTo(url, { tls: { ...OWN, alpn } }).send(batchOf(1, 2), never())
      expect(answer).toMatchObject({ kind: 'retry', answered: false, unsent: true })
    }
    const sink = sinkTo(url, { tls: { ...OWN, alpn: 'x-amzn-mqtt-ca' } })
    const ids = await idsAt(broker, async () => {
      expect(await sink.send(batchOf(1, 300), never())).toMatchObject(ACKED)
    })
    expect(ids).toEqual(IDS)
    expect(named.at(-1)).toBe('x-amzn-mqtt-ca')
  })

  test('a path where no WebSocket is says so', async () => {
    const broker = await Mosquitto.start(folder)
    const answer = await sinkTo(`ws://127.0.0.1:${broker.port}/mqtt`, { connectTimeout: 500 }).send(
      batchOf(1, 2),
      never(),
    )
    expect(answer).toMatchObject({ kind: 'retry', unsent: true })
  })
})
