import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import type { ListenerConfig } from '../../../../gateway/broker/config.ts'
import { ipv6, proxyHeader, tlsTlv } from '../../../support/proxy-header.ts'
import { packet, RawMqtt, TYPE } from '../../../support/raw-mqtt.ts'
import { quickHash } from '../../auth/quick-hash.ts'
import { startRig, stopRigs } from '../../harness.ts'
import {
  bytes,
  ended,
  LOOPBACK,
  mqttConfig,
  openListeners,
  SERVER_TLS,
  tcp,
  temporaryFolder,
  tlsFile,
} from '../listener-fixture.ts'

afterEach(stopRigs)

type ClientCert = 'ignore' | 'use' | 'require'

function proxied(
  clientCert: ClientCert = 'ignore',
  changes: Partial<ListenerConfig> = {},
): ListenerConfig {
  return { ...LOOPBACK, proxyProtocol: { from: ['127.0.0.0/30'], clientCert }, ...changes }
}

function openProxied(clientCert: ClientCert = 'ignore', changes: Partial<ListenerConfig> = {}) {
  const listeners = [proxied(clientCert, changes)]
  return openListeners(mqttConfig({ listeners, allowAnonymous: true }))
}

const IPV6 = proxyHeader({ family: 0x21, addresses: ipv6(`20010db8${'0'.repeat(23)}7`) })
const NOWHERE = { family: 0, addresses: Buffer.alloc(0) }

