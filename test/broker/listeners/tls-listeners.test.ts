import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { ServerTlsConfig } from '../../../gateway/broker/config.ts'
import { startProcess } from '../../support/process.ts'
import { testWithTool } from '../../support/tool-tests.ts'
import {
  bytes,
  ended,
  type ListenerRig,
  LOOPBACK,
  mqttConfig,
  openListeners,
  replaceFile,
  SERVER_TLS,
  tcp,
  temporaryFolder,
  tlsFile,
} from './listener-fixture.ts'

const PKCS8 = {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
} as const

const AUTHORITY = await readFile(tlsFile('authority.pem'))

async function identity(name: string): Promise<ConnectionOptions> {
  return {
    cert: await readFile(tlsFile(`${name}.pem`)),
    key: await readFile(tlsFile(`${name}.key`)),
  }
}

function dial(port: number, options: ConnectionOptions = {}): TLSSocket {
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    ca: AUTHORITY,
    servername: 'localhost',
    ...options,
  })
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  return socket
}

async function connected(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = dial(port, options)
  await once(socket, 'secureConnect')
  return socket
}

async function echo(socket: TLSSocket, text: string): Promise<string> {
  socket.write(text)
  return (await bytes(socket, text.length)).toString()
}

async function tlsListeners(
  tls: Partial<ServerTlsConfig> = {},
  changes = {},
): Promise<ListenerRig> {
  return openListeners(
    mqttConfig({ listeners: [{ ...LOOPBACK, tls: { ...SERVER_TLS, ...tls } }], ...changes }),
  )
}

async function expectedFingerprint(name: string): Promise<string> {
  const { X509Certificate } = await import('node:crypto')
  return new X509Certificate(await readFile(tlsFile(`${name}.pem`))).fingerprint256
}

describe('TLS listeners', () => {
  test('carry bytes both ways, with at least TLS 1.2', async () => {
    const { port } = await tlsListeners()
    const socket = await connected(port)
    expect(socket.authorized).toBe(true)
    expect(await echo(socket, 'hello')).toBe('hello')
    const old = dial(port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1' })
    await ended(old)
    expect(old.getProtocol()).toBeNull()
  })

  test('a peer that never begins its handshake is dropped after connectTimeout', async () => {
    const rig = await tlsListeners({}, { connectTimeout: 150 })
    const socket = await tcp(rig.port)
    const begun = performance.now()
    await ended(socket)
    expect(performance.now() - begun).toBeGreaterThan(100)
    expect(await rig.event('broker.handshake-failed')).toMatchObject({ kind: 'timeout' })
    expect(rig.listeners.stats.handshakesFailed).toBe(1)
  })

  test('connectTimeout ends with the handshake: from then on the gate watches', async () => {
    const rig = await tlsListeners({}, { connectTimeout: 150 })
    const socket = await connected(rig.port)
    await rig.next()
    const stalled = await tcp(rig.port)
    await ended(stalled)
    expect(await echo(socket, 'still here')).toBe('still here')
  })

  test('plain bytes on a TLS port are an event, not a crash', async () => {
    const rig = await tlsListeners()
    const socket = await tcp(rig.port)
    socket.write('\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00')
    await ended(socket)
    const failed = await rig.event('broker.handshake-failed')
    expect(failed).toMatchObject({ kind: 'tls', address: '127.0.0.1' })
    expect(failed.message).toContain('the client does not speak TLS, and this port does')
    expect(rig.listeners.stats).toMatchObject({ handshakesFailed: 1, open: 0 })
    expect(await echo(await connected(rig.port), 'ok')).toBe('ok')
  })

  test('HTTP on a TLS port is told of in words', async () => {
    const rig = await tlsListeners()
    const http = await tcp(rig.port)
    http.write('GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n')
    await ended(http)
    expect((await rig.event('broker.handshake-failed')).message).toContain(
      'speaks HTTP without TLS',
    )
  })

  testWithTool(
    'openssl',
    'a client that does not trust the certificate is told of in words',
    async () => {
      const rig = await tlsListeners()
      const args = ['s_client', '-connect', `127.0.0.1:${rig.port}`, '-verify_return_error']
      const client = startProcess('openssl', [
        ...args,
        '-CAfile',
        tlsFile('stranger-authority.pem'),
      ])
      onTestFinished(async () => void (await client.reap()))
      expect((await rig.event('broker.handshake-failed')).message).toMatch(
        /^the client does not trust this listener's certificate/,
      )
    },
  )

  test('a key of another type than the certificate is refused at the start: every handshake would fail', async () => {
    const key = join(await temporaryFolder(), 'rsa.key')
    await writeFile(key, generateKeyPairSync('rsa', PKCS8).privateKey)
    await expect(tlsListeners({ key })).rejects.toThrow(
      /the certificate is for a key of type ec, the key is of type rsa\); both must be PEM/,
    )
  })

  test('the connection limit counts handshakes, too', async () => {
    const rig = await tlsListeners({}, { maxConnections: 1 })
    await tcp(rig.port)
    await ended(await tcp(rig.port))
    expect(rig.listeners.stats.refusedAtLimit).toBe(1)
  })
})

