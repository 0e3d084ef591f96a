/**
 * Streams of one gateway to sinks of different types: what happens at one sink is no other's
 * business, and a sink whose type is changed over a backlog takes over what waits (fault 11).
 */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Random } from '../../device-sim/random.ts'
import { median } from '../bench/statistics.ts'
import { assertBalanced, GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses } from '../support/process.ts'
import { Qos1Device } from '../support/qos1-device.ts'
import { type ScriptedRequest, ScriptedSink, type Step } from '../support/scripted-sink.ts'
import { SEED } from '../support/seed.ts'

interface Reading {
  readonly id: string
  readonly seq: number
  readonly device: string
  readonly payload: { readonly n: number }
}

let folder: string
let outbox: string
let cloud: ScriptedSink
let answer: Step
let devices: Qos1Device[]
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-several-'))
  outbox = join(folder, 'outbox')
  mkdirSync(outbox)
  answer = { status: 200 }
  cloud = await ScriptedSink.start({ script: () => answer })
  devices = []
})
afterEach(async () => {
  for (const device of devices) await device.close()
  await reapProcesses()
  await cloud.close()
  rmSync(folder, { recursive: true })
})

const FILE = { type: 'file', minFreeBytes: 0, linger: '0s' }
const http = (more: object = {}) => ({ url: cloud.url, linger: '0s', timeout: '5s', ...more })

async function deviceOf(gateway: GatewayProcess, prefix: string, window = 10): Promise<Qos1Device> {
  const device = new Qos1Device(`${prefix}-${devices.length + 1}`, { window, prefix })
  devices.push(device)
  await device.connect(gateway.mqttPort)
  device.begin()
  return device
}

async function untilDrained(gateway: GatewayProcess): Promise<void> {
  const status = await gateway.untilStatus('everything is delivered', ({ streams }) =>
    streams.every(({ counters }) => counters.pending === 0),
  )
  assertBalanced(status)
}

/** In the order of their names, which is that of their numbers. */
function filed(stream: string): Reading[] {
  const names = readdirSync(outbox).filter((name) => name.includes(`.${stream}.`))
  return names.toSorted().flatMap((name) => {
    if (!name.endsWith('.gz')) return []
    return linesIn(gunzipSync(readFileSync(join(outbox, name))).toString())
  })
}

function linesIn(text: string): Reading[] {
  const lines = text.split('\n').filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line) as Reading)
}

function posted({ body }: ScriptedRequest): Reading[] {
  const text = body?.toString() ?? ''
  return text.startsWith('[') ? (JSON.parse(text) as Reading[]) : linesIn(text)
}

/** I2, and once each. */
function expectInOrder(readings: readonly Reading[], { clientId, acked }: Qos1Device): void {
  const numbers = readings
    .filter(({ device }) => device === clientId)
    .map(({ payload }) => payload.n)
  expect(numbers).toEqual(numbers.map((_, index) => index + 1))
  expect(numbers.length).toBeGreaterThanOrEqual(acked.length)
  expect(acked.length).toBeGreaterThan(0)
}

const PHASE_MS = 400
/** Of the rate of the others without a dead sink beside them. */
const LEAST_RATIO = 0.7
const PAIRS = 5
/** A busy machine spoils single ones: more of them then. */
const MOST_PAIRS = 25

test('a sink that is dead slows no other, changes no order, and loses nothing', async () => {
  let deadAnswer: Step = { status: 200 }
  const dead = await ScriptedSink.start({ script: () => deadAnswer })
  try {
    const gateway = await GatewayProcess.start({
      folder,
      sinkUrl: cloud.url,
      sections: {
        streams: {
          outbox: { topics: ['outbox/#'], sink: 'stick' },
          cloud: { topics: ['cloud/#'], sink: 'alive' },
          dead: { topics: ['dead/#'], sink: 'dead' },
        },
        sinks: {
          cloud: http(),
          stick: { ...FILE, folder: outbox, linger: '50ms' },
          alive: http(),
          dead: http({ url: dead.url }),
        },
      },
    })
    const alive = [await deviceOf(gateway, 'outbox'), await deviceOf(gateway, 'cloud')]
    const other = await deviceOf(gateway, 'dead')
    const delivered = async (): Promise<number> => {
      const { streams } = await gateway.status()
      const own = streams.filter(({ name }) => name !== 'dead')
      return own.reduce((sum, { counters }) => sum + counters.delivered, 0)
    }
    const rateWith = async (step: Step): Promise<number> => {
      deadAnswer = step
      const before = await delivered()
      const fromMs = performance.now()
      await sleep(PHASE_MS)
      return ((await delivered()) - before) / (performance.now() - fromMs)
    }
    const ratios: number[] = []
    const isUnclear = (): boolean => ratios.length < PAIRS || median(ratios) <= LEAST_RATIO
    while (isUnclear() && ratios.length < MOST_PAIRS) {
      const whole = await rateWith({ status: 200 })
      const beside = await rateWith({ drop: 'before' })
      ratios.push(beside / whole)
    }
    expect(median(ratios), JSON.stringify(ratios)).toBeGreaterThan(LEAST_RATIO)
    for (const device of devices) await device.close()
    const status = await gateway.untilStatus('the live ones are drained', ({ streams }) =>
      streams.every(({ name, counters }) => name === 'dead' || counters.pending === 0),
    )
    assertBalanced(status)
    const waiting = status.streams.find(({ name }) => name === 'dead')?.counters
    expect(waiting?.pending).toBeGreaterThan(0)
    expect((waiting?.pending ?? 0) + (waiting?.delivered ?? 0)).toBeGreaterThanOrEqual(
      other.acked.length,
    )
    expectInOrder(filed('outbox'), alive[0] as Qos1Device)
    expectInOrder(cloud.stored.flatMap(posted), alive[1] as Qos1Device)
  } finally {
    await dead.close()
  }
})

