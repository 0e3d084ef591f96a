/**
 * A sink behind an HTTP proxy, over real sockets: who is asked for what, what a refusal means, and
 * which hosts go without. The proxy is a small one of its own, since it has to misbehave.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createHttpSink } from '../../../../gateway/sink/http/http-sink.ts'
import { probeSink } from '../../../../gateway/sink/http/probe.ts'
import type { ProxyConfig } from '../../../../gateway/sink/http/proxy/config.ts'
import { entryFault, isDirect } from '../../../../gateway/sink/http/proxy/no-proxy.ts'
import { ProxyRoute } from '../../../../gateway/sink/http/proxy/proxy.ts'
import { targetOf } from '../../../../gateway/sink/http/request.ts'
import type { ConfiguredSink } from '../../../../gateway/sink/sink-type.ts'
import { ScriptedSink } from '../../../support/scripted-sink.ts'
import { TestProxy } from '../../../support/test-proxy.ts'
import { batchOf, never, sinkConfig } from '../batches.ts'

const tlsFile = (name: string): string =>
  fileURLToPath(new URL(`../../../support/tls-sink/${name}`, import.meta.url))

let proxy: TestProxy
let server: ScriptedSink
const cleanups: Array<() => unknown> = []
const batch = batchOf(1, 3)

beforeEach(async () => {
  proxy = await TestProxy.start()
  server = await ScriptedSink.start()
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  await server.close()
  await proxy.close()
})

function proxyOf(changes: Partial<Extract<ProxyConfig, { kind: 'http' }>> = {}): ProxyConfig {
  return { kind: 'http', url: proxy.url, user: null, password: null, noProxy: [], ...changes }
}

function sinkBehind(
  config: ProxyConfig,
  changes: Parameters<typeof sinkConfig>[1] = {},
  url = server.url,
): ConfiguredSink {
  const sink = createHttpSink({
    name: 'cloud',
    config: sinkConfig(url, { proxy: config, ...changes }),
    emit: () => undefined,
  })
  cleanups.push(() => sink.close())
  return sink
}

describe('a way through the proxy', () => {
  test('http: one CONNECT, then the same request as without it, over one kept connection', async () => {
    const sink = sinkBehind(proxyOf())
    for (let n = 0; n < 3; n += 1)
      expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts' })
    expect(proxy.heads).toEqual([
      `CONNECT 127.0.0.1:${server.port} HTTP/1.1\r\nhost: 127.0.0.1:${server.port}\r\nuser-agent: sluice\r\n\r\n`,
    ])
    const [request] = server.requests
    expect(request?.path).toBe('/ingest')
    expect(request?.headers).not.toHaveProperty('proxy-authorization')
  })

  test('https: TLS is with the sink, by its name and its authorities', async () => {
    const tls = {
      key: readFileSync(tlsFile('server.key')),
      cert: readFileSync(tlsFile('server.pem')),
    }
    const secure = await ScriptedSink.start({ tls })
    cleanups.push(() => secure.close())
    const ca = { ca: tlsFile('ca.pem'), cert: null, key: null }
    const sink = sinkBehind(proxyOf(), { tls: ca }, secure.url)
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts' })
    const untrusting = sinkBehind(proxyOf(), {}, secure.url)
    const answer = await untrusting.send(batch, never())
    expect(answer).toMatchObject({ kind: 'retry', unsent: true })
    expect(answer).toHaveProperty('detail', expect.stringContaining('tls.ca'))
  })

  test('the name is the proxy’s to look up', async () => {
    const url = 'http://no-such-name.invalid:8080/ingest'
    proxy.answer = () => 'HTTP/1.1 502 Bad Gateway\r\n\r\n'
    const answer = await sinkBehind(proxyOf(), {}, url).send(batch, never())
    expect(proxy.heads[0]).toMatch(/^CONNECT no-such-name\.invalid:8080 HTTP\/1\.1\r\n/)
    expect(answer).toMatchObject({ kind: 'retry', answered: false, unsent: true })
  })

  test('an IPv6 address stands in brackets', async () => {
    proxy.answer = () => 'HTTP/1.1 502 Bad Gateway\r\n\r\n'
    await sinkBehind(proxyOf(), {}, 'http://[fd00::1]:8080/').send(batch, never())
    expect(proxy.heads[0]).toMatch(/^CONNECT \[fd00::1\]:8080 HTTP\/1\.1\r\nhost: \[fd00::1\]:8080/)
  })

  test('credentials go to the proxy alone, and a new password is used at once', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-proxy-'))
    cleanups.push(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'password')
    writeFileSync(file, 'wrong\n')
    const right = `proxy-authorization: Basic ${Buffer.from('me:right').toString('base64')}`
    proxy.answer = (head) =>
      head.includes(right) ? null : 'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'
    const sink = sinkBehind(proxyOf({ user: 'me', password: { file } }))
    const answer = await sink.send(batch, never())
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', code: '407', unsent: true })
    expect(answer).toHaveProperty('detail', expect.stringContaining('proxy.password'))
    expect(JSON.stringify(answer)).not.toContain('wrong')
    writeFileSync(file, 'right\n')
    await sink.reread()
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts' })
    expect(server.requests[0]?.headers).not.toHaveProperty('proxy-authorization')
  })

  test('what noProxy names goes straight', async () => {
    const sink = sinkBehind(proxyOf({ noProxy: ['127.0.0.0/8'] }))
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts' })
    expect(proxy.heads).toEqual([])
  })

  test('the authorization server is reached through it, too', async () => {
    const login = await ScriptedSink.start({
      script: () => ({ body: { access_token: 't', token_type: 'Bearer' } }),
    })
    cleanups.push(() => login.close())
    const auth = {
      kind: 'oauth2',
      tokenUrl: login.url,
      clientId: 'a',
      clientSecret: { value: 'b' },
      clientAuth: 'basic',
      scope: null,
      parameters: {},
      renewAt: 0.75,
    } as const
    expect(await sinkBehind(proxyOf(), { auth }).send(batch, never())).toMatchObject({
      kind: 'verdicts',
    })
    const asked = proxy.heads.map((head) => head.split(' ')[1])
    expect(asked).toEqual([`127.0.0.1:${login.port}`, `127.0.0.1:${server.port}`])
    proxy.answer = () => 'HTTP/1.1 407 No\r\n\r\n'
    const held = await sinkBehind(proxyOf(), { auth }).send(batch, never())
    expect(held).toMatchObject({ kind: 'hold', unsent: true })
  })
})

describe('I8: no way through the proxy', () => {
  test.each([
    ['HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', 'hold', 'proxy.user'],
    ['HTTP/1.1 403 Forbidden\r\n\r\n', 'hold', 'port 443'],
    ['HTTP/1.1 405 Method Not Allowed\r\n\r\n', 'hold', 'CONNECT'],
    ['HTTP/1.1 302 Found\r\nlocation: http://login/\r\n\r\n', 'hold', '302'],
    ['HTTP/1.0 502 Bad Gateway\r\n\r\n', 'retry', 'could not reach the sink'],
    ['HTTP/1.1 503 Service Unavailable\r\n\r\n', 'retry', '503'],
    ['HTTP/1.1 504 Gateway Timeout\r\n\r\n', 'retry', '504'],
    ['HTTP/1.1 429 Too Many Requests\r\n\r\n', 'retry', '429'],
    ['SSH-2.0-OpenSSH_9.2\r\n\r\n', 'retry', 'does not speak HTTP'],
    // A portal that says yes and sends its page: nothing was asked of it yet.
    ['HTTP/1.1 200 OK\r\n\r\n<html>Welcome</html>', 'retry', 'nobody asked for'],
    [`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(70_000)}`, 'retry', 'too long'],
  ])('%j is a %s', async (bytes, kind, words) => {
    proxy.answer = () => bytes
    const answer = await sinkBehind(proxyOf()).send(batch, never())
    expect(answer).toMatchObject({ kind, scope: 'sink', unsent: true })
    expect(answer).toHaveProperty('detail', expect.stringContaining(words))
    expect(server.requests).toHaveLength(0)
  })

  test('a page of a portal behind the open way is no ack, by no table of answers', async () => {
    server.script = [{ body: '<html>Welcome to our hotel</html>' }]
    for (const answers of [{}, { table: 'status' }, { table: 'influx' }, { ack: ['2xx'] }]) {
      const answer = await sinkBehind(proxyOf(), { answers }).send(batch, never())
      expect(answer, JSON.stringify(answers)).toMatchObject({ kind: 'hold' })
    }
  })

  test('a silent proxy: a retry that names it, within connectTimeout', async () => {
    proxy.answer = () => ''
    const answer = await sinkBehind(proxyOf(), { connectTimeout: 120 }).send(batch, never())
    expect(answer).toMatchObject({ kind: 'retry', answered: false, unsent: true })
    expect(answer).toHaveProperty('detail', expect.stringContaining(proxy.url.slice(7)))
    expect(answer).toHaveProperty('detail', expect.stringContaining('PROXY_TIMEOUT'))
  })

  test('one that is not there, and a batch that is given up meanwhile', async () => {
    const gone = await sinkBehind(proxyOf({ url: 'http://127.0.0.1:9' })).send(batch, never())
    expect(gone).toMatchObject({ kind: 'retry', unsent: true })
    expect(gone).toHaveProperty('detail', expect.stringContaining('the proxy 127.0.0.1:9'))
    const controller = new AbortController()
    proxy.answer = () => {
      controller.abort()
      return ''
    }
    const answer = await sinkBehind(proxyOf()).send(batch, controller.signal)
    expect(answer).toMatchObject({ kind: 'retry', unsent: true })
  })
})

test('a probe names the step', async () => {
  const steps = async (): Promise<string[]> => {
    const config = sinkConfig(server.url, { proxy: proxyOf() })
    const probe = await probeSink({ name: 'cloud', config })
    return probe.steps.map(({ step, verdict }) => `${step} ${verdict}`)
  }
  expect(await steps()).toEqual(['connection ok', 'proxy ok', 'answer ok'])
  proxy.answer = () => 'HTTP/1.1 407 No\r\n\r\n'
  expect(await steps()).toEqual(['proxy problem'])
})

describe('which hosts go without', () => {
  test.each([
    ['*', 'anything.example', true],
    ['example.com', 'example.com', true],
    ['example.com', 'EXAMPLE.com.', true],
    ['example.com', 'a.example.com', true],
    ['example.com', 'notexample.com', false],
    ['.example.com', 'a.b.example.com', true],
    ['.example.com', 'example.com', false],
    ['*.example.com', 'a.example.com', true],
    ['example.com:443', 'example.com', true],
    ['example.com:8443', 'example.com', false],
    ['10.0.0.0/8', '10.1.2.3', true],
    ['10.0.0.0/8', '11.1.2.3', false],
    ['10.0.0.0/8', 'ten.example', false],
    ['10.1.2.3', '10.1.2.3', true],
    ['10.1.2.3:443', '10.1.2.3', true],
    ['0.0.1', '127.0.0.1', false],
    ['fd00::/8', 'fd12::1', true],
    ['fd00::/8', 'fe80::1', false],
    ['fd00:0::1', 'fd00::1', true],
    ['[fd00::1]:443', 'fd00::1', true],
    ['[fd00::1]:80', 'fd00::1', false],
  ])('%s: %s is %s', (entry, host, direct) => {
    expect(entryFault(entry)).toBe(null)
    expect(isDirect([entry], host, 443)).toBe(direct)
  })

  test.each(['http://x', 'a b', '10.0.0.0/64', '', 'x/8'])('%j is no entry', (entry) => {
    expect(entryFault(entry)).not.toBe(null)
  })
})

describe('proxy: environment', () => {
  const hop = (url: string, env: Readonly<Record<string, string>>) =>
    new ProxyRoute('cloud', { kind: 'environment' }, () => undefined, env).hopTo(
      targetOf(new URL(url)),
    )
  const through = (hostname: string, port: number, authorization: string | null = null) => ({
    hostname,
    port,
    authorization,
  })

  test.each([
    ['https://a.example/', { HTTPS_PROXY: 'http://p:3128' }, through('p', 3128)],
    ['https://a.example/', { https_proxy: 'q:8080', HTTPS_PROXY: 'http://p' }, through('q', 8080)],
    ['http://a.example/', { HTTP_PROXY: 'http://p' }, through('p', 80)],
    ['http://a.example/', { HTTPS_PROXY: 'http://p' }, null],
    ['http://a.example/', { ALL_PROXY: 'http://[fd00::1]:3128' }, through('fd00::1', 3128)],
    ['https://a.example/', { HTTPS_PROXY: 'http://p', NO_PROXY: 'b, .example' }, null],
    ['https://127.0.0.1/', { HTTPS_PROXY: 'http://p' }, null],
    ['https://localhost/', { HTTPS_PROXY: 'http://p' }, null],
    ['https://a.example/', {}, null],
    [
      'https://a.example/',
      { HTTPS_PROXY: 'http://me:s%3Acret@p:1' },
      through('p', 1, `Basic ${Buffer.from('me:s:cret').toString('base64')}`),
    ],
  ] as ReadonlyArray<readonly [string, Record<string, string>, unknown]>)(
    '%s with %j',
    (url, env, expected) => expect(hop(url, env)).toEqual(expected),
  )

  test('what is no proxy that is known holds, and shows nothing of it', () => {
    const found = hop('https://a.example/', { HTTPS_PROXY: 'socks5://me:secret@p' })
    expect(found).toEqual({ why: 'HTTPS_PROXY of the environment is no http URL of a proxy' })
  })

  test('counts only where it is written', () => {
    const env = { HTTPS_PROXY: 'http://p' }
    const none = new ProxyRoute('cloud', { kind: 'none' }, () => undefined, env)
    expect(none.hopTo(targetOf(new URL('https://a.example/')))).toBe(null)
  })
})
