/** `sluice leave` of a real gateway under load, from outside: command, probe, devices, receiver. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { assertBalanced, GatewayProcess } from '../support/gateway-process.ts'
import { loadGateway } from '../support/loaded-gateway.ts'
import { OneNumberSink } from '../support/one-number-sink.ts'
import { reapProcesses, runProgram } from '../support/process.ts'
import type { Qos1Device } from '../support/qos1-device.ts'

let folder: string
let sink: OneNumberSink
let devices: Qos1Device[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-leave-'))
  sink = await OneNumberSink.start()
  devices = []
})

afterEach(async () => {
  for (const device of devices) await device.close()
  await reapProcesses()
  await sink.close()
  rmSync(folder, { recursive: true, force: true })
})

const names = (count: number): string[] => Array.from({ length: count }, (_, n) => `press-${n}`)

async function leave(gateway: GatewayProcess, timeout: string) {
  for (const device of devices) device.expectClose()
  const args = ['leave', '--config', gateway.configPath, '--timeout', timeout]
  return runProgram('gateway', args, { timeoutMs: 40_000 })
}

it('devices are sent away with their acks, all is delivered, and nothing is stored twice', async () => {
  const gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
  await loadGateway(gateway, devices, names(5))
  const beganMs = performance.now()
  const { exit, stdout } = await leave(gateway, '30s')
  expect(stdout).toBe(
    'the gateway has left: no device is connected, and every record is delivered\n',
  )
  expect(exit.code).toBe(0)
  expect(performance.now() - beganMs).toBeLessThan(30_000)
  const ready = await fetch(`${gateway.adminUrl}/readyz`)
  expect(ready.status).toBe(503)
  expect(await ready.json()).toMatchObject({
    reasons: ['the gateway leaves: it takes no more devices'],
  })
  const status = await gateway.status()
  expect(status).toMatchObject({ leaving: true, accepting: false, broker: { connections: 0 } })
  assertBalanced(status)
  // What was stored was acknowledged, and nothing else: a neighbor gets no repeats.
  for (const device of devices) {
    await device.close()
    expect(sink.of(device.clientId)).toEqual(device.acked)
  }
  // The second time there is nothing to do; a stop is in order.
  expect((await leave(gateway, '5s')).exit.code).toBe(0)
  expect(await gateway.stop()).toEqual({ code: 0, signal: null })
  await gateway.start()
  expect(await gateway.status()).toMatchObject({ leaving: false, accepting: true })
})

it('a receiver that is down: what is left is said with its count, and delivered once it is back', async () => {
  const gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
  sink.fault = () => ({ status: 503 })
  await loadGateway(gateway, devices, names(2))
  const { exit, stdout } = await leave(gateway, '3s')
  expect(exit.code).toBe(1)
  const pending = (await gateway.status()).streams[0]?.backlogRecords ?? 0
  expect(pending).toBeGreaterThan(500 - 1)
  const count = pending.toLocaleString('en-US')
  expect(stdout).toContain(`after 3s 0 devices connected, ${count} records not delivered`)
  expect(stdout).toContain(`${count} records of stream telemetry for sink`)
  sink.fault = null
  expect((await leave(gateway, '30s')).exit.code).toBe(0)
  expect((await gateway.status()).streams[0]?.backlogRecords).toBe(0)
})

it('a gateway that is ended while it leaves: the command says where the rest is, and it is delivered', async () => {
  const gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
  sink.fault = () => ({ status: 503 })
  await loadGateway(gateway, devices, names(2))
  const leaving = leave(gateway, '30s')
  await gateway.untilStatus('it leaves', (status) => status.leaving)
  expect(await gateway.stop()).toEqual({ code: 0, signal: null })
  const { exit, stdout } = await leaving
  expect(exit.code).toBe(1)
  expect(stdout).toContain('was ended while it left: what it had not delivered is on its disk')
  sink.fault = null
  await gateway.start()
  await gateway.untilStatus('all is delivered', ({ streams }) =>
    streams.every(({ backlogRecords }) => backlogRecords === 0),
  )
  for (const device of devices) await device.close()
})
