/**
 * I1 and I6 on a disk that is really full (or really broken), under a real gateway process: ingest
 * stops, nothing is acknowledged that is not safe, delivery and deletion go on, and all of it comes
 * back by itself.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { type FaultyDisk, preloadedDisk, smallDisk } from '../../support/faulty-disk.ts'
import { ACKS_AGAIN_MS, DiskBench } from './disk-bench.ts'

const MIB = 1024 * 1024
const DISK_BYTES = 96 * MIB
const TIMEOUT_MS = 90_000

/**
 * A test on such a disk under a gateway; skipped where `disk` gives null, because the machine
 * allows none.
 */
function itOnDisk<D extends FaultyDisk>(
  title: string,
  disk: () => D | null,
  use: (bench: DiskBench<D>) => Promise<void>,
  options: Parameters<typeof DiskBench.run>[2] = {},
): void {
  it(
    title,
    async (context) => {
      const made = disk()
      if (made === null) context.skip('needs the right to mount, or gcc')
      else await DiskBench.run(made, use, options)
    },
    TIMEOUT_MS,
  )
}

describe.concurrent('a full disk', () => {
  itOnDisk(
    'I1, I6: LevelDB meets the limit: acks stop and come back, delivery goes on, nothing is lost at the next opening',
    () => smallDisk(DISK_BYTES),
    async (bench) => {
      const { disk, gateway, sink } = bench
      const device = await bench.device('press-1')
      await sink.until(500)
      // A backlog that is to leave while the disk is full.
      bench.sinkDown()
      await bench.acked(device, 2_000)
      await bench.fillUntilAWriteFails(device)
      const failed = await gateway.event('spool.write-failed')
      expect(failed['code']).toBe('ENOSPC')
      await bench.untilAcksStop(device, 1_500)
      const acked = device.acked.length
      const full = await gateway.status()
      expect(full.spool.state).toBe('read-only')
      expect(full.spool.why).toContain('of the disk are free')
      expect(full.accepting).toBe(false)
      expect((await fetch(`${gateway.adminUrl}/readyz`)).status).toBe(503)
      expect((await fetch(`${gateway.adminUrl}/livez`)).status).toBe(200)

      bench.sinkUp()
      expect((await bench.untilDrained()).spool.state).toBe('read-only')
      bench.expectNothingLost()
      expect(device.acked.length, 'acks are withheld all the while').toBe(acked)
      device.check()

      disk.free()
      await bench.acked(device, 1, ACKS_AGAIN_MS)
      await bench.expectNothingLostAtTheNextOpening(device)
    },
  )

  itOnDisk(
    'I1, I6: the process lives through it again and again, and does not open ingest for the ballast alone',
    () => smallDisk(DISK_BYTES),
    async (bench) => {
      const { disk, gateway } = bench
      const device = await bench.device('press-1')
      for (let round = 1; round <= 2; round++) {
        await bench.acked(device, 500, ACKS_AGAIN_MS)
        await bench.fillUntilAWriteFails(device)
        await bench.untilAcksStop(device, 300)
        // Room for the ballast and nothing beside it: ingest would have to close at once again.
        disk.fillForGood(32 * MIB + MIB / 2)
        // The guard looks every second.
        await sleep(1_200)
        expect((await gateway.status()).spool.state).toBe('read-only')
        disk.free()
        await bench.acked(device, 1, ACKS_AGAIN_MS)
      }
      await bench.expectNothingLostAtTheNextOpening(device)
    },
  )

  itOnDisk(
    'I1, I6: tables find no room where the log still does',
    () => preloadedDisk(),
    async (bench) => {
      const { disk, gateway } = bench
      const device = await bench.device('press-1')
      await bench.acked(device, 100)
      disk.fault('tables-full')
      const failed = await gateway.event('spool.write-failed', 30_000)
      expect(failed['code']).toBe('ENOSPC')
      expect(failed['detail']).toContain('.ldb')
      await bench.untilAcksStop(device, 500)
      disk.free()
      await bench.acked(device, 1, ACKS_AGAIN_MS)
      await bench.expectNothingLostAtTheNextOpening(device)
    },
  )

  itOnDisk(
    'I6: not even the ballast helps: the process stays up, and acks come back within 10 s',
    () => smallDisk(DISK_BYTES),
    async (bench) => {
      const { disk, gateway } = bench
      const device = await bench.device('press-1')
      bench.sinkDown()
      await bench.acked(device, 500)
      disk.fillForGood()
      bench.sinkUp()
      await gateway.event('spool.storage-failed', 20_000)
      const failed = await gateway.status()
      expect(failed.spool.state).toBe('storage-failed')
      expect(failed.accepting).toBe(false)
      expect((await fetch(`${gateway.adminUrl}/livez`)).status).toBe(200)
      await bench.untilAcksStop(device, 500)
      disk.free()
      await bench.acked(device, 1, ACKS_AGAIN_MS)
      await bench.expectAllAcknowledgedAndDelivered(device)
    },
    // Many small commits of the drain, which go on when ingest is closed.
    { maxBatchRecords: 10 },
  )

  itOnDisk(
    'I6: the default guard closes ingest before the disk is full, and no write ever fails',
    () => smallDisk(400 * MIB),
    async (bench) => {
      const { disk, gateway, sink } = bench
      const device = await bench.device('press-1')
      await sink.until(500)
      bench.sinkDown()
      await bench.acked(device, 1_000)
      disk.fill(240 * MIB)
      const low = await gateway.event('spool.disk-low')
      expect(low['minFreeBytes']).toBe(256 * MIB)
      await bench.untilAcksStop(device, 500)
      const acked = device.acked.length
      const { spool } = await gateway.status()
      expect(spool.state).toBe('read-only')
      expect(spool.why).toContain('minFreeBytes')
      bench.sinkUp()
      await bench.untilDrained()
      expect(device.acked.length).toBe(acked)
      disk.free()
      await gateway.event('spool.disk-ok')
      await bench.acked(device, 1, ACKS_AGAIN_MS)
      expect(gateway.countOf('spool.write-failed')).toBe(0)
      await bench.expectAllAcknowledgedAndDelivered(device)
    },
    { minFreeBytes: '256MiB' },
  )
})

