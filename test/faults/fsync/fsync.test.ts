/** A disk whose fsync is slow or fails, under a real gateway (fault 5), with real timers. */

import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect } from 'vitest'
import { reapProcesses } from '../../support/process.ts'
import { testWithTool } from '../../support/tool-tests.ts'
import { ACKS_AGAIN_MS, SyncBench } from './sync-bench.ts'

const TIMEOUT_MS = 60_000
const KEEPALIVE_SECONDS = 1
/**
 * Five times as long as a device with that keepalive may be silent would be too long for a test;
 * three will do.
 */
const STALL_MS = 5_500

afterAll(reapProcesses)

describe.concurrent('fsync', () => {
  testWithTool(
    'gcc',
    'I1: while it stalls acks are withheld, devices stay connected over keepalives, and status says so',
    async () => {
      await SyncBench.run(async (bench) => {
        const { gateway, fault } = bench
        const quiet = await bench.device('quiet', KEEPALIVE_SECONDS)
        const busy = await bench.device('busy', KEEPALIVE_SECONDS)
        quiet.publish(1)
        await quiet.untilAcked()
        expect((await gateway.status()).accepting).toBe(true)

        fault.set('stall')
        quiet.publish(3)
        // More than the gate takes or holds back: it stops reading there, pings included.
        busy.publish(3_000)
        await sleep(STALL_MS)
        expect(fault.hits, 'the fault fired').toBeGreaterThan(0)
        expect(quiet.acked).toEqual([1])
        expect(busy.acked).toEqual([])
        expect(quiet.isConnected && busy.isConnected).toBe(true)
        expect(quiet.pongs).toBeGreaterThan(STALL_MS / 1000 / KEEPALIVE_SECONDS)
        const stalled = await gateway.status()
        expect(stalled).toMatchObject({ accepting: false, spool: { state: 'storage-failed' } })
        expect(stalled.spool.why).toContain('the disk does not answer')
        expect((await fetch(`${gateway.adminUrl}/readyz`)).status).toBe(503)
        expect((await fetch(`${gateway.adminUrl}/livez`)).status).toBe(200)
        const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text()
        expect(metrics).toContain('sluice_spool_state{state="storage-failed"} 1')

        fault.clear()
        await quiet.untilAcked(ACKS_AGAIN_MS)
        await busy.untilAcked()
        expect((await gateway.status()).spool.state).toBe('ok')
        expect(gateway.countOf('spool.write-failed'), 'slow is not broken').toBe(0)
        await bench.untilAllDelivered()
      })
    },
    TIMEOUT_MS,
  )

  for (const [what, suffix] of [
    ['of the log', '.log'],
    ['of any file', ''],
  ] as const) {
    testWithTool(
      'gcc',
      `I1: one that fails once (${what}) ends the handle; the success after it proves nothing, the reopening does`,
      async () => {
        await SyncBench.run(async (bench) => {
          const { gateway, fault } = bench
          bench.sinkDown()
          const device = await bench.device('press-1', 0)
          device.publish(200)
          await device.untilAcked()
          fault.set('eio-once', suffix)
          device.publish(200)
          const failed = await gateway.event('spool.write-failed')
          expect(failed['code']).toBe('EIO')
          expect(fault.hits).toBe(1)
          await gateway.event('spool.recovered')
          await device.untilAcked(ACKS_AGAIN_MS)
          device.publish(200)
          await device.untilAcked()
          const status = await gateway.status()
          expect(status.spool).toMatchObject({ state: 'ok', commitFailures: 1, damage: [] })
          expect((await gateway.event('spool.recovered'))['renumberedRecords'], 'no doubles').toBe(
            0,
          )
          await bench.killAndRestart()
          await bench.untilAllDelivered()
          expect(bench.sink.count).toBe(600)
        })
      },
      TIMEOUT_MS,
    )
  }

  testWithTool(
    'gcc',
    'I1, I7: one that fails for ever: acks are withheld, the process lives, a start waits and repairs nothing',
    async () => {
      await SyncBench.run(async (bench) => {
        const { gateway, fault } = bench
        bench.sinkDown()
        const device = await bench.device('press-1', KEEPALIVE_SECONDS)
        device.publish(200)
        await device.untilAcked()
        fault.set('eio')
        device.publish(200)
        await gateway.event('spool.storage-failed')
        const failed = await gateway.status()
        expect(failed).toMatchObject({ accepting: false, spool: { state: 'storage-failed' } })
        expect(failed.spool.why).toContain('acks are withheld')
        expect((await fetch(`${gateway.adminUrl}/livez`)).status).toBe(200)
        await sleep(2_000)
        expect(device.acked).toHaveLength(200)
        expect(device.isConnected).toBe(true)

        device.expectClose()
        await gateway.kill()
        gateway.launch()
        await gateway.event('spool.storage-failed')
        const { hits } = fault
        fault.clear()
        await gateway.event('broker.started', ACKS_AGAIN_MS)
        expect(hits).toBeGreaterThan(2)
        expect((await gateway.status()).spool).toMatchObject({ state: 'ok', damage: [] })
        const later = await bench.device('press-2', 0)
        later.publish(10)
        await later.untilAcked()
        await bench.untilAllDelivered()
      })
    },
    TIMEOUT_MS,
  )
})
