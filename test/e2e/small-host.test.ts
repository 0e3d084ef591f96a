/**
 * A gateway on a host that gives less than its configuration allows: fewer descriptors than there
 * are devices, and a control group with 128 MiB of memory during an outage of the sink. It lives,
 * and what it acknowledged is there (I1, I6).
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { GatewayProcess } from '../support/gateway-process.ts'
import { OneNumberSink } from '../support/one-number-sink.ts'
import {
  builtProgram,
  type RunningProcess,
  reapProcesses,
  startProcess,
} from '../support/process.ts'
import { Qos1Device } from '../support/qos1-device.ts'
import { packet } from '../support/raw-mqtt.ts'

const MIB = 1024 * 1024

let folder: string
let sink: OneNumberSink
let sockets: Socket[]
let devices: Qos1Device[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-small-host-'))
  sink = await OneNumberSink.start()
  sockets = []
  devices = []
})

afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  for (const device of devices) await device.close()
  await reapProcesses()
  await sink.close()
  rmSync(folder, { recursive: true, force: true })
})

/** `before`: what the shell does to itself before it becomes the gateway. */
async function startIn(before: string, gateway: GatewayProcess): Promise<RunningProcess> {
  const command = `${before} && exec ${process.execPath} ${builtProgram('gateway')} start --no-hint --config ${gateway.configPath}`
  const child = startProcess('/bin/bash', ['-c', command], {
    env: { UV_THREADPOOL_SIZE: '8', MALLOC_ARENA_MAX: '2' },
  })
  await child.waitForLine(/"event":"broker.started"/, 20_000)
  return child
}

test('I6: more devices than descriptors: the rest is refused and counted, store, sink and admin server go on', async () => {
  const gateway = await GatewayProcess.prepare({ folder, sinkUrl: sink.url })
  const child = await startIn('ulimit -n 400', gateway)
  const capped = await child.waitForLine(/"event":"broker.limit-capped"/)
  const { effective } = JSON.parse(capped.text) as { effective: number }
  expect(effective).toBeLessThan(200)
  const device = new Qos1Device('old')
  devices.push(device)
  await device.connect(gateway.mqttPort)
  const count = 450
  for (let i = 0; i < count; i++) {
    const socket = connect(gateway.mqttPort, '127.0.0.1')
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.write(packet.connect({ clientId: `device-${i}`, keepAlive: 600 }))
  }
  while (sockets.filter(({ closed }) => closed).length < count - effective) await sleep(10)
  device.begin()
  while (device.acked.length < 500) {
    device.check()
    await sleep(10)
  }
  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text()
  const counted =
    /^sluice_broker_connections_refused_total\{reason="too-many-connections"\} (\d+)$/m.exec(
      metrics,
    )
  expect(Number(counted?.[1])).toBeGreaterThanOrEqual(count + 1 - effective)
  await device.close()
  const status = await gateway.untilStatus(
    'all delivered',
    ({ streams }) => streams[0]?.counters.pending === 0,
  )
  expect(status.streams[0]?.counters.delivered).toBeGreaterThanOrEqual(device.acked.length)
  expect(child.lines.filter(({ text }) => text.includes('EMFILE'))).toEqual([])
})

test('I6: 128 MiB of memory, an outage, and 40 devices with readings of 20 KB: it lives, and nothing is lost', async (context) => {
  const group = memoryGroup()
  if (group === null) {
    context.skip('skipped: no control group of memory (version 1) can be made here')
    return
  }
  try {
    const gateway = await GatewayProcess.prepare({ folder, sinkUrl: 'http://127.0.0.1:9/ingest' })
    const child = await startIn(`echo $$ >${group}/cgroup.procs`, gateway)
    await child.waitForLine(/"event":"broker.limit-capped".*maxUnackedBytesTotal/)
    for (let i = 0; i < 40; i++) {
      const device = new Qos1Device(`device-${i}`, { window: 50, textBytes: 20_000 })
      devices.push(device)
      await device.connect(gateway.mqttPort)
      device.begin()
    }
    let peak = 0
    const acked = (): number => devices.reduce((sum, device) => sum + device.acked.length, 0)
    while (acked() < 2_500) {
      for (const device of devices) device.check()
      peak = Math.max(peak, anonymousBytes(child))
      await sleep(20)
    }
    expect(child.exit).toBeNull()
    // What the kernel cannot take back from it, well below the limit.
    expect(peak).toBeLessThan(115 * MIB)
    expect(peak).toBeGreaterThan(30 * MIB)
    for (const device of devices) await device.close()
    const status = await gateway.status()
    expect(status.streams[0]?.counters.pending).toBeGreaterThanOrEqual(acked())
  } finally {
    await reapProcesses()
    rmdirSync(group)
  }
})

function anonymousBytes({ pid }: RunningProcess): number {
  const match = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  assert(match, 'the gateway is gone: the kernel ended it')
  return Number(match[1]) * 1024
}

/** A folder with the limit set; null: not here, or not for this user. */
function memoryGroup(): string | null {
  const path = `/sys/fs/cgroup/memory/sluice-test-${process.pid}`
  try {
    mkdirSync(path)
    writeFileSync(join(path, 'memory.limit_in_bytes'), String(128 * MIB))
    return path
  } catch {
    return null
  }
}
