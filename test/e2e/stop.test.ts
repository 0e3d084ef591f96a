/**
 * How a gateway ends, from outside: in order, at once, by SIGKILL, and not at all when somebody
 * else has the folder. Nothing that was acknowledged is lost in any of them (I1), and the next
 * start goes on from there.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Random } from '../../device-sim/random.ts'
import { preloadedDisk } from '../support/faulty-disk.ts'
import { assertBalanced, GatewayProcess } from '../support/gateway-process.ts'
import { loadGateway, untilAcked } from '../support/loaded-gateway.ts'
import { OneNumberSink } from '../support/one-number-sink.ts'
import { reapProcesses } from '../support/process.ts'
import type { Qos1Device } from '../support/qos1-device.ts'
import { SEED } from '../support/seed.ts'

let folder: string
let sink: OneNumberSink
let devices: Qos1Device[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-stop-'))
  sink = await OneNumberSink.start()
  devices = []
})

afterEach(async () => {
  for (const device of devices) await device.close()
  await reapProcesses()
  await sink.close()
  rmSync(folder, { recursive: true, force: true })
})

function expectClose(): void {
  for (const device of devices) device.expectClose()
}

/** Of the sink, when nothing is pending: all that was acknowledged, once and in order. */
async function expectAllDelivered(gateway: GatewayProcess): Promise<void> {
  const status = await gateway.untilStatus(
    'nothing is pending',
    ({ streams }) => streams[0]?.counters.pending === 0,
    30_000,
  )
  assertBalanced(status)
  expect(status.streams[0]?.counters).toMatchObject({ received: sink.count, delivered: sink.count })
  for (const device of devices) {
    const stored = sink.of(device.clientId)
    expect(stored).toEqual([...new Set(stored)].toSorted((a, b) => a - b))
    expect(stored).toEqual(expect.arrayContaining(device.acked))
  }
}

it('I1: SIGTERM under load: the acks of all that was taken leave, and the next start finds a clean spool without a gap', async () => {
  const gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
  await loadGateway(gateway, devices, ['press-1', 'press-2', 'press-3'])
  expectClose()
  const exit = await gateway.stop()
  expect(exit).toEqual({ code: 0, signal: null })
  expect(existsSync(join(gateway.dataDir, 'clean-stop'))).toBe(true)
  const stopped = await gateway.event('broker.stopped')
  expect(stopped['unacked']).toBe(0)
  for (const device of devices) await device.close()

  await gateway.start()
  expect((await gateway.event('spool.opened'))['clean']).toBe(true)
  await expectAllDelivered(gateway)
  // What was stored was acknowledged, and nothing else: no device has to send anything again.
  for (const device of devices) expect(sink.of(device.clientId)).toEqual(device.acked)
  const seqs = sink.readings.map(({ seq }) => seq)
  expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, i) => i + 1))
  await loadGateway(gateway, devices, ['press-4'])
  const status = await gateway.status()
  expect(status.streams[0]?.nextSeq, 'numbers go on where they ended').toBeLessThan(
    seqs.length + 5_000,
  )
})

it('I4: a request in progress has until the deadline, and is sent again with the same bytes by the next start', async () => {
  const gateway = await GatewayProcess.start({
    folder,
    sinkUrl: sink.url,
    sink: { timeout: '30s' },
    sections: { gateway: { stopTimeout: '2s' } },
  })
  sink.fault = () => ({ halfOpen: true })
  await loadGateway(gateway, devices, ['press-1'])
  await sink.http.waitForRequests(1)
  expectClose()
  const beganMs = performance.now()
  expect(await gateway.stop()).toEqual({ code: 0, signal: null })
  expect(performance.now() - beganMs).toBeGreaterThan(1_000)
  sink.fault = null
  await gateway.start()
  expect((await gateway.event('spool.opened'))['clean']).toBe(true)
  await expectAllDelivered(gateway)
  const [cut, again] = sink.http.requests
  expect(again?.headers['idempotency-key']).toBe(cut?.headers['idempotency-key'])
  expect(again?.rawBody.equals(cut?.rawBody ?? Buffer.alloc(0))).toBe(true)
})

it('I1: a second SIGTERM ends it at once, with nothing lost', async () => {
  const gateway = await GatewayProcess.start({
    folder,
    sinkUrl: sink.url,
    sink: { timeout: '30s' },
  })
  sink.fault = () => ({ halfOpen: true })
  await loadGateway(gateway, devices, ['press-1', 'press-2'])
  expectClose()
  gateway.process.kill('SIGTERM')
  await gateway.process.waitForLine('sluice: stopping')
  const beganMs = performance.now()
  gateway.process.kill('SIGTERM')
  expect(await gateway.process.waitForExit(5_000)).toEqual({ code: 1, signal: null })
  expect(performance.now() - beganMs).toBeLessThan(2_000)
  expect(gateway.process.stderr).toContain('stopped at once (second signal)')
  sink.fault = null
  await gateway.start()
  expect((await gateway.event('spool.opened'))['clean']).toBe(false)
  await expectAllDelivered(gateway)
})

it('I1: the deadline ends it where the disk lets nothing be finished', async (context) => {
  const disk = preloadedDisk()
  if (disk === null) {
    context.skip('needs gcc')
    return
  }
  try {
    const gateway = await GatewayProcess.start({
      folder,
      dataDir: disk.dataDir,
      env: disk.env,
      sinkUrl: sink.url,
      sections: { gateway: { stopTimeout: '2s' } },
    })
    await loadGateway(gateway, devices, ['press-1'])
    disk.fault('write-eio')
    await gateway.event('spool.storage-failed')
    expectClose()
    const beganMs = performance.now()
    expect(await gateway.stop()).toEqual({ code: 1, signal: null })
    expect(performance.now() - beganMs).toBeLessThan(4_000)
    expect(gateway.process.stderr).toContain('stopped at once (gateway.stopTimeout is over)')
    disk.free()
    await gateway.start()
    await expectAllDelivered(gateway)
  } finally {
    await reapProcesses()
    disk.remove()
  }
})

it('a second process on the same folder says whom it met and ends; the first one goes on', async () => {
  const gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
  await loadGateway(gateway, devices, ['press-1'])
  const other = mkdtempSync(join(tmpdir(), 'sluice-stop-'))
  try {
    const second = await GatewayProcess.prepare({
      folder: other,
      dataDir: gateway.dataDir,
      sinkUrl: sink.url,
    })
    const exit = await second.launch().waitForExit(10_000)
    expect(exit.code).toBe(1)
    expect(second.process.stderr).toContain(`in use by process ${gateway.process.pid}`)
    expect(second.process.stderr).toContain(gateway.dataDir)
  } finally {
    rmSync(other, { recursive: true })
  }
  await untilAcked(devices, 100)
  expectClose()
  expect((await gateway.stop()).code).toBe(0)
})

it(`I1, I7: SIGKILL and start at once, over and over, in the middle of starts, too (SLUICE_SEED=${SEED})`, async () => {
  const random = new Random(SEED)
  const gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
  sink.fault = () => ({ status: 503 })
  await loadGateway(gateway, devices, ['press-1'])
  expectClose()
  for (let round = 0; round < 8; round++) {
    await gateway.kill()
    gateway.launch()
    // A start takes some 400 ms.
    await sleep(random.below(500))
  }
  await gateway.kill()
  sink.fault = null
  await gateway.start()
  const { spool } = await gateway.status()
  expect(spool.damage).toEqual([])
  await expectAllDelivered(gateway)
})
