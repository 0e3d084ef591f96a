import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { freePort } from '../../../device-sim/free-ports.ts'
import type { ListenerConfig } from '../../../gateway/broker/config.ts'
import { ListenerError } from '../../../gateway/broker/listeners/listener-policy.ts'
import { Listeners } from '../../../gateway/broker/listeners/listeners.ts'
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

const AUTH = { passwordFile: '/nowhere', aclFile: null }

async function refusal(listeners: readonly ListenerConfig[], changes = {}): Promise<ListenerError> {
  const attempt = Listeners.start(
    mqttConfig({ listeners, ...changes }),
    () => {},
    () => {},
  )
  const error = await attempt.then(
    async (started) => started.close(),
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(ListenerError)
  return error as ListenerError
}

describe('TCP listeners', () => {
  test('a connection becomes a stream of its bytes, with the address it came from', async () => {
    const rig = await openListeners(mqttConfig())
    const socket = await tcp(rig.port)
    socket.write('ping')
    expect((await bytes(socket, 4)).toString()).toBe('ping')
    const { certificateSubject, listener, remoteAddress } = await rig.next()
    expect({ certificateSubject, listener, remoteAddress }).toEqual({
      certificateSubject: null,
      listener: LOOPBACK,
      remoteAddress: '127.0.0.1',
    })
  })

  test('say where they listen when port 0 was asked for', async () => {
    const rig = await openListeners(
      mqttConfig({ listeners: [LOOPBACK, { ...LOOPBACK, websocket: true }] }),
    )
    const [first, second] = rig.listeners.addresses
    expect(first).toEqual({ host: '127.0.0.1', port: first?.port, tls: false, websocket: false })
    expect(second).toEqual({ host: '127.0.0.1', port: second?.port, tls: false, websocket: true })
    expect(first?.port).toBeGreaterThan(0)
    expect(rig.events.filter(({ type }) => type === 'broker.listening')).toHaveLength(2)
  })

  test('I6: the connection at the limit is served, the one above is destroyed at once and counted', async () => {
    const rig = await openListeners(mqttConfig({ maxConnections: 2 }))
    const first = await tcp(rig.port)
    const second = await tcp(rig.port)
    second.write('x')
    await bytes(second, 1)
    const third = await tcp(rig.port)
    await ended(third)
    expect(rig.listeners.stats).toMatchObject({ open: 2, accepted: 3, refusedAtLimit: 1 })
    expect(await rig.event('broker.connection-refused')).toMatchObject({
      openConnections: 2,
      suppressed: 0,
    })

    const gone = once((await rig.next()).stream, 'close')
    first.destroy()
    await gone
    const fourth = await tcp(rig.port)
    fourth.write('y')
    expect((await bytes(fourth, 1)).toString()).toBe('y')
  })

  test('the limit holds over all listeners together, and a flood of refusals is one event', async () => {
    const rig = await openListeners(
      mqttConfig({ listeners: [LOOPBACK, LOOPBACK], maxConnections: 1 }),
    )
    await tcp(rig.port)
    await rig.next()
    const other = rig.listeners.addresses[1]?.port ?? 0
    for (let i = 0; i < 20; i += 1) await ended(await tcp(other))
    expect(rig.listeners.stats.refusedAtLimit).toBe(20)
    expect(rig.events.filter(({ type }) => type === 'broker.connection-refused')).toHaveLength(1)
  })

  test('I6: one address has at most its share, others are served, and who has most is named', async () => {
    const rig = await openListeners(mqttConfig({ maxConnections: 4, maxConnectionsPerAddress: 2 }))
    const from = async (localAddress: string): Promise<Socket> => {
      const socket = connect({ port: rig.port, host: '127.0.0.1', localAddress })
      socket.on('error', () => {})
      onTestFinished(() => void socket.destroy())
      await once(socket, 'connect')
      return socket
    }
    const first = await from('127.0.0.1')
    await from('127.0.0.1')
    await ended(await from('127.0.0.1'))
    expect(await rig.event('broker.connection-refused')).toMatchObject({
      limit: 'maxConnectionsPerAddress',
      address: '127.0.0.1',
    })
    const other = await from('127.0.0.2')
    other.write('z')
    expect((await bytes(other, 1)).toString()).toBe('z')
    await from('127.0.0.3')
    await ended(await from('127.0.0.4'))
    expect(await rig.event('broker.connection-refused', 2)).toMatchObject({
      limit: 'maxConnections',
      most: { address: '127.0.0.1', connections: 2 },
    })
    expect(rig.listeners.stats).toMatchObject({ open: 4, refusedAtLimit: 2 })
    // Who leaves gives its place back.
    const gone = once((await rig.next()).stream, 'close')
    first.destroy()
    await gone
    const again = await from('127.0.0.1')
    again.write('y')
    expect((await bytes(again, 1)).toString()).toBe('y')
  })

  test('pause refuses new connections and leaves the open ones alone; close ends them', async () => {
    const rig = await openListeners(mqttConfig())
    const socket = await tcp(rig.port)
    await rig.next()
    rig.listeners.pause()
    await expect(tcp(rig.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    socket.write('still here')
    expect((await bytes(socket, 10)).toString()).toBe('still here')
    const gone = ended(socket)
    await rig.listeners.close()
    await gone
    expect(rig.listeners.stats.open).toBe(0)
  })

  test('a peer that resets its connection ends nothing else', async () => {
    const rig = await openListeners(mqttConfig(), () => {})
    const socket = await tcp(rig.port)
    const { stream } = await rig.next()
    stream.write(Buffer.alloc(1024))
    socket.resetAndDestroy()
    await ended(stream)
    expect((await tcp(rig.port)).destroyed).toBe(false)
  })
})

describe('what may listen', () => {
  test('an anonymous listener for other machines is refused, with what to do', async () => {
    const error = await refusal([{ ...LOOPBACK, host: '0.0.0.0', port: 1883 }])
    expect(error.code).toBe('LISTENER_NEEDS_AUTH')
    expect(error.message).toContain('mqtt.listeners[0] (0.0.0.0:1883)')
    expect(error.message).toContain('sluice passwd')
  })

  test.each([['::'], ['0.0.0.0']])(
    'on %s too, and then not even the loopback listener beside it starts',
    async (host) => {
      const port = await freePort()
      const error = await refusal([
        { ...LOOPBACK, port },
        { ...LOOPBACK, host },
      ])
      expect(error.code).toBe('LISTENER_NEEDS_AUTH')
      await expect(tcp(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    },
  )

  test('auth on mqtt, auth on the listener, allowAnonymous or a required client certificate admit it', async () => {
    const everywhere = { ...LOOPBACK, host: '0.0.0.0' }
    const withCertificate = { ...SERVER_TLS, ca: tlsFile('authority.pem'), requireClientCert: true }
    const configs = [
      mqttConfig({ listeners: [everywhere], auth: AUTH }),
      mqttConfig({ listeners: [{ ...everywhere, auth: AUTH }] }),
      mqttConfig({ listeners: [everywhere], allowAnonymous: true }),
      mqttConfig({ listeners: [{ ...everywhere, tls: withCertificate }] }),
    ]
    for (const config of configs) await (await openListeners(config)).listeners.close()
  })

  test('auth: null on a listener overrides the auth of mqtt', async () => {
    const error = await refusal([{ ...LOOPBACK, host: '0.0.0.0', auth: null }], { auth: AUTH })
    expect(error.code).toBe('LISTENER_NEEDS_AUTH')
  })

  test('requireClientCert without ca is refused: any certificate of any public authority would do', async () => {
    const error = await refusal([{ ...LOOPBACK, tls: { ...SERVER_TLS, requireClientCert: true } }])
    expect(error.code).toBe('LISTENER_TLS_UNUSABLE')
    expect(error.message).toContain('tls.ca')
  })

  test('a port in use names the listener, and what did start is stopped again', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void holder.close())
    await once(holder, 'listening')
    const { port } = holder.address() as { port: number }
    const first = await freePort()
    const error = await refusal([
      { ...LOOPBACK, port: first },
      { ...LOOPBACK, port },
    ])
    expect(error.code).toBe('LISTENER_ADDRESS_IN_USE')
    expect(error.message).toContain(
      `mqtt.listeners[1] (127.0.0.1:${port}): another program listens there`,
    )
    await expect(tcp(first)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  test.each([
    ['192.0.2.1', 'LISTENER_ADDRESS_UNAVAILABLE'],
    ['no-such-host.invalid', 'LISTENER_HOST_UNKNOWN'],
  ])('the host %s is refused as %s', async (host, code) => {
    expect((await refusal([{ ...LOOPBACK, host }], { allowAnonymous: true })).code).toBe(code)
  })

  test('certificates that are missing or do not belong together are refused by name', async () => {
    const missing = await refusal([
      { ...LOOPBACK, tls: { ...SERVER_TLS, cert: '/nowhere/cert.pem' } },
    ])
    expect(missing.message).toContain('tls.cert /nowhere/cert.pem: ENOENT')
    const mixed = await refusal([
      { ...LOOPBACK, tls: { ...SERVER_TLS, key: tlsFile('client.key') } },
    ])
    expect(mixed.code).toBe('LISTENER_TLS_UNUSABLE')
    expect(mixed.message).toContain('the key must belong to the certificate')
  })
})
