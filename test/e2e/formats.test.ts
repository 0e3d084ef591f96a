/**
 * Each format of the http sink end to end: a fleet, one built gateway with a stream and a sink for
 * each format, reference clouds that take bodies of that format, and the fleet's ledger held against
 * what each of them stored. The clouds lose an answer: what comes again is no second record.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cloud } from '../../device-sim/cloud/cloud.ts'
import { FORM_NAMES, type FormName } from '../../device-sim/cloud/forms/registry.ts'
import { GatewayProcess } from '../../device-sim/demo/gateway-process.ts'
import { readLedger } from '../../device-sim/ledger/ledger.ts'
import { verifyStore } from '../../device-sim/ledger/verify-store.ts'
import { builtProgram, reapProcesses, runProgram } from '../support/process.ts'

interface Receiver {
  readonly path?: string
  readonly format?: Readonly<Record<string, unknown>>
}

/** Where a form wants more than its default. */
const RECEIVERS: Partial<Readonly<Record<FormName, Receiver>>> = {
  template: {
    format: {
      text: '{"id":"${id}","device":"${device}","topic":"${topic}","data":${payload}}',
    },
  },
  influx: {
    path: '/api/v2/write?precision=ns',
    format: { tags: { id: '${id}', device: '${device}', payload: 'json:${payload}' } },
  },
  'es-bulk': { path: '/_bulk' },
}

const ARRIVAL_MS = 20_000
const POLL_MS = 20
const LEAST_READINGS = 20

const clouds = new Map<FormName, Cloud>()
let folder: string
let gateway: GatewayProcess
let acked = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-formats-'))
  for (const kind of FORM_NAMES) {
    const dir = join(folder, kind)
    const faults = [{ kind: 'lost-answer', count: 1 }] as const
    clouds.set(kind, await Cloud.start({ dir, form: kind, sync: false, faults }))
  }
  const entries = [...clouds].map(([kind, cloud]) => {
    const { path = '/ingest', format = {} } = RECEIVERS[kind] ?? {}
    const url = new URL(path, cloud.url).href
    return [kind, { url, timeout: '5s', linger: '100ms', format: { kind, ...format } }] as const
  })
  const streams = FORM_NAMES.map((kind) => [kind, { topics: ['#'], sink: kind }] as const)
  gateway = await GatewayProcess.prepare({
    folder,
    sinkUrl: '',
    program: builtProgram('gateway'),
    sections: { sinks: Object.fromEntries(entries), streams: Object.fromEntries(streams) },
  })
  gateway.start()
  expect(await gateway.ready(ARRIVAL_MS), gateway.logTail(20)).toBe(true)
  const ran = await runProgram('device-sim', [
    'run',
    `--url=${gateway.mqttUrl}`,
    '--devices=6',
    '--rate=60',
    '--seconds=1',
    '--qos=0:1:1',
    '--ramp=0.1',
    `--ledger=${join(folder, 'run.ndjson')}`,
    '--json',
  ])
  expect(ran.exit.code, `${ran.stderr}\n${gateway.logTail(20)}`).toBe(0)
  const report = JSON.parse(ran.stdout) as { readonly acked: readonly number[] }
  acked = report.acked.reduce((sum, n) => sum + n, 0)
}, 60_000)

afterAll(async () => {
  await gateway.stop()
  await reapProcesses()
  for (const cloud of clouds.values()) await cloud.close()
  rmSync(folder, { recursive: true, force: true })
})

test.each(FORM_NAMES)('every acknowledged reading arrives once, in order, by %s', async (kind) => {
  expect(acked).toBeGreaterThan(LEAST_READINGS)
  const cloud = clouds.get(kind)
  const endMs = performance.now() + ARRIVAL_MS
  while ((cloud?.stats.records ?? 0) < acked && performance.now() < endMs) await sleep(POLL_MS)
  const stats = cloud?.stats
  expect(stats?.violationExamples, gateway.logTail(20)).toEqual([])
  expect(stats?.faults['lost-answer']).toBe(1)
  expect(stats?.repeats, 'what was stored without an answer came again').toBeGreaterThan(0)
  const ledger = await readLedger(join(folder, 'run.ndjson'))
  const verdict = await verifyStore(ledger, join(folder, kind))
  expect(verdict.examples).toEqual([])
  expect(verdict).toMatchObject({ ok: true, storedLines: acked, lost: 0, duplicated: 0 })
})
