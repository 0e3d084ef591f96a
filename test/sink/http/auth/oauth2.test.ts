/** OAuth 2 client credentials against an authorization server over real HTTP. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { OAuth2Config } from '../../../../gateway/sink/http/auth/config.ts'
import { createHttpSink } from '../../../../gateway/sink/http/http-sink.ts'
import { probeSink } from '../../../../gateway/sink/http/probe.ts'
import type { ConfiguredSink } from '../../../../gateway/sink/sink-type.ts'
import { ScriptedSink, type Step } from '../../../support/scripted-sink.ts'
import { batchOf, never, sinkConfig } from '../batches.ts'

const SECRET = 'p+s ä&=secret'.replace('ä', '%')

let server: ScriptedSink
let login: ScriptedSink
let valid = new Set<string>()
const cleanups: Array<() => unknown> = []

beforeEach(async () => {
  valid = new Set()
  server = await ScriptedSink.start({
    script: ({ headers }) => (valid.has(String(headers['authorization'])) ? {} : { status: 401 }),
  })
  login = await ScriptedSink.start({ script: () => grant() })
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  await server.close()
  await login.close()
})

/** A new token, which the sink takes from now on. */
function grant(changes: Readonly<Record<string, unknown>> = {}): Step {
  const token = `token-${login.requests.length}-${Math.random().toString(36).slice(2)}`
  valid.add(`Bearer ${token}`)
  return { body: { access_token: token, token_type: 'Bearer', expires_in: 3600, ...changes } }
}

function authOf(changes: Partial<OAuth2Config> = {}): OAuth2Config {
  return {
    kind: 'oauth2',
    tokenUrl: login.url.replace('/ingest', '/token'),
    clientId: 'edge 01',
    clientSecret: { value: SECRET },
    clientAuth: 'basic',
    scope: 'ingest.write',
    parameters: { audience: 'https://cloud.example/' },
    renewAt: 0.75,
    ...changes,
  }
}

function sinkWith(changes: Partial<OAuth2Config> = {}, timeout = 5000): ConfiguredSink {
  const config = sinkConfig(server.url, { auth: authOf(changes), timeout, maxInFlight: 4 })
  const sink = createHttpSink({ name: 'cloud', config, emit: () => undefined })
  cleanups.push(() => sink.close())
  return sink
}

const batch = batchOf(1, 3)

describe('the request for a token', () => {
  test('form-encoded, the credentials encoded and then joined (RFC 6749, 2.3.1)', async () => {
    expect(await sinkWith().send(batch, never())).toMatchObject({ kind: 'verdicts' })
    const [request] = login.requests
    expect(request).toMatchObject({ method: 'POST', path: '/token' })
    expect(request?.headers['content-type']).toBe('application/x-www-form-urlencoded')
    expect(Object.fromEntries(new URLSearchParams(String(request?.rawBody)))).toEqual({
      grant_type: 'client_credentials',
      scope: 'ingest.write',
      audience: 'https://cloud.example/',
    })
    const pair = Buffer.from(String(request?.headers['authorization']).slice(6), 'base64')
    const [id = '', secret = ''] = pair.toString().split(':')
    const decode = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '))
    expect([decode(id), decode(secret)]).toEqual(['edge 01', SECRET])
  })

  test('clientAuth: post puts both into the body', async () => {
    await sinkWith({ clientAuth: 'post', scope: null, parameters: {} }).send(batch, never())
    const [request] = login.requests
    expect(request?.headers).not.toHaveProperty('authorization')
    expect(Object.fromEntries(new URLSearchParams(String(request?.rawBody)))).toEqual({
      grant_type: 'client_credentials',
      client_id: 'edge 01',
      client_secret: SECRET,
    })
  })
})

