/** The admin server over real sockets: what it serves, to whom, and what it survives. */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AdminConfig } from '../../gateway/admin/config.ts'
import { AdminServer, MAX_BODY_BYTES, MAX_CONNECTIONS } from '../../gateway/admin/server.ts'
import type { Observer } from '../../gateway/observe/observer.ts'
import type { RunningOperator } from '../../gateway/ports/operator.ts'
import type { Trials } from '../../gateway/ports/trials.ts'
import type { Secret } from '../../gateway/shared/secret-file.ts'
import { broker, type FakeState, sink, spool } from '../observe/fake-sources.ts'
import { type AdminFixture, startAdmin } from './admin-fixture.ts'

const OPEN = ['/', '/metrics', '/livez', '/readyz']

let admin: AdminFixture
let server: AdminServer
let observer: Observer
let state: FakeState
let calls: AdminFixture['calls']

async function start(config: Partial<AdminConfig> = {}): Promise<void> {
  admin = await startAdmin(config)
  ;({ server, observer, state, calls } = admin)
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
}

/** A request with a Host header of the caller's choice, which fetch does not allow. */
function ask(
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const { port } = new URL(server.url)
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        host: '127.0.0.1',
        port,
        path,
        method: options.method ?? 'GET',
        headers: options.headers ?? {},
        agent: false,
      },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => (text += chunk))
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
        )
        response.on('error', reject)
      },
    )
    request.on('error', reject)
    request.end(options.body)
  })
}

function post(
  path: string,
  body: unknown = {},
  headers: Record<string, string> = {},
): Promise<Answer> {
  const json = { 'Content-Type': 'application/json', ...headers }
  return ask(path, { method: 'POST', headers: json, body: JSON.stringify(body) })
}

function code(answer: Answer): string {
  return (JSON.parse(answer.text) as { error: { code: string } }).error.code
}

afterEach(() => admin.stop())