describe.concurrent('a start on a full disk', () => {
  itOnDisk(
    'I6, I7: gives up the ballast, delivers, and opens ingest when there is room',
    () => smallDisk(DISK_BYTES),
    async (bench) => {
      const { disk, gateway } = bench
      const device = await bench.device('press-1')
      bench.sinkDown()
      await bench.acked(device, 2_000)
      await bench.kill(device)
      disk.fill()
      bench.sinkUp()
      await gateway.start()
      expect((await gateway.event('spool.opened'))['clean']).toBe(false)
      const later = await bench.device('press-2')
      const drained = await bench.untilDrained()
      expect(drained.spool).toMatchObject({ state: 'read-only', damage: [] })
      bench.expectNothingLost()
      expect(later.acked).toEqual([])
      disk.free()
      await bench.acked(later, 1, ACKS_AGAIN_MS)
      await bench.expectAllAcknowledgedAndDelivered(later)
    },
  )

  itOnDisk(
    'I6, I7: waits for room where it cannot open the spool, and takes nothing for damage',
    () => smallDisk(DISK_BYTES),
    async (bench) => {
      const { disk, gateway } = bench
      const device = await bench.device('press-1')
      bench.sinkDown()
      await bench.acked(device, 2_000)
      await bench.kill(device)
      // An earlier run has given up the ballast, and somebody else has taken its room.
      rmSync(join(disk.dataDir, 'ballast'))
      if (disk.kind === 'mounted') disk.fill()
      else disk.fillForGood()
      gateway.launch()
      const failed = await gateway.event('spool.storage-failed', 20_000)
      expect(failed['detail']).toMatch(/no space left/i)
      disk.free()
      bench.sinkUp()
      await gateway.event('broker.started', ACKS_AGAIN_MS)
      expect((await gateway.status()).spool.damage).toEqual([])
      await bench.expectAllDelivered()
    },
  )
})

describe.concurrent('a broken disk', () => {
  for (const fault of ['write-eio', 'sync-eio'] as const) {
    itOnDisk(
      `I1: ${fault}: acknowledges nothing, stays up, goes on by itself, and loses nothing at the next opening`,
      () => preloadedDisk(),
      async (bench) => {
        const { disk, gateway, sink } = bench
        const device = await bench.device('press-1')
        await sink.until(500)
        bench.sinkDown()
        disk.fault(fault)
        const failed = await gateway.event('spool.write-failed')
        expect(failed['code']).toBe('EIO')
        expect(disk.hits).toBeGreaterThan(0)
        await gateway.event('spool.storage-failed', 20_000)
        await bench.untilAcksStop(device, 500)
        expect((await gateway.status()).spool.state).toBe('storage-failed')
        disk.free()
        await bench.acked(device, 1, ACKS_AGAIN_MS)
        await bench.expectNothingLostAtTheNextOpening(device)
      },
    )
  }
})
