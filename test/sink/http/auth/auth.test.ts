/**
 * How a sink says who sends, over real HTTP: what arrives at the sink, what a repeat repeats, and
 * what holds. OAuth 2 is in oauth2.test.ts, AWS's own signatures in aws-sigv4.test.ts.
 */
import { createHash, createHmac } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { SinkEvent } from '../../../../gateway/sink/events.ts'
import { sasResource } from '../../../../gateway/sink/http/auth/azure-sas.ts'
import type { HttpAuthConfig } from '../../../../gateway/sink/http/auth/config.ts'
import { createHttpSink } from '../../../../gateway/sink/http/http-sink.ts'
import type { ConfiguredSink } from '../../../../gateway/sink/sink-type.ts'
import { type ScriptedRequest, ScriptedSink } from '../../../support/scripted-sink.ts'
import { batchOf, never, sinkConfig } from '../batches.ts'

let folder = ''
let server: ScriptedSink
const sinks: ConfiguredSink[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-auth-'))
  server = await ScriptedSink.start()
})
afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.close()
  await server.close()
  rmSync(folder, { recursive: true })
})

function sinkWith(auth: HttpAuthConfig, nowMs: () => number = Date.now): ConfiguredSink {
  const config = sinkConfig(server.url, { auth })
  const sink = createHttpSink({ name: 'cloud', config, emit: () => undefined, nowMs })
  sinks.push(sink)
  return sink
}

/** A file with a secret in it. */
function fileOf(content: string): { readonly file: string } {
  const file = join(folder, `secret-${Math.random().toString(36).slice(2)}`)
  writeFileSync(file, content)
  return { file }
}

async function sent(auth: HttpAuthConfig, nowMs?: () => number): Promise<ScriptedRequest> {
  const answer = await sinkWith(auth, nowMs).send(batchOf(1, 3), never())
  expect(answer).toMatchObject({ kind: 'verdicts' })
  const request = server.requests.at(-1)
  if (request === undefined) throw new Error('nothing was sent')
  return request
}