describe('client certificates', () => {
  const CHECKED = { ca: tlsFile('authority.pem') }

  test('where they are optional, one gives the subject and none gives none', async () => {
    const rig = await tlsListeners(CHECKED)
    await connected(rig.port, await identity('client'))
    expect((await rig.next()).certificateSubject).toBe('press-7')
    await connected(rig.port)
    expect((await rig.next()).certificateSubject).toBeNull()
    await connected(rig.port, await identity('unnamed-client'))
    expect((await rig.next()).certificateSubject).toBe('O=Plant 3, OU=Presses')
  })

  test.each([[false], [true]])(
    'one of another authority is refused (required: %s)',
    async (requireClientCert) => {
      const rig = await tlsListeners({ ...CHECKED, requireClientCert })
      await ended(dial(rig.port, await identity('stranger-client')))
      expect(await rig.event('broker.handshake-failed')).toMatchObject({
        kind: 'client-certificate',
      })
      expect(rig.connections).toHaveLength(0)
    },
  )

  test('where they are required, a client without one is refused', async () => {
    const rig = await tlsListeners({ ...CHECKED, requireClientCert: true })
    await ended(dial(rig.port))
    expect(await rig.event('broker.handshake-failed')).toMatchObject({
      kind: 'client-certificate',
      message: 'the client sent no certificate',
    })
    expect(rig.connections).toHaveLength(0)
    await connected(rig.port, await identity('client'))
    expect((await rig.next()).certificateSubject).toBe('press-7')
  })

  describe('while the clock is not set', () => {
    const unset = async (): Promise<ListenerRig> =>
      openListeners(
        mqttConfig({
          listeners: [{ ...LOOPBACK, tls: { ...SERVER_TLS, ...CHECKED, requireClientCert: true } }],
        }),
        undefined,
        { isClockSet: () => false },
      )

    test('one that is not valid yet is taken, counted and told; with a clock it is refused', async () => {
      const rig = await unset()
      await connected(rig.port, await identity('future-client'))
      expect((await rig.next()).certificateSubject).toBe('press-9')
      expect(rig.listeners.stats).toMatchObject({ undatedCertificates: 1, handshakesFailed: 0 })
      expect(await rig.event('broker.certificate-undated')).toMatchObject({ subject: 'press-9' })
      await connected(rig.port, await identity('client'))
      await rig.next()
      expect(rig.listeners.stats.undatedCertificates).toBe(1)

      const set = await tlsListeners({ ...CHECKED, requireClientCert: true })
      await ended(dial(set.port, await identity('future-client')))
      expect((await set.event('broker.handshake-failed')).message).toContain('CERT_NOT_YET_VALID')
    })

    test.each([
      ['of another authority', 'future-stranger'],
      ['that is for servers', 'future-server'],
      ['that ended before any clock could say so', 'expired-client'],
    ])('one %s is refused all the same', async (_name, file) => {
      const rig = await unset()
      await ended(dial(rig.port, await identity(file)))
      expect(await rig.event('broker.handshake-failed')).toMatchObject({
        kind: 'client-certificate',
      })
      expect(rig.connections).toHaveLength(0)
      expect(rig.listeners.stats.undatedCertificates).toBe(0)
    })
  })

  test('a resumed session keeps its identity', async () => {
    const rig = await tlsListeners({ ...CHECKED, requireClientCert: true })
    const client = await identity('client')
    const first = await connected(rig.port, { ...client, maxVersion: 'TLSv1.2' })
    const session = first.getSession()
    await rig.next()
    first.destroy()
    const second = await connected(rig.port, { ...client, maxVersion: 'TLSv1.2', session })
    expect(second.isSessionReused()).toBe(true)
    expect((await rig.next()).certificateSubject).toBe('press-7')
  })
})

describe('certificate renewal', () => {
  async function renewable(): Promise<{ rig: ListenerRig; cert: string; key: string }> {
    const folder = await temporaryFolder()
    const cert = join(folder, 'server.pem')
    const key = join(folder, 'server.key')
    await copyFile(SERVER_TLS.cert, cert)
    await copyFile(SERVER_TLS.key, key)
    return { rig: await tlsListeners({ cert, key }), cert, key }
  }

  async function presented(port: number): Promise<string> {
    const socket = await connected(port)
    const { fingerprint256 } = socket.getPeerCertificate()
    socket.destroy()
    return fingerprint256
  }

  test('new connections get the new certificate, and open sessions go on', async () => {
    const { rig, cert, key } = await renewable()
    const open = await connected(rig.port)
    expect(open.getPeerCertificate().fingerprint256).toBe(await expectedFingerprint('server'))
    await replaceFile(cert, await readFile(tlsFile('renewed-server.pem')))
    await replaceFile(key, await readFile(tlsFile('renewed-server.key')))
    await rig.event('broker.certificate-loaded', 2)
    expect(await presented(rig.port)).toBe(await expectedFingerprint('renewed-server'))
    expect(await echo(open, 'same session')).toBe('same session')
  })

  test('a renewal that cannot be used keeps the former certificate and says why; a good one ends that', async () => {
    const { rig, cert, key } = await renewable()
    await replaceFile(cert, await readFile(tlsFile('renewed-server.pem')))
    const refused = await rig.event('broker.certificate-refused')
    expect(refused.message).toContain('the key must belong to the certificate')
    expect(await presented(rig.port)).toBe(await expectedFingerprint('server'))
    await replaceFile(key, await readFile(tlsFile('renewed-server.key')))
    await rig.event('broker.certificate-loaded', 2)
    expect(await presented(rig.port)).toBe(await expectedFingerprint('renewed-server'))
  })
})
