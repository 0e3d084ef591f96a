/** Single messages through a whole gateway that runs: a reading's way, and its sinks beside it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ANSWERS } from '../../gateway/admin/openapi/answers.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { type Gateway, startGateway } from '../../gateway/gateway.ts'
import type { VerifyReport } from '../../gateway/ports/operator.ts'
import type { Status } from '../../gateway/ports/status.ts'
import type { TestReading } from '../../gateway/ports/trials.ts'
import { ScriptedSink } from '../support/scripted-sink.ts'

let folder: string
let sink: ScriptedSink
let gateway: Gateway | null = null

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-trials-'))
  sink = await ScriptedSink.start()
})
afterEach(async () => {
  await gateway?.stop(1_000)
  gateway = null
  await sink.close()
  await rm(folder, { recursive: true, force: true })
})

async function start(env: Record<string, string> = {}): Promise<void> {
  const { config } = loadConfig(SCHEMA, {
    file: null,
    cwd: folder,
    env: {
      SLUICE__GATEWAY__DATA_DIR: join(folder, 'data'),
      SLUICE__GATEWAY__ID: 'edge-01',
      SLUICE__ADMIN__PORT: '0',
      SLUICE__MQTT__LISTENERS__0__PORT: '0',
      SLUICE__STREAMS__TELEMETRY__TOPICS: '[plant/+/temp]',
      SLUICE__SINKS__CLOUD__URL: sink.url,
      SLUICE__SINKS__CLOUD__LINGER: '0ms',
      SLUICE__LOG__LEVEL: 'error',
      ...env,
    },
  })
  gateway = await startGateway(config)
}

interface Answer<T> {
  readonly status: number
  readonly body: T
}

async function ask<T>(path: string, body?: object): Promise<Answer<T>> {
  const post = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  }
  const answer = await fetch(`${gateway?.adminUrl}${path}`, body === undefined ? {} : post)
  return { status: answer.status, body: (await answer.json()) as T }
}

const send = (body: object = {}) => ask<TestReading>('/api/test-reading', body)
const find = (id: string) => ask<TestReading>(`/api/test-reading/${id}`)

const reached = ({ stages }: TestReading): string[] =>
  stages.filter(({ atMs }) => atMs !== null).map(({ stage }) => stage)

async function untilReached(id: string, stage: string): Promise<TestReading> {
  return await vi.waitFor(async () => {
    const { body } = await find(id)
    expect(reached(body)).toContain(stage)
    return body
  }, 10_000)
}

const WAY = ['arrived', 'committed', 'acknowledged', 'sent', 'stored']

test("a reading's way: each stage in its order, and the record is at the receiver under that id", async () => {
  await start()
  const beforeMs = Date.now()
  const { status, body: first } = await send()
  expect(status).toBe(200)
  expect(first.topic).toBe('plant/example/temp')
  expect(reached(first)).toEqual(expect.arrayContaining(['arrived', 'committed', 'acknowledged']))
  const whole = await untilReached(first.id, 'stored')
  expect(reached(whole)).toEqual(WAY)
  const times = whole.stages.map(({ atMs }) => atMs ?? Number.NaN)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
  expect(times[0]).toBeGreaterThanOrEqual(beforeMs)
  expect(times.at(-1)).toBeLessThanOrEqual(Date.now())
  const lines = sink.stored.flatMap((request) => request.lines)
  expect(lines.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual([first.id])
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ device: 'sluice-test', topic: first.topic })
  // Counted by the commit that settles it, a moment after the receiver's ack.
  const now = await vi.waitFor(async () => {
    const { body } = await ask<Status>('/api/status')
    expect(body.streams[0]?.counters).toMatchObject({ received: 1, delivered: 1, pending: 0 })
    return body
  }, 10_000)
  // The OpenAPI document says so, and names every member.
  expect(ANSWERS.Status.parse(now)).toEqual(now)
  expect(ANSWERS.TestReading.parse(whole)).toEqual(whole)
})

test('a sink that is down: the way ends before it, and says why; it goes on when the sink is back', async () => {
  sink.script = [{ status: 401 }]
  await start()
  const payload = '{"celsius":21.5}'
  const { body: first } = await send({ topic: 'plant/oven/temp', payload })
  const stuck = await vi.waitFor(async () => {
    const { body } = await find(first.id)
    expect(body.stages.find(({ stage }) => stage === 'stored')?.detail).toMatch(/401/)
    return body
  }, 10_000)
  expect(reached(stuck)).toEqual(['arrived', 'committed', 'acknowledged', 'sent'])
  sink.script = [{}]
  const retry = () => ask('/api/sinks/cloud/retry', {})
  expect((await retry()).body).toEqual({ retrying: 'cloud', state: 'held' })
  await untilReached(first.id, 'stored')
  // It is told that nothing was in the way.
  await vi.waitFor(async () => {
    expect((await retry()).body).toEqual({ retrying: 'cloud', state: 'ok' })
  }, 10_000)
  const [line = ''] = sink.stored.flatMap((request) => request.lines)
  expect(JSON.parse(line)).toMatchObject({ id: first.id, payload: JSON.parse(payload) })
})

test('while the disk keeps intake closed it is refused as such, with what mends it', async () => {
  await start({ SLUICE__SPOOL__MIN_FREE_BYTES: '900000GiB' })
  const { status, body } = await ask<{ error: { code: string; message: string } }>(
    '/api/test-reading',
    {},
  )
  expect([status, body.error.code]).toEqual([503, 'SLUICE_INTAKE_CLOSED'])
  expect(body.error.message).toContain('intake is closed, the spool is read-only')
  expect(body.error.message).toContain('spool.minFreeBytes')
})

test('ack: delivered: it is acknowledged only when the sink has it', async () => {
  let open: () => void = () => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  sink.script = async () => {
    await opened
    return {}
  }
  await start({ SLUICE__STREAMS__TELEMETRY__ACK: 'delivered' })
  const { body: first } = await send()
  expect(reached(first)).not.toContain('acknowledged')
  expect(reached(await untilReached(first.id, 'sent'))).toEqual(['arrived', 'committed', 'sent'])
  open()
  const whole = await untilReached(first.id, 'acknowledged')
  expect(reached(whole)).toEqual(WAY)
})

test('a topic that nothing takes is refused with those that are taken, one that is none too', async () => {
  await start()
  const refused = await ask<{ error: { code: string; message: string } }>('/api/test-reading', {
    topic: 'plant/oven',
  })
  expect([refused.status, refused.body.error.code]).toEqual([400, 'ADMIN_BAD_REQUEST'])
  expect(refused.body.error.message).toBe('no stream takes "plant/oven"; they take plant/+/temp')
  for (const topic of ['plant/+/temp', '$SYS/x', ''])
    expect((await send({ topic })).status).toBe(400)
  expect((await find('edge-01:x:telemetry:1')).status).toBe(404)
})

test('a reading that is too large for its stream makes no record, and that is said', async () => {
  await start({ SLUICE__STREAMS__TELEMETRY__MAX_RECORD_BYTES: '1KiB' })
  const { status } = await send({ payload: 'x'.repeat(5_000) })
  expect(status).toBe(400)
  // The next one is followed all the same.
  const { body } = await send()
  expect(reached(await untilReached(body.id, 'stored'))).toEqual(WAY)
})

test('the last sixteen are known', async () => {
  await start()
  const ids: string[] = []
  for (let i = 0; i < 17; i++) ids.push((await send()).body.id)
  expect((await find(ids[0] ?? '')).status).toBe(404)
  for (const id of ids.slice(1)) expect((await find(id)).status).toBe(200)
})

test('a preview sends nothing; a test sends one marked record beside the sink, and explains the answer', async () => {
  await start()
  const preview = await ask<{ preview: string }>('/api/sinks/cloud/preview', { payload: '{"a":1}' })
  expect(preview.status).toBe(200)
  expect(preview.body.preview).toContain('{"a":1}')
  expect(sink.requests).toEqual([])
  const taken = await ask('/api/sinks/cloud/test', {})
  expect(taken.body).toMatchObject({ sink: 'cloud', taken: true, target: sink.url })
  sink.script = [{ status: 403 }]
  const refused = await ask<{ meaning: string }>('/api/sinks/cloud/test', {})
  expect(refused.body).toMatchObject({ taken: false, code: '403' })
  expect(refused.body.meaning).toContain('403')
  expect((await ask('/api/sinks/nope/test', {})).status).toBe(404)
  const { body: now } = await ask<Status>('/api/status')
  expect(now.streams[0]?.counters).toMatchObject({ received: 0, delivered: 0 })
  expect(now.sinks[0]?.state).toBe('ok')
})

test('the spool is checked while the gateway works', async () => {
  sink.script = [{ status: 503 }]
  await start()
  for (let i = 0; i < 5; i++) await send()
  const { status, body } = await ask<VerifyReport>('/api/spool/verify', {})
  expect([status, body.missing, body.damage]).toEqual([200, 0, []])
  expect(body.blocks).toBeGreaterThan(0)
})
