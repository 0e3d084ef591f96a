/**
 * The MQTT sink behind an HTTP proxy, to a real Mosquitto: TCP, TLS and WebSocket, what a refusal
 * means, and which brokers are reached without it.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { freePort } from '../../../device-sim/free-ports.ts'
import type { ProxyConfig } from '../../../gateway/sink/http/proxy/config.ts'
import type { MqttSinkConfig } from '../../../gateway/sink/mqtt/config.ts'
import { probeBroker } from '../../../gateway/sink/mqtt/probe.ts'
import { createMqttSink } from '../../../gateway/sink/mqtt/sink.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { reapProcesses } from '../../support/process.ts'
import { sourcePath } from '../../support/source-path.ts'
import { TestProxy } from '../../support/test-proxy.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { batchOf, never, recordId } from '../http/batches.ts'
import { mqttSinkConfig } from './configs.ts'
import { Mosquitto, Subscriber } from './mosquitto.ts'

const TLS = sourcePath('test/support/tls')
const OWN = { ca: `${TLS}/authority.pem`, cert: null, key: null, alpn: null }
const SERVER_FILES = [`certfile ${TLS}/server.pem`, `keyfile ${TLS}/server.key`]
const ACKED = { kind: 'verdicts', ackedThrough: null, listed: [] }
const WANTS_LOGIN = 'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'

let folder: string
let proxy: TestProxy
const closing: Array<{ close(): Promise<void> }> = []
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-mqtt-proxy-'))
  proxy = await TestProxy.start()
})
afterEach(async () => {
  vi.unstubAllEnvs()
  for (const one of closing.splice(0)) await one.close()
  await proxy.close()
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

function through(changes: Partial<Extract<ProxyConfig, { kind: 'http' }>> = {}): ProxyConfig {
  return { kind: 'http', url: proxy.url, user: null, password: null, noProxy: [], ...changes }
}

function configOf(url: string, changes: Partial<MqttSinkConfig> = {}): MqttSinkConfig {
  return mqttSinkConfig({ url, message: 'record', proxy: through(), ...changes })
}

function sinkTo(url: string, changes: Partial<MqttSinkConfig> = {}): ConfiguredSink {
  const config = configOf(url, changes)
  const sink = createMqttSink({ name: 'hub', config, emit: () => undefined })
  closing.push(sink)
  return sink
}

async function stepsTo(url: string, changes: Partial<MqttSinkConfig> = {}): Promise<string[]> {
  const config = configOf(url, changes)
  const { steps } = await probeBroker({ name: 'hub', config, dataDir: folder })
  return steps.map(({ step, verdict }) => `${step} ${verdict}`)
}

describeWithTool('mosquitto', 'Mosquitto', () => {
  test.each([
    ['mqtt', [], '3.1.1', 1],
    ['mqtt', [], '5', 2],
    ['mqtts', SERVER_FILES, '5', 1],
    ['ws', ['protocol websockets'], '3.1.1', 2],
    ['wss', ['protocol websockets', ...SERVER_FILES], '5', 1],
  ] as const)('%s: one way, over which all goes', async (scheme, lines, version, qos) => {
    const port = await freePort()
    const broker = await Mosquitto.start(folder, [`listener ${port} 127.0.0.1`, ...lines])
    const reader = await Subscriber.start(broker.url)
    closing.push(reader)
    const url = `${scheme}://localhost:${port}`
    const tls = scheme === 'mqtts' || scheme === 'wss' ? OWN : null
    const sink = sinkTo(url, { version, qos, tls })
    expect(await sink.send(batchOf(1, 300), never())).toMatchObject(ACKED)
    expect(await sink.send(batchOf(301, 600), never())).toMatchObject(ACKED)
    const ids = (await reader.readings()).map(({ text }) => (JSON.parse(text) as { id: string }).id)
    expect(ids).toEqual(Array.from({ length: 600 }, (_, i) => recordId(i + 1)))
    const head = `CONNECT localhost:${port} HTTP/1.1\r\nhost: localhost:${port}\r\nuser-agent: sluice\r\n\r\n`
    expect(proxy.heads).toEqual([head])
    expect(await stepsTo(url, { version, qos, tls })).toEqual([
      'proxy ok',
      'connection ok',
      'mqtt ok',
    ])
  })

  test('TLS is with the broker: an authority that is not known here is told', async () => {
    const port = await freePort()
    await Mosquitto.start(folder, [`listener ${port} 127.0.0.1`, ...SERVER_FILES])
    const answer = await sinkTo(`mqtts://localhost:${port}`).send(batchOf(1, 2), never())
    expect(answer).toMatchObject({ kind: 'retry', answered: false, unsent: true })
    expect(answer).toHaveProperty('detail', expect.stringContaining('tls.ca'))
  })

  test('credentials go to the proxy alone; a new password is used at once', async () => {
    const broker = await Mosquitto.start(folder)
    const file = join(folder, 'password')
    writeFileSync(file, 'wrong\n')
    const right = `proxy-authorization: Basic ${Buffer.from('me:right').toString('base64')}`
    proxy.answer = (head) => (head.includes(right) ? null : WANTS_LOGIN)
    const sink = sinkTo(broker.url, { proxy: through({ user: 'me', password: { file } }) })
    const answer = await sink.send(batchOf(1, 2), never())
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', code: '407', unsent: true })
    expect(answer).toHaveProperty('detail', expect.stringContaining('proxy.password'))
    expect(JSON.stringify(answer)).not.toContain('wrong')
    writeFileSync(file, 'right\n')
    await sink.reread()
    expect(await sink.send(batchOf(1, 2), never())).toMatchObject(ACKED)
  })

  test('a proxy that ends while a batch is under way, and comes back: each message once', async () => {
    const broker = await Mosquitto.start(folder)
    const reader = await Subscriber.start(broker.url)
    closing.push(reader)
    const sink = sinkTo(broker.url, { version: '5', qos: 2 })
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject(ACKED)
    const port = Number(new URL(proxy.url).port)
    broker.signal('SIGSTOP')
    const isCut = sink.send(batchOf(4, 6), never())
    await proxy.close()
    expect(await isCut).toMatchObject({ kind: 'retry', answered: false })
    const away = await sink.send(batchOf(4, 6), never())
    expect(away).toMatchObject({ kind: 'retry', unsent: true })
    expect(away).toHaveProperty('detail', expect.stringContaining(`the proxy 127.0.0.1:${port}`))
    broker.signal('SIGCONT')
    proxy = await TestProxy.start(port)
    expect(await sink.send(batchOf(4, 6), never())).toMatchObject(ACKED)
    const ids = (await reader.readings()).map(({ text }) => (JSON.parse(text) as { id: string }).id)
    expect(ids).toEqual([1, 2, 3, 4, 5, 6].map((seq) => recordId(seq)))
  })

  test('what noProxy names goes straight, and what the environment says counts where written', async () => {
    const broker = await Mosquitto.start(folder)
    const straight = through({ noProxy: ['127.0.0.0/8'] })
    vi.stubEnv('HTTP_PROXY', proxy.url)
    for (const config of [straight, { kind: 'none' }, { kind: 'environment' }] as const) {
      const sink = sinkTo(broker.url, { proxy: config })
      expect(await sink.send(batchOf(1, 2), never())).toMatchObject(ACKED)
    }
    // The last by its rule that this box needs none.
    expect(proxy.heads).toEqual([])
  })
})

describe('I8: no way through the proxy', () => {
  const AWAY = 'mqtts://no-such-broker.invalid'

  test.each([
    [WANTS_LOGIN, 'hold', '407', 'proxy.user'],
    ['HTTP/1.1 403 Forbidden\r\n\r\n', 'hold', '403', 'port 443'],
    ['HTTP/1.1 503 Service Unavailable\r\n\r\n', 'retry', null, '503'],
    ['SSH-2.0-OpenSSH_9.2\r\n\r\n', 'retry', null, 'does not speak HTTP'],
    ['HTTP/1.1 200 OK\r\n\r\n<html>Welcome</html>', 'retry', null, 'nobody asked for'],
  ])('%j is a %s', async (bytes, kind, code, words) => {
    proxy.answer = () => bytes
    const answer = await sinkTo(AWAY).send(batchOf(1, 2), never())
    expect(answer).toMatchObject({ kind, scope: 'sink', code, unsent: true })
    expect(answer).toHaveProperty('detail', expect.stringContaining(words))
    expect(proxy.heads[0]).toMatch(/^CONNECT no-such-broker\.invalid:8883 HTTP\/1\.1\r\n/)
    expect(await stepsTo(AWAY)).toEqual(['proxy problem'])
  })

  test('a silent proxy: a retry that names it, within connectTimeout', async () => {
    proxy.answer = () => ''
    const answer = await sinkTo(AWAY, { connectTimeout: 120 }).send(batchOf(1, 2), never())
    expect(answer).toMatchObject({ kind: 'retry', answered: false, unsent: true })
    expect(answer).toHaveProperty('detail', expect.stringContaining(proxy.url.slice(7)))
  })

  test('mqtts and wss go by HTTPS_PROXY, mqtt and ws by HTTP_PROXY', async () => {
    proxy.answer = () => 'HTTP/1.1 503 No\r\n\r\n'
    vi.stubEnv('HTTPS_PROXY', proxy.url)
    vi.stubEnv('HTTP_PROXY', 'http://127.0.0.1:9')
    const asked = async (url: string): Promise<string> =>
      JSON.stringify(
        await sinkTo(url, { proxy: { kind: 'environment' } }).send(batchOf(1, 2), never()),
      )
    for (const scheme of ['mqtts', 'wss'])
      expect(await asked(`${scheme}://broker.invalid`)).toContain('answered 503')
    for (const scheme of ['mqtt', 'ws'])
      expect(await asked(`${scheme}://broker.invalid`)).toContain('the proxy 127.0.0.1:9')
  })

  test('a variable that is no proxy holds, with its name alone', async () => {
    vi.stubEnv('HTTPS_PROXY', 'socks5://me:secret@p')
    const config = { proxy: { kind: 'environment' } } as const
    const answer = await sinkTo(AWAY, config).send(batchOf(1, 2), never())
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', unsent: true })
    expect(JSON.stringify(answer)).toMatch(/HTTPS_PROXY/)
    expect(JSON.stringify(answer)).not.toContain('secret')
    expect(await stepsTo(AWAY, config)).toEqual(['settings problem'])
  })
})
