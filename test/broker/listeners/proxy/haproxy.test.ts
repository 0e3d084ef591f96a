/** A real HAProxy in front of a listener: TCP, TLS that it ends, its health checks. */
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterEach, expect, onTestFinished, test } from 'vitest'
import { freePort } from '../../../../device-sim/free-ports.ts'
import type { ListenerConfig } from '../../../../gateway/broker/config.ts'
import { Haproxy } from '../../../support/haproxy.ts'
import { reapProcesses } from '../../../support/process.ts'
import { describeWithTool } from '../../../support/tool-tests.ts'
import { eventually } from '../../harness.ts'
import {
  bytes,
  ended,
  LOOPBACK,
  mqttConfig,
  openListeners,
  temporaryFolder,
  tlsFile,
} from '../listener-fixture.ts'

afterEach(reapProcesses)

const DEFAULTS = `
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
`

async function openBehind(clientCert: 'ignore' | 'use' | 'require') {
  const listener: ListenerConfig = {
    ...LOOPBACK,
    proxyProtocol: { from: ['127.0.0.1'], clientCert },
  }
  return openListeners(mqttConfig({ listeners: [listener], allowAnonymous: true }))
}

describeWithTool('haproxy', 'behind HAProxy', () => {
  test('the address is that of the client, and its health checks are nothing to count', async () => {
    const rig = await openBehind('ignore')
    const port = await freePort()
    const proxy = await Haproxy.start(`${DEFAULTS}
listen mqtt
  bind 127.0.0.1:${port}
  server a 127.0.0.1:${rig.port} send-proxy-v2 check check-send-proxy inter 20ms rise 1
`)
    const socket = createConnection({ port, host: '127.0.0.1', localAddress: '127.0.0.23' })
    onTestFinished(() => void socket.destroy())
    await once(socket, 'connect')
    socket.write('hello')
    expect((await bytes(socket, 5)).toString()).toBe('hello')
    expect(rig.connections.map(({ remoteAddress }) => remoteAddress)).toContain('127.0.0.23')
    await eventually(() => rig.listeners.stats.accepted >= 6, 'five health checks')
    // A star: the next one is in progress.
    expect(await proxy.server('mqtt', 'a')).toMatchObject({
      status: 'UP',
      check_status: expect.stringMatching(/^(\* )?L4OK$/) as string,
    })
    expect(rig.listeners.stats.handshakesFailed).toBe(0)
  })

  test('version 1 of HAProxy is refused in words', async () => {
    const rig = await openBehind('ignore')
    const port = await freePort()
    await Haproxy.start(`${DEFAULTS}
listen mqtt
  bind 127.0.0.1:${port}
  server a 127.0.0.1:${rig.port} send-proxy
`)
    const socket = createConnection({ port, host: '127.0.0.1' })
    socket.on('error', () => {})
    socket.write('hello')
    await ended(socket)
    expect(await rig.event('broker.handshake-failed')).toMatchObject({
      kind: 'proxy',
      message: expect.stringContaining('set send-proxy-v2') as string,
    })
  })

  test('it ends TLS, and tells the name in the certificate that it has verified', async () => {
    const rig = await openBehind('require')
    const port = await freePort()
    const folder = await temporaryFolder()
    const pem = join(folder, 'server.pem')
    await writeFile(
      pem,
      `${await readFile(tlsFile('server.pem'), 'utf8')}${await readFile(tlsFile('server.key'), 'utf8')}`,
    )
    const verify = `ca-file ${tlsFile('authority.pem')} verify optional`
    await Haproxy.start(`${DEFAULTS}
listen mqtts
  bind 127.0.0.1:${port} ssl crt ${pem} ${verify}
  server a 127.0.0.1:${rig.port} send-proxy-v2 proxy-v2-options ssl,cert-cn,crc32c
`)
    const dial = async (identity: object) => {
      const ca = await readFile(tlsFile('authority.pem'))
      const socket = connectTls({
        port,
        host: '127.0.0.1',
        servername: 'localhost',
        ca,
        ...identity,
      })
      socket.on('error', () => {})
      onTestFinished(() => void socket.destroy())
      socket.write('hello')
      return socket
    }
    const known = await dial({
      cert: await readFile(tlsFile('client.pem')),
      key: await readFile(tlsFile('client.key')),
    })
    expect((await bytes(known, 5)).toString()).toBe('hello')
    expect(await rig.next()).toMatchObject({
      remoteAddress: '127.0.0.1',
      certificateSubject: 'press-7',
    })
    await ended(await dial({}))
    expect(await rig.event('broker.handshake-failed')).toMatchObject({
      kind: 'client-certificate',
      message: 'the client showed the proxy no certificate',
    })
  })
})