describe('on loopback without a token', () => {
  beforeEach(() => start())

  test('serves metrics, health and status', async () => {
    const metrics = await ask('/metrics')
    expect(metrics.status).toBe(200)
    expect(metrics.headers['content-type']).toContain('text/plain; version=0.0.4')
    expect(metrics.text).toContain('sluice_spool_received_records_total{stream="telemetry"} 100')
    const status = await ask('/api/status')
    expect(JSON.parse(status.text)).toMatchObject({
      gateway: 'edge-01',
      streams: [{ name: 'telemetry' }],
    })
    observer.noteAdmin({ type: 'admin.changed', path: '/api/x', remote: '10.0.0.7', user: null })
    const recent = await ask('/api/log')
    expect(recent.headers['content-type']).toContain('application/x-ndjson')
    expect(recent.text).toBe(admin.log())
    expect(recent.text).toContain('10.0.0.7')
    expect((await ask('/livez')).status).toBe(200)
    expect((await ask('/readyz')).status).toBe(200)
    expect((await ask('/readyz', { method: 'HEAD' })).text).toBe('')
  })

  test('I8: a sink that is held changes neither /livez nor /readyz', async () => {
    state.sinks = [
      sink({ delivery: { state: 'held', sinceMs: 1, why: 'HTTP 401', nextTryAtMs: null } }),
    ]
    expect((await ask('/livez')).status).toBe(200)
    expect((await ask('/readyz')).status).toBe(200)
  })

  test('I6: a full disk closes /readyz with the reason, not /livez', async () => {
    state.spool = spool({ state: 'read-only', why: 'the disk is full' })
    const ready = await ask('/readyz')
    expect(ready.status).toBe(503)
    expect(JSON.parse(ready.text)).toEqual({
      status: 'failed',
      reasons: ['the spool is read-only: the disk is full'],
    })
    expect((await ask('/livez')).status).toBe(200)
  })

  test('a wedged spool fails /livez, and a broker that does not listen /readyz', async () => {
    state.spool = spool({ commitRunningSeconds: 500 })
    state.broker = broker({ accepting: false })
    expect((await ask('/livez')).status).toBe(503)
    expect((await ask('/readyz')).status).toBe(503)
  })

  test("an operator's actions reach the gateway, and the log says that they were asked for", async () => {
    expect((await post('/api/sinks/cloud/retry')).status).toBe(202)
    expect((await post('/api/sinks/nope/retry')).status).toBe(404)
    expect(JSON.parse((await post('/api/spool/new-id')).text)).toEqual({ spoolId: 'fresh' })
    const ids = { stream: 'telemetry', ids: ['a', 'b'] }
    expect(JSON.parse((await post('/api/dead-letters/requeue', ids)).text)).toEqual({
      changed: 2,
      skipped: [],
    })
    await post('/api/dead-letters/requeue', { stream: 'telemetry', all: true })
    await ask('/api/dead-letters?stream=telemetry&limit=5&after=refused:17')
    expect((await post('/api/streams/telemetry/drain', { sink: 'cloud' })).status).toBe(202)
    expect((await post('/api/streams/telemetry/drain', { to: 'cloud' })).status).toBe(400)
    expect((await post('/api/streams/nope/drain', { sink: 'cloud' })).status).toBe(404)
    expect((await post('/api/streams/telemetry/park', { seq: 7 })).status).toBe(200)
    expect((await post('/api/streams/telemetry/park', { seq: 0 })).status).toBe(400)
    expect(JSON.parse((await ask('/api/streams/telemetry/records?after=0:7')).text)).toMatchObject({
      next: null,
    })
    expect(calls).toEqual([
      { what: 'retry', with: 'cloud' },
      { what: 'retry', with: 'nope' },
      { what: 'new-id', with: null },
      { what: 'requeue', with: ids },
      { what: 'requeue', with: { stream: 'telemetry', ids: 'all' } },
      { what: 'list', with: { stream: 'telemetry', after: 'refused:17', limit: 5 } },
      { what: 'drain', with: { stream: 'telemetry', sink: 'cloud' } },
      { what: 'park', with: { stream: 'telemetry', seq: 7 } },
      { what: 'records', with: { stream: 'telemetry', after: '0:7' } },
    ])
    expect(admin.log()).toContain('operator: /api/spool/new-id')
  })

  test('a failing action is answered without its details, and logged with them', async () => {
    const answer = await post('/api/dead-letters/purge', { stream: 'telemetry', all: true })
    expect(answer.status).toBe(500)
    expect(code(answer)).toBe('ADMIN_INTERNAL')
    expect(answer.text).not.toContain('secret detail')
    expect(admin.log()).toContain('secret detail of the store')
  })

  test('a page of devices comes as it is asked for; a query that is none is refused', async () => {
    const answer = await ask('/api/devices?search=plc&sort=rate&silent=true&limit=7&after=5:plc-1')
    expect(JSON.parse(answer.text)).toEqual({ devices: [], total: 0, next: null })
    await ask('/api/devices')
    const wrong = ['sort=age', 'silent=yes', 'limit=0', 'limit=1001', `search=${'x'.repeat(513)}`]
    for (const query of wrong) expect((await ask(`/api/devices?${query}`)).status).toBe(400)
    expect(calls).toEqual([
      {
        what: 'devices',
        with: { search: 'plc', sort: 'rate', silent: true, limit: 7, after: '5:plc-1' },
      },
      {
        what: 'devices',
        with: { search: '', sort: 'lastSeen', silent: false, limit: 100, after: null },
      },
    ])
    expect((await ask('/api/devices?after=nonsense')).status).toBe(400)
  })

  test.each([
    ['no body', undefined],
    ['ids that are no list', { stream: 'telemetry', ids: 'all' }],
    ['no ids', { stream: 'telemetry', ids: [] }],
    ['too many ids', { stream: 'telemetry', ids: Array.from({ length: 1_001 }, () => 'x') }],
    ['unknown members', { stream: 'telemetry', all: true, force: true }],
    ['all that is not true', { stream: 'telemetry', all: 1 }],
  ])('a selection of dead letters with %s is refused and nothing is touched', async (_, body) => {
    const answer = await post('/api/dead-letters/purge', body)
    expect([answer.status, code(answer)]).toEqual([400, 'ADMIN_BAD_REQUEST'])
    expect(calls).toEqual([])
  })

  test.each(['0', '1001', '1.5', 'x', ''])(
    'a page of %j dead letters is refused',
    async (limit) => {
      const answer = await ask(`/api/dead-letters?stream=telemetry&limit=${limit}`)
      expect(answer.status).toBe(400)
    },
  )

  test('a stream that does not exist is told so, and a cursor that is none refused, before anything is touched', async () => {
    expect((await post('/api/dead-letters/purge', { stream: 'nope', all: true })).status).toBe(404)
    expect((await ask('/api/dead-letters?stream=nope')).status).toBe(404)
    expect((await ask('/api/dead-letters?stream=telemetry&after=17')).status).toBe(400)
    expect((await ask('/api/dead-letters')).status).toBe(400)
    expect(calls).toEqual([])
  })

  test('unknown paths and methods are told so', async () => {
    for (const path of ['/api', '/api/', '/api/status/', '/..%2f', '//metrics'])
      expect((await ask(path)).status).toBe(404)
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
      const answer = await ask('/metrics', { method })
      expect([answer.status, code(answer)]).toEqual([405, 'ADMIN_METHOD'])
    }
    expect((await ask('/api/sinks/cloud/retry')).status).toBe(405)
    expect(calls).toEqual([])
  })

  test('a device is forgotten by its id, whatever that holds; the refusal of one is passed on', async () => {
    const gone = await ask('/api/devices/press%2F7', { method: 'DELETE' })
    expect([gone.status, JSON.parse(gone.text)]).toEqual([200, { forgotten: 'press/7' }])
    const connected = await ask('/api/devices/press-8', { method: 'DELETE' })
    expect([connected.status, code(connected)]).toEqual([409, 'SLUICE_DEVICE_CONNECTED'])
    expect(calls).toEqual([
      { what: 'forget', with: 'press/7' },
      { what: 'forget', with: 'press-8' },
    ])
    const headers = { origin: 'http://evil.example' }
    const across = await ask('/api/devices/press%2F7', { method: 'DELETE', headers })
    expect([across.status, code(across)]).toEqual([403, 'ADMIN_CROSS_SITE'])
    expect(admin.log()).toContain('/api/devices/press%2F7')
  })

  test('names in a path are decoded; what is no encoding is refused', async () => {
    const bad = await post('/api/sinks/%FF/retry')
    expect([bad.status, code(bad)]).toEqual([400, 'ADMIN_BAD_REQUEST'])
    expect((await post('/api/sinks/%/retry')).status).toBe(400)
    expect(calls).toEqual([])
    const good = await post('/api/sinks/cl%6Fud/retry')
    expect(JSON.parse(good.text)).toEqual({ retrying: 'cloud', state: 'held' })
    expect((await ask('/api/test-reading/a%2Fb%20%C3%A9')).status).toBe(404)
  })
})