describe('a listener behind a proxy', () => {
  test.each([
    ['IPv4', proxyHeader(), '198.51.100.7'],
    ['IPv6', IPV6, '2001:db8::7'],
    ['none', proxyHeader(NOWHERE), '127.0.0.1'],
    ['a health check', proxyHeader({ command: 0 }), '127.0.0.1'],
  ])('takes the address of the client from the header: %s', async (_, header, remoteAddress) => {
    const rig = await openProxied()
    const socket = await tcp(rig.port)
    socket.write(Buffer.concat([header, Buffer.from('hello')]))
    expect((await bytes(socket, 5)).toString()).toBe('hello')
    expect(await rig.next()).toMatchObject({ remoteAddress, certificateSubject: null })
  })

  test('takes a header byte by byte, and what comes with its last one', async () => {
    const rig = await openProxied()
    const socket = connectTcp({ port: rig.port, host: '127.0.0.1', noDelay: true })
    onTestFinished(() => void socket.destroy())
    await once(socket, 'connect')
    const header = proxyHeader({ tlvs: tlsTlv('press-7') })
    for (const byte of header.subarray(0, -1)) {
      socket.write(Buffer.of(byte))
      await new Promise((resolve) => void setImmediate(resolve))
    }
    socket.write(Buffer.concat([header.subarray(-1), Buffer.from('hello')]))
    expect((await bytes(socket, 5)).toString()).toBe('hello')
    expect((await rig.next()).remoteAddress).toBe('198.51.100.7')
  })

  test('closes an address that is not listed at once, counts it and says it once a minute', async () => {
    const rig = await openProxied()
    for (let n = 0; n < 5; n += 1) {
      const socket = connectTcp({ port: rig.port, host: '127.0.0.1', localAddress: '127.0.0.9' })
      socket.on('error', () => {})
      socket.write(proxyHeader())
      await ended(socket)
    }
    expect(rig.listeners.stats).toMatchObject({ accepted: 5, handshakesFailed: 5 })
    const told = rig.events.filter(({ type }) => type === 'broker.handshake-failed')
    expect(told).toMatchObject([
      {
        kind: 'proxy',
        address: '127.0.0.9',
        message: expect.stringContaining('not in proxyProtocol.from') as string,
      },
    ])
    expect(rig.connections).toEqual([])
  })

  test.each([
    ['without a header', packet.connect({ clientId: 'd' }), 'MQTT came in place'],
    ['with version 1', Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n'), 'send-proxy-v2'],
    ['with a length that lies', proxyHeader({ length: 65_000 }), 'at most 16384 are taken'],
  ])('closes a listed address %s, and counts it', async (_, sent, words) => {
    const rig = await openProxied()
    const socket = await tcp(rig.port)
    socket.write(sent)
    await ended(socket)
    expect(await rig.event('broker.handshake-failed')).toMatchObject({
      kind: 'proxy',
      message: expect.stringContaining(words) as string,
    })
    expect(rig.listeners.stats.handshakesFailed).toBe(1)
    expect(rig.connections).toEqual([])
  })

  test('a header that is cut off is told; a connection without a byte is a health check', async () => {
    const rig = await openProxied()
    const silent = await tcp(rig.port)
    silent.end()
    await ended(silent)
    const cut = await tcp(rig.port)
    cut.end(proxyHeader().subarray(0, 20))
    await ended(cut)
    expect(await rig.event('broker.handshake-failed')).toMatchObject({ kind: 'proxy' })
    expect(rig.listeners.stats).toMatchObject({ handshakesFailed: 1 })
  })

  test('a slow header is ended by connectTimeout', async () => {
    const listeners = [proxied()]
    const rig = await openListeners(
      mqttConfig({ listeners, allowAnonymous: true, connectTimeout: 150 }),
    )
    const socket = await tcp(rig.port)
    socket.write(proxyHeader().subarray(0, 20))
    await ended(socket)
    expect(await rig.event('broker.handshake-failed')).toMatchObject({ kind: 'timeout' })
  })

  test.each([
    ['in one piece', true],
    ['after it', false],
  ])('TLS begins behind the header, %s', async (_, isTogether) => {
    const rig = await openProxied('use', { tls: { ...SERVER_TLS, ca: tlsFile('authority.pem') } })
    const header = proxyHeader({ tlvs: tlsTlv('press-7') })
    const socket = await tcp(rig.port)
    if (isTogether) socket.cork()
    socket.write(header)
    // The proxy has a certificate of its own, which is not that of the client.
    const tls = connectTls({
      socket,
      ca: await readFile(tlsFile('authority.pem')),
      cert: await readFile(tlsFile('client.pem')),
      key: await readFile(tlsFile('client.key')),
      servername: 'localhost',
    })
    onTestFinished(() => void tls.destroy())
    if (isTogether) setImmediate(() => socket.uncork())
    tls.write('hello')
    expect((await bytes(tls, 5)).toString()).toBe('hello')
    expect(await rig.next()).toMatchObject({
      remoteAddress: '198.51.100.7',
      certificateSubject: 'press-7',
    })
  })

  test('a failed TLS handshake is told with the address of the client', async () => {
    const rig = await openProxied('ignore', { tls: SERVER_TLS })
    const socket = await tcp(rig.port)
    socket.write(Buffer.concat([proxyHeader(), packet.connect({ clientId: 'd' })]))
    await ended(socket)
    expect(await rig.event('broker.handshake-failed')).toMatchObject({
      kind: 'tls',
      address: '198.51.100.7',
    })
  })

  test('a WebSocket begins behind the header', async () => {
    const rig = await openProxied('ignore', { websocket: true })
    const raw = await tcp(rig.port)
    raw.write(proxyHeader())
    const client = new WebSocket(`ws://127.0.0.1:${rig.port}/mqtt`, 'mqtt', {
      createConnection: () => raw,
    })
    onTestFinished(() => client.terminate())
    await once(client, 'open')
    client.send(Buffer.from('hello'))
    const [answer] = (await once(client, 'message')) as [Buffer]
    expect(answer.toString()).toBe('hello')
    expect((await rig.next()).remoteAddress).toBe('198.51.100.7')
  })

  test('an HTTP request in one piece with the header is upgraded, too', async () => {
    const rig = await openProxied('ignore', { websocket: true })
    const socket = await tcp(rig.port)
    const lines = [
      'GET /mqtt HTTP/1.1',
      'Host: x',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Protocol: mqtt',
    ]
    socket.write(Buffer.concat([proxyHeader(), Buffer.from(`${lines.join('\r\n')}\r\n\r\n`)]))
    expect((await bytes(socket, 12)).toString()).toContain('HTTP/1.1 101')
    expect((await rig.next()).remoteAddress).toBe('198.51.100.7')
  })

  test.each([
    ['ignore', tlsTlv('press-7'), null],
    ['use', tlsTlv('press-7'), 'press-7'],
    ['use', Buffer.alloc(0), null],
    ['use', tlsTlv(null), null],
    ['require', tlsTlv('press-7'), 'press-7'],
  ] as const)('clientCert %s with a name: %s', async (clientCert, tlvs, certificateSubject) => {
    const rig = await openProxied(clientCert)
    const socket = await tcp(rig.port)
    socket.write(proxyHeader({ tlvs }))
    expect(await rig.next()).toMatchObject({ certificateSubject })
  })

  test.each([
    ['use', 'not verified', tlsTlv('press-7', 18)],
    ['require', 'not verified', tlsTlv('press-7', 18)],
    ['require', 'none', Buffer.alloc(0)],
    ['require', 'without a name', tlsTlv(null)],
  ] as const)('clientCert %s: a certificate %s is refused', async (clientCert, _, tlvs) => {
    const rig = await openProxied(clientCert)
    const socket = await tcp(rig.port)
    socket.write(proxyHeader({ tlvs }))
    await ended(socket)
    expect(await rig.event('broker.handshake-failed')).toMatchObject({
      kind: 'client-certificate',
      address: '198.51.100.7',
    })
    expect(rig.connections).toEqual([])
  })

  test('clientCert require: a health check is ended without a word', async () => {
    const rig = await openProxied('require')
    const socket = await tcp(rig.port)
    socket.write(proxyHeader({ command: 0 }))
    await ended(socket)
    expect(rig.listeners.stats.handshakesFailed).toBe(0)
    expect(rig.connections).toEqual([])
  })

  test('I6: an address has its share, whichever proxy it comes through; others are served', async () => {
    const listeners = [proxied()]
    const rig = await openListeners(
      mqttConfig({ listeners, allowAnonymous: true, maxConnectionsPerAddress: 1 }),
    )
    const first = await tcp(rig.port)
    first.write(proxyHeader())
    await rig.next()
    const second = await tcp(rig.port)
    second.write(proxyHeader())
    await ended(second)
    expect(await rig.event('broker.connection-refused')).toMatchObject({
      limit: 'maxConnectionsPerAddress',
      address: '198.51.100.7',
    })
    const other = await tcp(rig.port)
    other.write(IPV6)
    const { stream } = await rig.next()
    const gone = once(stream, 'close')
    other.destroy()
    await gone
    expect(rig.listeners.stats).toMatchObject({ open: 1, refusedAtLimit: 1 })
  })

  test('a loopback address behind a proxy is no longer for this machine alone', async () => {
    await expect(
      openListeners(mqttConfig({ listeners: [proxied()], allowAnonymous: false })),
    ).rejects.toMatchObject({ code: 'LISTENER_NEEDS_AUTH' })
    await openListeners(mqttConfig({ listeners: [proxied('require')], allowAnonymous: false }))
  })
})

describe('behind the header', () => {
  test('the common name is the user of the access rules', async () => {
    const folder = await temporaryFolder()
    const aclFile = join(folder, 'access')
    await writeFile(aclFile, 'user press-7\ntopic write t/press-7/#\n')
    const auth = { passwordFile: null, aclFile }
    const rig = await startRig({ listeners: [proxied('require')], auth })
    const client = await RawMqtt.open(rig.port)
    client.send(proxyHeader({ tlvs: tlsTlv('press-7') }), packet.connect({ clientId: 'd' }))
    await client.next(TYPE.CONNACK)
    client.send(packet.publish('t/press-7/x', 'mine', { qos: 1, id: 1 }))
    await client.acks(1)
    client.send(packet.publish('t/press-8/x', 'theirs', { qos: 1, id: 2 }))
    await client.closed()
    expect(rig.eventsOf('broker.connection-closed')).toMatchObject([
      { reason: 'forbidden-topic', remoteAddress: '198.51.100.7' },
    ])
  })

  test('wrong passwords damp the address of the client, not that of the proxy', async () => {
    const folder = await temporaryFolder()
    const passwordFile = join(folder, 'passwords')
    await writeFile(passwordFile, `press-7:${quickHash('right')}\n`)
    const auth = { passwordFile, aclFile: null }
    const rig = await startRig({ listeners: [proxied()], auth })
    const login = async (header: Buffer, password: string): Promise<RawMqtt> => {
      const client = await RawMqtt.open(rig.port)
      client.send(header, packet.connect({ clientId: 'd', username: 'press-7', password }))
      return client
    }
    const wrong = await login(proxyHeader(), 'wrong')
    expect((await wrong.next(TYPE.CONNACK)).body[1]).toBe(4)
    const damped = await login(proxyHeader(), 'right')
    await damped.closed()
    expect(rig.eventsOf('broker.client-refused')).toMatchObject([
      { reason: 'bad-credentials', remoteAddress: '198.51.100.7' },
      { reason: 'login-damped', remoteAddress: '198.51.100.7' },
    ])
    const other = await login(IPV6, 'right')
    expect((await other.next(TYPE.CONNACK)).body[1]).toBe(0)
  })
})