describe('a token', () => {
  test('serves many batches, and batches side by side wait for one request', async () => {
    const sink = sinkWith()
    login.script = () => ({ ...grant(), delayMs: 30 })
    const streams = ['a', 'b', 'c', 'd'].map((stream) => batchOf(1, 1, { stream }))
    const answers = await Promise.all(streams.map((one) => sink.send(one, never())))
    for (let n = 0; n < 5; n += 1) answers.push(await sink.send(batch, never()))
    expect(answers.every(({ kind }) => kind === 'verdicts')).toBe(true)
    expect(login.requests).toHaveLength(1)
  })

  test('is renewed while it still works; a renewal that fails costs nothing', async () => {
    const sink = sinkWith({ renewAt: 0.1 })
    login.script = ({ index }) => (index === 1 ? { status: 503 } : grant({ expires_in: 2 }))
    const kinds = new Set<string>()
    // From a fifth of a second on a batch asks for the next token, and does not wait for it.
    // A token that is never renewed has to fail here, not to keep the loop going for good.
    const endsAt = performance.now() + 4000
    while (login.requests.length < 3 && performance.now() < endsAt)
      kinds.add((await sink.send(batch, never())).kind)
    expect(login.requests.length).toBeGreaterThanOrEqual(3)
    await sink.send(batch, never())
    expect([...kinds]).toEqual(['verdicts'])
  })

  test('that has ended is never sent', async () => {
    const sink = sinkWith()
    login.script = () => grant({ expires_in: 0.02 })
    await sink.send(batch, never())
    await new Promise((resolve) => setTimeout(resolve, 30))
    await sink.send(batch, never())
    expect(login.requests).toHaveLength(2)
    const [first, second] = server.requests.map(({ headers }) => headers['authorization'])
    expect(first).not.toBe(second)
  })

  test('that the sink refuses is replaced once; then the sink holds, and each probe asks anew', async () => {
    const sink = sinkWith()
    await sink.send(batch, never())
    valid.clear()
    const refused = await sink.send(batch, never())
    expect(refused).toMatchObject({ kind: 'retry', answered: true, code: '401' })
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts' })
    expect(login.requests).toHaveLength(2)
    server.script = [{ status: 401 }]
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'retry' })
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'hold', code: '401' })
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'hold', code: '401' })
    expect(login.requests).toHaveLength(4)
    server.script = [{}]
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts' })
  })

  test('403 holds: the token is known, and may not do this', async () => {
    server.script = [{ status: 403 }]
    expect(await sinkWith().send(batch, never())).toMatchObject({ kind: 'hold', code: '403' })
  })

  test('two batches that are refused with one token ask for one new one', async () => {
    const sink = sinkWith()
    await sink.send(batch, never())
    valid.clear()
    const streams = ['a', 'b', 'c'].map((stream) => batchOf(1, 1, { stream }))
    await Promise.all(streams.map((one) => sink.send(one, never())))
    await Promise.all(streams.map((one) => sink.send(one, never())))
    expect(login.requests).toHaveLength(2)
  })
})

describe('what the authorization server says', () => {
  test.each([
    [{ status: 400, body: { error: 'invalid_client' } }, 'hold', 'auth.clientSecret'],
    [{ status: 401, body: { error: 'invalid_client', error_description: 'who?' } }, 'hold', 'who?'],
    [{ status: 400, body: { error: 'invalid_scope' } }, 'hold', 'auth.scope'],
    [{ status: 400, body: { error: 'unsupported_grant_type' } }, 'hold', 'client credentials'],
    [{ status: 404, body: 'no such page' }, 'hold', 'no such page'],
    [{ status: 302, headers: { location: 'https://elsewhere/' } }, 'hold', '302'],
    [{ status: 503 }, 'retry', '503'],
    [{ status: 429 }, 'retry', '429'],
    [{ drop: 'before' }, 'retry', 'no answer'],
    [{ body: '<html>log in</html>' }, 'hold', 'log in'],
    [{ body: { access_token: 'x y', token_type: 'Bearer' } }, 'hold', 'access_token'],
    [{ body: { access_token: 7 } }, 'hold', 'access_token'],
    [{ body: { access_token: 'x', token_type: 'mac' } }, 'hold', 'type Bearer'],
    [{ body: '{' }, 'hold', 'access_token'],
  ] as ReadonlyArray<readonly [Step, string, string]>)('%j: %s', async (step, kind, words) => {
    login.script = [step]
    const answer = await sinkWith().send(batch, never())
    expect(answer).toMatchObject({ kind, scope: 'sink', unsent: true })
    expect(answer).toHaveProperty('detail', expect.stringContaining(words))
    expect(answer).toHaveProperty('detail', expect.stringContaining('no token'))
    expect(server.requests).toHaveLength(0)
    login.script = () => grant()
  })

  test('its Retry-After is obeyed', async () => {
    login.script = [{ status: 503, headers: { 'retry-after': '9' } }]
    const answer = await sinkWith().send(batch, never())
    expect(answer).toMatchObject({ kind: 'retry', retryAfterMs: 9000, answered: false })
  })

  test('a token without a lifetime, or in words, is one', async () => {
    for (const seconds of [undefined, null, '3600', -1, 'soon']) {
      login.script = () => grant({ expires_in: seconds })
      expect(await sinkWith().send(batch, never())).toMatchObject({ kind: 'verdicts' })
    }
  })

  test('the secret is in no word of it, however it is quoted', async () => {
    const encoded = new URLSearchParams({ '': SECRET }).toString().slice(1)
    login.script = [{ status: 400, body: { error: `x ${SECRET} ${encoded}` } }]
    const answer = await sinkWith().send(batch, never())
    expect(JSON.stringify(answer)).not.toContain(SECRET)
    expect(JSON.stringify(answer)).not.toContain(encoded)
    expect(JSON.stringify(answer)).toContain('(hidden)')
  })

  test('silence: a retry after the time-out, and a batch that is given up waits for nothing', async () => {
    login.script = [{ halfOpen: true }]
    expect(await sinkWith({}, 100).send(batch, never())).toMatchObject({ kind: 'retry' })
    const controller = new AbortController()
    const sending = sinkWith({}, 60_000).send(batch, controller.signal)
    await login.waitForRequests(2)
    controller.abort()
    expect(await sending).toMatchObject({ kind: 'retry', unsent: true })
  })

  test('nobody listens there: a retry that names it', async () => {
    const answer = await sinkWith({ tokenUrl: 'http://127.0.0.1:9/token' }).send(batch, never())
    expect(answer).toMatchObject({ kind: 'retry', answered: false, unsent: true })
    expect(answer).toHaveProperty('detail', expect.stringContaining('127.0.0.1:9'))
  })
})