test('a message of two streams is delivered to the sinks of both, under an id of each', async () => {
  const gateway = await GatewayProcess.start({
    folder,
    sinkUrl: cloud.url,
    sections: {
      streams: {
        near: { topics: ['plant/#'], sink: 'stick' },
        far: { topics: ['plant/#'], sink: 'cloud' },
      },
      sinks: { cloud: http(), stick: { ...FILE, folder: outbox } },
    },
  })
  const device = await deviceOf(gateway, 'plant')
  await gateway.untilStatus('some are delivered', ({ streams }) =>
    streams.every(({ counters }) => counters.delivered > 50),
  )
  await device.close()
  await untilDrained(gateway)
  const near = filed('near')
  const far = cloud.stored.flatMap(posted)
  expectInOrder(near, device)
  expectInOrder(far, device)
  expect(far.map(({ payload }) => payload)).toEqual(near.map(({ payload }) => payload))
  expect(new Set([...near, ...far].map(({ id }) => id)).size).toBe(near.length + far.length)
})

const KILLS = 2

test(`fault 11: another type takes over what waits, over kills (SLUICE_SEED=${SEED})`, async () => {
  const random = new Random(SEED, 'change of type')
  // It gets everything and says nothing.
  answer = { drop: 'after' }
  const small = { maxBatchRecords: 10 }
  const gateway = await GatewayProcess.start({
    folder,
    sinkUrl: cloud.url,
    sink: { ...small, compression: 'none' },
    sections: { streams: { telemetry: { topics: ['plant/#'] } } },
  })
  const change = (sink: object): void => {
    const config = JSON.parse(readFileSync(gateway.configPath, 'utf8')) as Record<string, unknown>
    writeFileSync(gateway.configPath, JSON.stringify({ ...config, sinks: { cloud: sink } }))
  }
  const live = async (): Promise<void> => {
    const device = await deviceOf(gateway, 'plant')
    await sleep(random.below(120))
    device.expectClose()
    await gateway.kill()
    await device.close()
  }
  const lives = async (): Promise<void> => {
    for (let kill = 0; kill < KILLS; kill++) {
      await gateway.start()
      await live()
    }
  }
  const device = await deviceOf(gateway, 'plant')
  await cloud.waitForRequests(1)
  device.expectClose()
  await gateway.kill()
  await device.close()
  const first = cloud.requests[0] as ScriptedRequest
  const ids = (request: ScriptedRequest) => posted(request).map(({ id }) => id)

  change(http({ ...small, format: 'json-array', compression: 'none' }))
  const before = cloud.requests.length
  await gateway.start()
  await cloud.waitForRequests(before + 1)
  await live()
  const again = cloud.requests[before] as ScriptedRequest
  expect(ids(again)[0]).toBe(ids(first)[0])
  expect(again.headers['idempotency-key']).not.toBe(first.headers['idempotency-key'])

  change({ ...FILE, ...small, folder: outbox })
  await lives()
  // What was pinned for the web service is a file now.
  expect(filed('telemetry').map(({ id }) => id)).toEqual(expect.arrayContaining(ids(first)))

  answer = { status: 200 }
  change(http({ ...small, compression: 'none' }))
  const behind = cloud.requests.length
  await lives()
  await gateway.start()
  await untilDrained(gateway)

  // Of what was posted before, nothing was acknowledged.
  const there = [...filed('telemetry'), ...cloud.requests.slice(behind).flatMap(posted)]
  const numbers = new Set(there.map((one) => `${one.device} ${one.payload.n}`))
  for (const { clientId, acked } of devices)
    expect(acked.filter((n) => !numbers.has(`${clientId} ${n}`))).toEqual([])
  // At most the batch in flight went to both.
  const inFiles = new Set(filed('telemetry').map(({ id }) => id))
  const later = cloud.requests.slice(behind).flatMap(ids)
  expect(new Set(later.filter((id) => inFiles.has(id))).size).toBeLessThanOrEqual(10)
  expectOneBodyAKey(cloud.requests)
}, 90_000)

/** I4: the same key never names other bytes. */
function expectOneBodyAKey(requests: readonly ScriptedRequest[]): void {
  const bodies = new Map<string, string>()
  for (const { headers, body } of requests) {
    const key = String(headers['idempotency-key'])
    const hash = createHash('sha256')
      .update(body ?? '')
      .digest('hex')
    expect(bodies.get(key) ?? hash).toBe(hash)
    bodies.set(key, hash)
  }
}
