/**
 * A real gateway whose file sink's stick is pulled out, whose process is killed, and whose
 * configuration changes between its lives, while devices publish. Afterwards the files are read:
 * each reading that was acknowledged is there, each record once.
 */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { Random } from '../../../device-sim/random.ts'
import { assertBalanced, GatewayProcess } from '../../support/gateway-process.ts'
import { levelsInTurn } from '../../support/levels.ts'
import { Qos1Device } from '../../support/qos1-device.ts'

const DRAIN_MS = 90_000
const SHORT_MS = 250

interface StickRecord {
  readonly id: string
  readonly device: string
  readonly n: number
}

/** What happened, by name. @throws what is not as promised */
export async function stickDay(seed: string, steps: number): Promise<Record<string, number>> {
  const random = new Random(seed, 'stick')
  const parent = mkdtempSync(join(tmpdir(), 'sluice-stick-'))
  const stick = join(parent, 'stick')
  mkdirSync(stick)
  const gateway = await GatewayProcess.prepare({
    folder: parent,
    sinkUrl: 'http://127.0.0.1:9/',
    sections: { sinks: { cloud: sinkOf(stick, random) } },
  })
  const devices: Qos1Device[] = []
  const nextLevel = levelsInTurn(seed)
  const publish = async (): Promise<void> => {
    const options = { window: 5, textBytes: 40, level: nextLevel() }
    const device = new Qos1Device(`press-${devices.length + 1}`, options)
    devices.push(device)
    await device.connect(gateway.mqttPort)
    device.begin()
  }
  const happened = { 'stick pulled out': 0, kills: 0 }
  try {
    await gateway.start()
    await publish()
    for (let step = 0; step < steps; step++) {
      await sleep(random.below(SHORT_MS))
      const isPulledOut = step === 0 || random.chance(0.6)
      if (isPulledOut) {
        happened['stick pulled out']++
        renameSync(stick, `${stick}-away`)
        await sleep(random.below(SHORT_MS))
      }
      if (step === 0 || random.chance(0.5)) {
        happened.kills++
        for (const device of devices) device.expectClose()
        await gateway.kill()
        for (const device of devices) await device.close()
        reconfigure(gateway.configPath, sinkOf(stick, random))
        await gateway.start()
        await publish()
        await sleep(random.below(SHORT_MS))
      }
      if (isPulledOut) renameSync(`${stick}-away`, stick)
      for (const device of devices) device.check()
    }
    await end(gateway, devices)
    check(readAll(stick), devices)
    return happened
  } finally {
    for (const device of devices) await device.close()
    if (gateway.isRunning) await gateway.process.reap()
    rmSync(parent, { recursive: true, force: true })
  }
}

function sinkOf(folder: string, random: Random): Record<string, unknown> {
  return {
    type: 'file',
    folder,
    linger: '0s',
    minFreeBytes: 0,
    layout: random.chance(0.5) ? 'flat' : 'streams',
    compression: random.chance(0.5) ? 'gzip' : 'none',
    maxBatchRecords: 1 + random.below(40),
  }
}

function reconfigure(path: string, cloud: Record<string, unknown>): void {
  const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  writeFileSync(path, JSON.stringify({ ...config, sinks: { cloud } }))
}

async function end(gateway: GatewayProcess, devices: readonly Qos1Device[]): Promise<void> {
  for (const device of devices) if (device.isConnected) device.pause()
  const isAcked = (): boolean => devices.every((one) => !one.isConnected || one.unacked === 0)
  const endMs = performance.now() + DRAIN_MS
  while (!isAcked()) {
    if (performance.now() > endMs) throw new Error('not all readings were acknowledged')
    await sleep(5)
  }
  const status = await gateway.untilStatus(
    'nothing is pending',
    ({ streams }) => streams.every(({ counters }) => counters.pending === 0),
    DRAIN_MS,
  )
  assertBalanced(status)
}

/** In the order of their names, which is that of their numbers. */
function readAll(stick: string): StickRecord[] {
  const names = readdirSync(stick, { recursive: true, encoding: 'utf8' })
  const files = names.filter((name) => /(^|\/)[^./][^/]*\.ndjson(\.gz)?$/.test(name))
  return files.toSorted(byName).flatMap((name) => {
    const bytes = readFileSync(join(stick, name))
    const text = (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString()
    return text
      .trimEnd()
      .split('\n')
      .map((line) => {
        const { id, device, payload } = JSON.parse(line) as {
          id: string
          device: string
          payload: { n: number }
        }
        return { id, device, n: payload.n }
      })
  })
}

function byName(a: string, b: string): number {
  const [one, other] = [a, b].map((path) => path.slice(path.lastIndexOf('/') + 1))
  return (one ?? '') < (other ?? '') ? -1 : 1
}

function check(records: readonly StickRecord[], devices: readonly Qos1Device[]): void {
  const ids = new Set(records.map(({ id }) => id))
  if (ids.size !== records.length)
    throw new Error(`I4: ${records.length - ids.size} records are there twice`)
  for (const { acked, clientId } of devices) {
    const there = records.filter(({ device }) => device === clientId).map(({ n }) => n)
    const missing = acked.filter((n) => !there.includes(n))
    if (missing.length > 0)
      throw new Error(`I1: acknowledged by ${clientId}, and in no file: ${missing.join()}`)
    if (there.some((n, index) => n !== index + 1))
      throw new Error(`I2: the order is ${there.join()}`)
  }
}