test('a client secret that is renewed ends the hold', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-oauth-'))
  cleanups.push(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'secret')
  writeFileSync(file, 'old\n')
  login.script = ({ headers }) =>
    String(headers['authorization']) === `Basic ${Buffer.from('edge+01:new').toString('base64')}`
      ? grant()
      : { status: 401, body: { error: 'invalid_client' } }
  const sink = sinkWith({ clientSecret: { file } })
  expect(await sink.send(batch, never())).toMatchObject({ kind: 'hold' })
  const changed = new Promise<void>((resolve) => sink.onChange(resolve))
  writeFileSync(file, 'new\n')
  await sink.reread()
  await changed
  expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts' })
})

test('the authorization server is reached over TLS by the authorities of the sink', async () => {
  const pem = (name: string): string =>
    new URL(`../../../support/tls-sink/${name}`, import.meta.url).pathname
  const { readFileSync } = await import('node:fs')
  const tls = { key: readFileSync(pem('server.key')), cert: readFileSync(pem('server.pem')) }
  const secure = await ScriptedSink.start({ tls, script: () => grant() })
  cleanups.push(() => secure.close())
  const open = (ca: string | null): ConfiguredSink => {
    const auth = authOf({ tokenUrl: secure.url })
    const config = sinkConfig(server.url, { auth, tls: { ca, cert: null, key: null } })
    const sink = createHttpSink({ name: 'cloud', config, emit: () => undefined })
    cleanups.push(() => sink.close())
    return sink
  }
  expect(await open(pem('ca.pem')).send(batch, never())).toMatchObject({ kind: 'verdicts' })
  const answer = await open(null).send(batch, never())
  expect(answer).toMatchObject({ kind: 'retry', answered: false, unsent: true })
  expect(answer).toHaveProperty('detail', expect.stringContaining('tls.ca'))
})

test('a probe asks for a token and names the step', async () => {
  const probe = async () =>
    await probeSink({ name: 'cloud', config: sinkConfig(server.url, { auth: authOf() }) })
  const well = await probe()
  expect(well.steps.map(({ step, verdict }) => `${step} ${verdict}`)).toEqual([
    'connection ok',
    'auth ok',
    'answer ok',
  ])
  login.script = [{ status: 401, body: { error: 'invalid_client' } }]
  const ill = await probe()
  expect(ill.steps.at(-1)).toMatchObject({ step: 'auth', verdict: 'problem' })
  expect(server.requests).toHaveLength(1)
})
