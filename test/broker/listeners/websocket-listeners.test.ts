import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { request } from 'node:http'
import type { Duplex } from 'node:stream'
import mqtt from 'mqtt'
import mqttPacket from 'mqtt-packet'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { WebSocketDuplex } from '../../../gateway/broker/listeners/websocket-duplex.ts'
import { WEBSOCKET_MESSAGE_SLACK_BYTES } from '../../../gateway/broker/listeners/websocket-upgrade.ts'
import {
  bytes,
  ended,
  LOOPBACK,
  mqttConfig,
  openListeners,
  SERVER_TLS,
  tcp,
  tlsFile,
} from './listener-fixture.ts'

const WEBSOCKET = { ...LOOPBACK, websocket: true }
const CONFIG = mqttConfig({ listeners: [WEBSOCKET] })
const AUTH = { passwordFile: '/nowhere', aclFile: null }

function dial(port: number, protocols: string | string[] = 'mqtt', options = {}): WebSocket {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, protocols, options)
  socket.on('error', () => {})
  onTestFinished(() => socket.terminate())
  return socket
}

async function opened(port: number): Promise<WebSocket> {
  const socket = dial(port)
  await once(socket, 'open')
  return socket
}

/**
 * Enough of a broker to satisfy mqtt.js: CONNACK, SUBACK, PUBACK, PINGRESP, and every PUBLISH back.
 */
function answerMqtt(stream: Duplex): void {
  const parser = mqttPacket.parser()
  parser.on('packet', (packet) => {
    if (packet.cmd === 'connect') {
      mqttPacket.writeToStream({ cmd: 'connack', returnCode: 0, sessionPresent: false }, stream)
    } else if (packet.cmd === 'subscribe') {
      mqttPacket.writeToStream(
        { cmd: 'suback', messageId: packet.messageId ?? 0, granted: [1] },
        stream,
      )
    } else if (packet.cmd === 'publish') {
      mqttPacket.writeToStream({ cmd: 'puback', messageId: packet.messageId ?? 0 }, stream)
      const { payload, topic } = packet
      mqttPacket.writeToStream(
        { cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false },
        stream,
      )
    }
  })
  stream.on('data', (chunk: Buffer) => parser.parse(chunk))
}