const AWS = {
  kind: 'aws-sigv4',
  service: 'kinesis',
  region: 'eu-central-1',
  accessKeyId: { value: 'AKIDEXAMPLE' },
  secretAccessKey: { value: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' },
  sessionToken: null,
  credentialsFile: null,
  profile: 'default',
} as const

const SAS = {
  kind: 'azure-sas',
  receiver: 'event-hubs',
  keyName: 'send',
  key: { value: 'c2VjcmV0IGtleSBvZiBhIHBvbGljeQ==' },
  resource: 'https://plant.servicebus.windows.net/readings',
  lifetime: 3_600_000,
} as const

describe('credentials that stay the same', () => {
  test.each([
    [
      { kind: 'header', name: 'X-Api-Key', prefix: null, value: { value: 'k1' } },
      'x-api-key',
      'k1',
    ],
    [
      { kind: 'header', name: 'Authorization', prefix: 'Token ', value: { value: 'k1' } },
      'authorization',
      'Token k1',
    ],
    [{ kind: 'bearer', token: { value: 't' } }, 'authorization', 'Bearer t'],
    // RFC 7617, section 2.1: the name and the password are UTF-8.
    [
      { kind: 'basic', user: 'test', password: { value: '123£' } },
      'authorization',
      'Basic dGVzdDoxMjPCow==',
    ],
  ] as const)('%j', async (auth, name, value) => {
    const request = await sent(auth)
    expect(request.headers[name]).toBe(value)
  })

  test('none: no header at all', async () => {
    expect((await sent({ kind: 'none' })).headers).not.toHaveProperty('authorization')
  })

  test('a secret that is not there holds, and its file is named', async () => {
    const token = { file: join(folder, 'nowhere') }
    const answer = await sinkWith({ kind: 'bearer', token }).send(batchOf(1, 1), never())
    expect(answer).toMatchObject({ kind: 'hold', unsent: true })
    expect(answer).toHaveProperty('detail', expect.stringContaining('auth.token'))
    expect(server.requests).toHaveLength(0)
  })

  test('a secret file that changes is used with the next request', async () => {
    const token = fileOf('one\n')
    const sink = sinkWith({ kind: 'bearer', token })
    await sink.send(batchOf(1, 1), never())
    writeFileSync(token.file, 'two\n')
    await sink.reread()
    await sink.send(batchOf(1, 1), never())
    const seen = server.requests.map(({ headers }) => headers['authorization'])
    expect(seen).toEqual(['Bearer one', 'Bearer two'])
  })

  test('a sink that quotes the credentials does not have them in its words', async () => {
    server.script = ({ headers }) => ({ status: 401, body: String(headers['authorization']) })
    const auth = { kind: 'bearer', token: { value: 'a-very-secret-token' } } as const
    const answer = await sinkWith(auth).send(batchOf(1, 1), never())
    expect(JSON.stringify(answer)).not.toContain('a-very-secret-token')
    expect(answer).toHaveProperty('detail', expect.stringContaining('(hidden)'))
  })
})

/** What AWS does with a request: computes the signature itself, from what arrived. */
function verifyAws(request: ScriptedRequest, secret: string): boolean {
  const authorization = String(request.headers['authorization'])
  const [, id, within, names = '', signature] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/([^,]+), SignedHeaders=([^,]+), Signature=(\w+)$/.exec(
      authorization,
    ) ?? []
  if (id === undefined || within === undefined) return false
  const hash = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex')
  const [path = '', query = ''] = request.path.split('?')
  const lines = names.split(';').map((name) => `${name}:${String(request.headers[name])}\n`)
  const canonical = `${request.method}\n${path}\n${query}\n${lines.join('')}\n${names}\n${hash(request.rawBody)}`
  const text = `AWS4-HMAC-SHA256\n${String(request.headers['x-amz-date'])}\n${within}\n${hash(canonical)}`
  const key = within
    .split('/')
    .reduce<string | Buffer>(
      (before, part) => createHmac('sha256', before).update(part).digest(),
      `AWS4${secret}`,
    )
  return createHmac('sha256', key).update(text).digest('hex') === signature
}

describe('aws-sigv4', () => {
  const secret = AWS.secretAccessKey.value

  test('the sink computes the same signature over the body that it got', async () => {
    const request = await sent(AWS)
    expect(verifyAws(request, secret)).toBe(true)
    expect(verifyAws(request, 'another secret')).toBe(false)
    expect(verifyAws({ ...request, rawBody: Buffer.from('x') }, secret)).toBe(false)
    expect(String(request.headers['authorization'])).toContain(
      'SignedHeaders=content-type;host;x-amz-date',
    )
  })

  test('a repeat has another signature and the same bytes under the same key', async () => {
    let now = Date.UTC(2026, 10, 23)
    const sink = sinkWith(AWS, () => now)
    server.script = [{ status: 503, noDate: true }, {}]
    const batch = batchOf(1, 3)
    await sink.send(batch, never())
    now += 60_000
    await sink.send(batch, never())
    const [first, second] = server.requests
    expect(first?.rawBody.equals(second?.rawBody ?? Buffer.alloc(0))).toBe(true)
    expect(first?.headers['idempotency-key']).toBe(second?.headers['idempotency-key'])
    expect(first?.headers['authorization']).not.toBe(second?.headers['authorization'])
    expect(sink.encoder.fingerprint).toBe('http:ndjson:gzip')
    for (const one of [first, second])
      expect(one !== undefined && verifyAws(one, secret)).toBe(true)
  })

  test('a session token is sent and signed', async () => {
    const request = await sent({ ...AWS, sessionToken: fileOf('token-of-an-hour\n') })
    expect(request.headers['x-amz-security-token']).toBe('token-of-an-hour')
    expect(verifyAws(request, secret)).toBe(true)
    expect(String(request.headers['authorization'])).toContain('x-amz-security-token')
  })

  test('a shared credentials file: its profile, read again when it changes', async () => {
    const text = (key: string): string =>
      `[default]\naws_access_key_id=x\naws_secret_access_key=y\n\n; plant\n[ plant ]\naws_access_key_id = AKPLANT\naws_secret_access_key = ${key}=\naws_session_token = t/=\n`
    const { file: credentialsFile } = fileOf(text('one'))
    const none = { accessKeyId: null, secretAccessKey: null }
    const sink = sinkWith({ ...AWS, ...none, credentialsFile, profile: 'plant' })
    await sink.send(batchOf(1, 1), never())
    writeFileSync(credentialsFile, text('two'))
    await sink.reread()
    await sink.send(batchOf(1, 1), never())
    const [first, second] = server.requests
    expect(first !== undefined && verifyAws(first, 'one=')).toBe(true)
    expect(second !== undefined && verifyAws(second, 'two=')).toBe(true)
    expect(first?.headers['x-amz-security-token']).toBe('t/=')
    expect(String(first?.headers['authorization'])).toContain('Credential=AKPLANT/')
  })

  test.each([
    ['[default]\naws_access_key_id=x\n', 'default', 'does not have both'],
    ['[default]\naws_access_key_id=x\naws_secret_access_key=y\n', 'plant', 'no profile [plant]'],
  ])('a credentials file without the keys holds: %j', async (text, profile, words) => {
    const { file: credentialsFile } = fileOf(text)
    const none = { accessKeyId: null, secretAccessKey: null, credentialsFile, profile }
    const answer = await sinkWith({ ...AWS, ...none }).send(batchOf(1, 1), never())
    expect(answer).toMatchObject({ kind: 'hold', unsent: true })
    expect(answer).toHaveProperty('detail', expect.stringContaining(words))
  })

  test('a box whose clock is wrong: after the refusal signatures follow the clock of the sink', async () => {
    const wrong = (): number => Date.now() - 3 * 365 * 86_400_000
    const sink = sinkWith(AWS, wrong)
    server.script = (request) => {
      const stamp = String(request.headers['x-amz-date'])
      const at = Date.parse(stamp.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'))
      return Math.abs(at - Date.now()) > 300_000
        ? { status: 403, body: '{"__type":"InvalidSignatureException"}' }
        : {}
    }
    const refused = await sink.send(batchOf(1, 1), never())
    expect(refused).toMatchObject({ kind: 'retry', answered: true, code: '403' })
    expect(refused).toHaveProperty('detail', expect.stringContaining("from the sink's"))
    expect(await sink.send(batchOf(1, 1), never())).toMatchObject({ kind: 'verdicts' })
    // A refusal by a right clock is one of the credentials.
    server.script = [{ status: 403 }]
    expect(await sink.send(batchOf(1, 1), never())).toMatchObject({ kind: 'hold', code: '403' })
  })

  test('a clock that no refusal speaks of is left alone', async () => {
    const sink = sinkWith(AWS, () => 0)
    server.script = [{ status: 503 }, {}]
    await sink.send(batchOf(1, 1), never())
    await sink.send(batchOf(1, 1), never())
    for (const { headers } of server.requests)
      expect(headers['x-amz-date']).toBe('19700101T000000Z')
  })
})

describe('azure-sas', () => {
  const until = 1_795_838_400_000
  const now = (): number => until - 3_600_000

  // Computed by another program, in Python.
  test('the key of a policy, as it looks', async () => {
    expect((await sent(SAS, now)).headers['authorization']).toBe(
      'SharedAccessSignature sr=https%3A%2F%2Fplant.servicebus.windows.net%2Freadings&sig=Gk1eTmcBxQ%2BRnmuMUqOheEsf5NyN%2BrprncL5VLoNHIo%3D&se=1795838400&skn=send',
    )
  })

  test('the key of a device of IoT Hub, decoded', async () => {
    const auth = {
      ...SAS,
      receiver: 'iot-hub',
      keyName: null,
      key: fileOf('c2VjcmV0IGtleSBvZiBhIGRldmljZQ==\n'),
      resource: 'plant.azure-devices.net/devices/press-7',
    } as const
    expect((await sent(auth, now)).headers['authorization']).toBe(
      'SharedAccessSignature sr=plant.azure-devices.net%2Fdevices%2Fpress-7&sig=PV9dd%2F91KDp4u6ld%2FPPeHJ9VurHkQI7bb6AFc15Bf88%3D&se=1795838400',
    )
  })

  test.each([
    [
      'https://Plant.servicebus.windows.net/Readings/messages?timeout=60',
      'event-hubs',
      'https://plant.servicebus.windows.net/readings',
    ],
    [
      'https://plant.servicebus.windows.net/queue',
      'service-bus',
      'https://plant.servicebus.windows.net/queue',
    ],
    [
      'https://plant.azure-devices.net/devices/press-7/messages/events?api-version=2020-03-13',
      'iot-hub',
      'plant.azure-devices.net/devices/press-7',
    ],
    ['https://plant.azure-devices.net/', 'iot-hub', 'plant.azure-devices.net'],
  ] as const)('%s of %s is %s', (url, receiver, resource) => {
    expect(sasResource(new URL(url), receiver)).toBe(resource)
  })

  test('a token is kept for 3/4 of its lifetime, and none outlives a clock that went back', async () => {
    let at = now()
    const sink = sinkWith(SAS, () => at)
    const tokens: unknown[] = []
    for (const stepMs of [0, 2_699_000, 2_000, -7_000_000]) {
      at += stepMs
      await sink.send(batchOf(1, 1), never())
      tokens.push(server.requests.at(-1)?.headers['authorization'])
    }
    expect(tokens[1]).toBe(tokens[0])
    expect(tokens[2]).not.toBe(tokens[0])
    expect(tokens[3]).not.toBe(tokens[2])
  })

  test('a box whose clock is behind: the token follows the clock of the sink', async () => {
    const sink = sinkWith(SAS, () => Date.now() - 86_400_000)
    server.script = ({ headers }) => {
      const se = /se=(\d+)/.exec(String(headers['authorization']))?.[1]
      return Number(se) * 1000 < Date.now() ? { status: 401 } : {}
    }
    expect(await sink.send(batchOf(1, 1), never())).toMatchObject({ kind: 'retry' })
    expect(await sink.send(batchOf(1, 1), never())).toMatchObject({ kind: 'verdicts' })
  })

  test('a key that cannot be one holds, and is not shown', async () => {
    const events: SinkEvent[] = []
    const auth = { ...SAS, receiver: 'iot-hub', key: fileOf('not base64!') } as const
    const config = sinkConfig(server.url, { auth })
    const sink = createHttpSink({ name: 'cloud', config, emit: (event) => events.push(event) })
    sinks.push(sink)
    const answer = await sink.send(batchOf(1, 1), never())
    expect(answer).toMatchObject({ kind: 'hold' })
    expect(JSON.stringify([answer, events])).not.toContain('not base64!')
  })
})