describe('a browser on the same machine', () => {
  beforeEach(() => start())

  test('finds a page that says how it stands and where to look, without a script or anything from elsewhere', async () => {
    const page = await ask('/')
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
    const style = /<style>([^]*?)<\/style>/.exec(page.text)?.[1] ?? ''
    const hash = createHash('sha256').update(style).digest('base64')
    expect(page.headers['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    )
    expect(page.text).not.toMatch(/<script|(?:src|href)="?(?:https?:)?\/\/|url\(/)
    for (const [, path = ''] of page.text.matchAll(/href="([^"]+)"/g))
      expect((await ask(`/${path}`)).status, path).toBe(200)
    expect(page.text).toMatch(/It takes messages, devices connected: 50/)
    expect(page.text).toContain('<td>telemetry</td>')
  })

  test('sees there why messages are not taken, and nothing that a token protects', async () => {
    state.broker = broker({ accepting: false })
    state.sinks = [
      sink({ delivery: { state: 'held', sinceMs: 1, why: 'HTTP 401 <b>', nextTryAtMs: null } }),
    ]
    const { text } = await ask('/')
    expect(text).toContain(
      'It takes no messages: the broker does not accept messages: it is starting or stopping',
    )
    expect(text).toContain('<td class="not">held</td>')
    expect(text).not.toContain('401')
    // I9, without the topic and the client of the last one, which status has.
    expect(text).toContain('because no stream takes their topics: 5 since the start')
    expect(text).not.toContain('press-7')
  })

  test('a scrape says when the certificate of a listener ends, the one that is in use', async () => {
    const listener = 'mqtt.listeners[0] (0.0.0.0:8883)'
    for (const validTo of ['2026-12-01T00:00:00.000Z', '2027-12-01T00:00:00.000Z'])
      observer.emit({ type: 'broker.certificate-loaded', listener, validTo })
    expect((await ask('/metrics')).text).toContain(
      `sluice_broker_certificate_expiry_timestamp_seconds{listener="${listener}"} ${Date.UTC(2027, 11, 1) / 1000}\n`,
    )
  })

  test('may ask for an icon: neither that nor the page is worth a line in the log', async () => {
    const before = admin.log()
    expect((await ask('/favicon.ico')).status).toBe(200)
    expect((await ask('/')).status).toBe(200)
    expect(admin.log()).toBe(before)
  })

  test.each([
    'evil.example',
    'evil.example:9464',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '8.8.8.8',
    '[::2]',
    'a b',
  ])('that was led here by DNS rebinding (Host %j) gets nothing', async (host) => {
    for (const path of [...OPEN, '/api/status']) {
      const answer = await ask(path, { headers: { Host: host } })
      expect([answer.status, code(answer)]).toEqual([421, 'ADMIN_BAD_HOST'])
    }
  })

  test.each(['localhost', 'LOCALHOST:9464', '127.0.0.1', '127.0.0.2:1', '[::1]:9464'])(
    'or a person who names this machine (Host %j) is served',
    async (host) => {
      expect((await ask('/api/status', { headers: { Host: host } })).status).toBe(200)
    },
  )

  test('cannot act across sites: not with Origin, not with Sec-Fetch-Site, not with a form, and gets no CORS headers', async () => {
    const path = '/api/spool/new-id'
    const json = { 'Content-Type': 'application/json' }
    const tries: Record<string, string>[] = [
      { ...json, Origin: 'http://evil.example' },
      { ...json, Origin: 'null' },
      { ...json, 'Sec-Fetch-Site': 'cross-site' },
      { ...json, 'Sec-Fetch-Site': 'same-site' },
      { 'Content-Type': 'text/plain' },
      { 'Content-Type': 'application/x-www-form-urlencoded' },
      { 'Content-Type': 'text/plain;application/json' },
      {},
    ]
    for (const headers of tries) {
      const answer = await ask(path, { method: 'POST', headers, body: '{}' })
      expect([403, 415]).toContain(answer.status)
      expect(
        Object.keys(answer.headers).filter((name) => name.startsWith('access-control')),
      ).toEqual([])
    }
    expect(calls).toEqual([])
    const { host } = new URL(server.url)
    const own = await post(
      path,
      {},
      { Host: host, Origin: `http://${host}`, 'Sec-Fetch-Site': 'same-origin' },
    )
    expect(own.status).toBe(200)
  })
})

describe('with a token', () => {
  const token: Secret = { value: 'correct-horse' }

  test('everything under /api needs it, on loopback too; metrics and health stay open', async () => {
    await start({ token })
    for (const Authorization of [
      '',
      'Bearer',
      'Bearer wrong',
      'Basic correct-horse',
      'Bearer correct-hors',
    ]) {
      const answer = await ask('/api/status', { headers: { Authorization } })
      expect([answer.status, code(answer)]).toEqual([401, 'ADMIN_UNAUTHORIZED'])
      expect(answer.headers['www-authenticate']).toContain('Bearer')
    }
    const without = await ask('/api/status')
    expect([without.status, code(without)]).toEqual([401, 'ADMIN_LOGIN_REQUIRED'])
    expect(without.headers['www-authenticate']).toContain('Bearer')
    expect((await post('/api/spool/new-id')).status).toBe(401)
    expect((await ask('/api/nothing')).status).toBe(401)
    expect(calls).toEqual([])
    const right = { Authorization: 'Bearer correct-horse' }
    expect((await ask('/api/status', { headers: right })).status).toBe(200)
    expect((await post('/api/spool/new-id', {}, right)).status).toBe(200)
    for (const path of OPEN) expect((await ask(path)).status).toBe(200)
  })

  test('neither the right token nor a wrong one gets into the log or an answer', async () => {
    await start({ token })
    const wrong = await ask('/api/status', { headers: { Authorization: 'Bearer hunter2-guess' } })
    expect(wrong.text + admin.log()).not.toMatch(/hunter2-guess|correct-horse/)
    expect(admin.log()).toContain('ADMIN_UNAUTHORIZED')
  })

  test('a token file is read anew: a changed one counts at once, a missing or empty one lets nobody in', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-token-'))
    try {
      const file = join(folder, 'token')
      writeFileSync(file, 'first\n')
      await start({ token: { file } })
      const as = (text: string) =>
        ask('/api/status', { headers: { Authorization: `Bearer ${text}` } })
      expect((await as('first')).status).toBe(200)
      writeFileSync(file, 'second\n')
      expect((await as('first')).status).toBe(401)
      expect((await as('second')).status).toBe(200)
      writeFileSync(file, '\n')
      for (const guess of ['', 'second']) expect((await as(guess)).status).toBe(503)
      await rm(file)
      expect(code(await as('second'))).toBe('ADMIN_TOKEN_UNREADABLE')
      expect((await ask('/livez')).status).toBe(200)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})

describe('on another address than loopback', () => {
  test('without a token it serves only metrics and health, whatever Host says', async () => {
    await start({ host: '0.0.0.0' })
    for (const headers of [{}, { Host: 'gateway:9464' }, { Host: 'localhost' }]) {
      for (const path of OPEN) expect((await ask(path, { headers })).status).toBe(200)
      const answer = await ask('/api/status', { headers })
      expect([answer.status, code(answer)]).toEqual([403, 'ADMIN_TOKEN_REQUIRED'])
    }
    for (const path of ['/api/sinks/cloud/retry', '/api/dead-letters/purge', '/api/spool/new-id'])
      expect((await post(path, { stream: 'telemetry', all: true })).status).toBe(403)
    expect(calls).toEqual([])
  })

  test('with a token it serves all of it', async () => {
    await start({ host: '0.0.0.0', token: { value: 't0ken' } })
    const headers = { Host: 'gateway:9464', Authorization: 'Bearer t0ken' }
    expect((await ask('/api/status', { headers })).status).toBe(200)
    expect((await ask('/api/status', { headers: { Host: 'gateway:9464' } })).status).toBe(401)
  })
})

describe('I6: bounds', () => {
  beforeEach(() => start())

  test('a body at the limit is read, one byte more is refused', async () => {
    const path = '/api/spool/new-id'
    const headers = { 'Content-Type': 'application/json' }
    const body = (bytes: number) => `"${'x'.repeat(bytes - 2)}"`
    expect((await ask(path, { method: 'POST', headers, body: body(MAX_BODY_BYTES) })).status).toBe(
      200,
    )
    const over = await ask(path, { method: 'POST', headers, body: body(MAX_BODY_BYTES + 1) })
    expect([over.status, code(over)]).toEqual([413, 'ADMIN_BODY_TOO_LARGE'])
  })

  test('headers without end are refused', async () => {
    expect((await ask('/livez', { headers: { 'X-Long': 'x'.repeat(9_000) } })).status).toBe(431)
  })

  test('nonsense on the socket costs that connection and nothing else', async () => {
    const { port } = new URL(server.url)
    for (const bytes of [
      '\0\0\0\0',
      'GET\r\n\r\n',
      '\u0016\u0003\u0001',
      'POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
    ]) {
      await new Promise<void>((resolve) => {
        const socket = connect(Number(port), '127.0.0.1', () => socket.write(bytes))
        socket
          .on('error', () => undefined)
          .on('close', () => resolve())
          .resume()
      })
    }
    expect((await ask('/livez')).status).toBe(200)
  })

  test('connections above the limit are closed, and there is room again when others leave', async () => {
    const { port } = new URL(server.url)
    const open = await Promise.all(
      Array.from({ length: MAX_CONNECTIONS }, async () => {
        const socket = connect(Number(port), '127.0.0.1')
        socket.on('error', () => undefined)
        await new Promise((resolve) => socket.once('connect', resolve))
        return socket
      }),
    )
    await expect(ask('/livez')).rejects.toThrow()
    for (const socket of open) socket.destroy()
    await expect
      .poll(() =>
        ask('/livez').then(
          (answer) => answer.status,
          () => 0,
        ),
      )
      .toBe(200)
  })

  test('a caller that leaves in the middle of its body or answer harms nobody', async () => {
    const { port } = new URL(server.url)
    for (let i = 0; i < 5; i++) {
      const socket = connect(Number(port), '127.0.0.1')
      await new Promise((resolve) => socket.once('connect', resolve))
      socket.write(
        'POST /api/spool/new-id HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{',
      )
      socket.resetAndDestroy()
    }
    expect((await ask('/livez')).status).toBe(200)
    expect(calls).toEqual([])
  })
})

describe('its address', () => {
  test('that is taken is told with the address, and the stop after it works', async () => {
    await start()
    const taken = Number(new URL(server.url).port)
    const health = () => ({ ok: true, reasons: [] })
    await expect(
      AdminServer.start({
        config: {
          host: '127.0.0.1',
          port: taken,
          token: null,
          usersFile: null,
          watchConfig: false,
        },
        socketPath: null,
        views: {
          metrics: async () => ({ contentType: 'text/plain', text: '' }),
          recentLog: () => '',
          followWarnings: () => () => undefined,
          live: health,
          ready: health,
        },
        operator: {} as RunningOperator,
        trials: {} as Trials,
        emit: () => undefined,
      }),
    ).rejects.toMatchObject({
      code: 'ADMIN_LISTEN',
      message: expect.stringContaining(
        `cannot listen on 127.0.0.1:${taken} (EADDRINUSE): another program`,
      ),
    })
  })

  test('is free again after a stop, also with an idle connection open', async () => {
    await start()
    const { port } = new URL(server.url)
    const idle = connect(Number(port), '127.0.0.1')
    idle.on('error', () => undefined)
    await new Promise((resolve) => idle.once('connect', resolve))
    const beganMs = performance.now()
    await server.stop()
    expect(performance.now() - beganMs).toBeLessThan(5_000)
    await expect(ask('/livez')).rejects.toThrow()
    await start()
  })
})