describe('WebSocket listeners', () => {
  test.each([['ws'], ['wss']] as const)(
    'mqtt.js publishes and receives over %s',
    async (scheme) => {
      const listener = scheme === 'ws' ? WEBSOCKET : { ...WEBSOCKET, tls: SERVER_TLS }
      const rig = await openListeners(mqttConfig({ listeners: [listener] }), answerMqtt)
      const client = await mqtt.connectAsync(`${scheme}://localhost:${rig.port}/mqtt`, {
        reconnectPeriod: 0,
        ca: await readFile(tlsFile('authority.pem')),
      })
      onTestFinished(() => client.endAsync(true))
      await client.subscribeAsync('plant/#')
      const received = new Promise<[string, Buffer]>((resolve) => {
        client.once('message', (topic, message) => resolve([topic, message]))
      })
      const payload = Buffer.alloc(100_000, 'x')
      await client.publishAsync('plant/press-7', payload, { qos: 1 })
      const [topic, message] = await received
      expect(topic).toBe('plant/press-7')
      expect(message.equals(payload)).toBe(true)
    },
  )

  test('wss asks for client certificates like TLS does', async () => {
    const tls = { ...SERVER_TLS, ca: tlsFile('authority.pem'), requireClientCert: true }
    const rig = await openListeners(mqttConfig({ listeners: [{ ...WEBSOCKET, tls }] }))
    const connect = (options: object): WebSocket => {
      const socket = new WebSocket(`wss://localhost:${rig.port}`, 'mqtt', options)
      socket.on('error', () => {})
      onTestFinished(() => socket.terminate())
      return socket
    }
    const ca = await readFile(tlsFile('authority.pem'))
    const anonymous = connect({ ca })
    await once(anonymous, 'close')
    expect(await rig.event('broker.handshake-failed')).toMatchObject({
      kind: 'client-certificate',
    })
    const cert = await readFile(tlsFile('client.pem'))
    await once(connect({ ca, cert, key: await readFile(tlsFile('client.key')) }), 'open')
    expect((await rig.next()).certificateSubject).toBe('press-7')
  })

  test('[MQTT-6.0.0-3]: the subprotocol mqtt is required, among others or alone', async () => {
    const rig = await openListeners(CONFIG)
    for (const protocols of [[], ['mqttv4']]) {
      const refused = dial(rig.port, protocols)
      const [, response] = (await once(refused, 'unexpected-response')) as [
        unknown,
        { statusCode: number },
      ]
      expect(response.statusCode).toBe(400)
    }
    expect(rig.listeners.stats.handshakesFailed).toBe(2)
    const accepted = dial(rig.port, ['mqttv3.1', 'mqtt'])
    await once(accepted, 'open')
    expect(accepted.protocol).toBe('mqtt')
    const old = dial(rig.port, ['mqttv3.1'])
    await once(old, 'open')
    expect(old.protocol).toBe('mqttv3.1')
  })

  test('a page of another origin may not use an anonymous listener; its own origin and credentials may', async () => {
    const rig = await openListeners(
      mqttConfig({ listeners: [WEBSOCKET, { ...WEBSOCKET, auth: AUTH }] }),
    )
    const guarded = rig.listeners.addresses[1]?.port ?? 0
    const foreign = { origin: 'https://attacker.example' }
    const refused = dial(rig.port, 'mqtt', foreign)
    const [, response] = (await once(refused, 'unexpected-response')) as [
      unknown,
      { statusCode: number },
    ]
    expect(response.statusCode).toBe(403)
    await once(dial(rig.port, 'mqtt', { origin: `http://127.0.0.1:${rig.port}` }), 'open')
    await once(dial(guarded, 'mqtt', foreign), 'open')
  })

  test('an ordinary HTTP request is told what this port is, and broken HTTP is refused', async () => {
    const rig = await openListeners(CONFIG)
    const get = request({ host: '127.0.0.1', port: rig.port, path: '/' }).end()
    const [response] = (await once(get, 'response')) as [{ statusCode: number; resume(): void }]
    response.resume()
    expect(response.statusCode).toBe(426)
    const socket = await tcp(rig.port)
    socket.write('\x10\x0c\x00\x04MQTT')
    await ended(socket)
    const failed = await rig.event('broker.handshake-failed')
    expect(failed).toMatchObject({ kind: 'websocket' })
    expect(failed.message).toContain(
      'the client speaks MQTT over TCP, and this port speaks MQTT over WebSocket',
    )
  })

  test('an upgrade that never comes is dropped after connectTimeout', async () => {
    const rig = await openListeners({ ...CONFIG, connectTimeout: 150 })
    const socket = await tcp(rig.port)
    socket.write('GET /mqtt HTTP/1.1\r\nHost: x\r\n')
    await ended(socket)
    expect(await rig.event('broker.handshake-failed')).toMatchObject({ kind: 'timeout' })
  })
})

describe('a WebSocket as a stream', () => {
  test('[MQTT-6.0.0-1]: a text message ends it with an error', async () => {
    const rig = await openListeners(CONFIG, () => {})
    const client = await opened(rig.port)
    const { stream } = await rig.next()
    const failed = once(stream, 'error')
    client.send('text')
    const [code] = (await once(client, 'close')) as [number]
    expect(code).toBe(1003)
    expect(String(await failed)).toContain('MQTT-6.0.0-1')
  })

  test('[MQTT-6.0.0-2]: message borders mean nothing', async () => {
    const rig = await openListeners(CONFIG)
    const client = await opened(rig.port)
    const received: Buffer[] = []
    client.on('message', (data: Buffer) => received.push(data))
    const sent = Buffer.from('packets split at every byte')
    for (const byte of sent) client.send(Buffer.of(byte))
    while (Buffer.concat(received).length < sent.length) await once(client, 'message')
    expect(Buffer.concat(received).equals(sent)).toBe(true)
  })

  test.each([
    ['before the first byte to the client', false, CONFIG.maxConnectPacketBytes],
    ['afterwards', true, CONFIG.maxPacketBytes],
  ])(
    'I6: a message at the limit passes, one byte more closes with 1009: %s',
    async (_, greeted, packetBytes) => {
      const limit = packetBytes + WEBSOCKET_MESSAGE_SLACK_BYTES
      const rig = await openListeners(CONFIG, () => {})
      const accept = async (): Promise<readonly [WebSocket, Duplex]> => {
        const client = await opened(rig.port)
        const { stream } = await rig.next()
        if (greeted) {
          const greeting = once(client, 'message')
          stream.write('CONNACK')
          await greeting
        }
        return [client, stream]
      }
      const [client, stream] = await accept()
      client.send(Buffer.alloc(limit))
      let got = 0
      while (got < limit) got += ((await once(stream, 'data')) as [Buffer])[0].length
      expect(got).toBe(limit)

      const [tooLarge, refused] = await accept()
      const failed = once(refused, 'error')
      tooLarge.send(Buffer.alloc(limit + 1))
      const [code] = (await once(tooLarge, 'close')) as [number]
      expect(code).toBe(1009)
      await failed
    },
  )

  test('I6: a reader that stops makes the sender wait, and nothing is lost when it goes on', async () => {
    const rig = await openListeners(CONFIG, () => {})
    const client = await opened(rig.port)
    const { stream } = await rig.next()
    const chunk = Buffer.alloc(64 * 1024, 7)
    const chunks = 800
    for (let i = 0; i < chunks; i += 1) client.send(chunk)
    stream.read(0)
    await stalled(() => client.bufferedAmount)
    expect(client.bufferedAmount).toBeGreaterThan(chunk.length * 100)
    expect(stream.readableLength).toBeLessThan(chunk.length * 4)
    expect(await bytes(stream, chunk.length * chunks)).toHaveLength(chunk.length * chunks)
  })

  test('I6: a client that stops reading makes writes wait', async () => {
    const rig = await openListeners(CONFIG, () => {})
    const client = await opened(rig.port)
    const { stream } = await rig.next()
    client.pause()
    const chunk = Buffer.alloc(64 * 1024, 7)
    let written = 0
    const write = (): void => {
      while (written < 800) {
        written += 1
        if (!stream.write(chunk)) {
          stream.once('drain', write)
          return
        }
      }
    }
    write()
    await stalled(() => written)
    const before = written
    expect(before).toBeLessThan(800)
    expect(stream.writableLength).toBeLessThan(chunk.length * 4)
    let got = 0
    client.on('message', (data: Buffer) => {
      got += data.length
    })
    client.resume()
    while (got < chunk.length * 800) await once(client, 'message')
    expect(got).toBe(chunk.length * 800)
  })

  test('many small writes leave in few messages, in order', async () => {
    const rig = await openListeners(CONFIG, () => {})
    const client = await opened(rig.port)
    const { stream } = await rig.next()
    const received: Buffer[] = []
    client.on('message', (data: Buffer) => received.push(data))
    const expected = Array.from({ length: 1_000 }, (_, i) => `${i},`)
    for (const text of expected) stream.write(text)
    while (Buffer.concat(received).length < expected.join('').length) await once(client, 'message')
    expect(Buffer.concat(received).toString()).toBe(expected.join(''))
    expect(received.length).toBeLessThan(20)
  })

  test('destroySoon lets what was written leave first', async () => {
    const rig = await openListeners(CONFIG, () => {})
    const client = await opened(rig.port)
    const { stream } = await rig.next()
    const received: Buffer[] = []
    client.on('message', (data: Buffer) => received.push(data))
    stream.write(Buffer.alloc(300_000, 1))
    stream.write('last words')
    expect(stream).toBeInstanceOf(WebSocketDuplex)
    ;(stream as WebSocketDuplex).destroySoon()
    await once(client, 'close')
    expect(Buffer.concat(received).subarray(300_000).toString()).toBe('last words')
  })

  test.each([
    ['says goodbye', (client: WebSocket) => client.close()],
    ['is cut', (client: WebSocket) => client.terminate()],
  ])('a client that %s ends the stream, read or unread', async (_, end) => {
    const rig = await openListeners(CONFIG, () => {})
    for (const reads of [true, false]) {
      const client = await opened(rig.port)
      const { stream } = await rig.next()
      client.send(Buffer.alloc(10_000))
      const over = once(stream, reads ? 'close' : 'readable')
      if (reads) stream.resume()
      end(client)
      await over
      const gone = stream.destroyed || once(stream, 'close')
      stream.resume()
      await gone
    }
    expect(rig.listeners.stats.open).toBeLessThanOrEqual(1)
  })

  test('a stream that is destroyed takes its connection along, also when the client does not answer', async () => {
    const rig = await openListeners(CONFIG, () => {})
    const client = await opened(rig.port)
    const { stream } = await rig.next()
    client.pause()
    stream.destroy()
    client.resume()
    await once(client, 'close')

    const silent = await opened(rig.port)
    const second = await rig.next()
    silent.pause()
    second.stream.end()
    const gone = new Promise<void>((resolve) => {
      const look = (): void =>
        rig.listeners.stats.open === 0 ? resolve() : void setTimeout(look, 20)
      look()
    })
    await gone
  })
})

/** Resolves when a number has stopped changing. */
async function stalled(read: () => number): Promise<void> {
  let same = 0
  for (let last = -1; same < 5; ) {
    await new Promise((resolve) => setTimeout(resolve, 30))
    const now = read()
    same = now === last ? same + 1 : 0
    last = now
  }
}
