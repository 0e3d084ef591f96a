/** The table of devices: what is remembered, for how long, of how many, and how it is shown. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { DeviceQuery, DeviceRow } from '../../gateway/ports/devices.ts'
import { DevicesBench } from './bench.ts'

let folder: string
let bench: DevicesBench

beforeEach(async () => {
  // The bench says when a second is over.
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  folder = mkdtempSync(join(tmpdir(), 'sluice-devices-'))
  bench = new DevicesBench(join(folder, 'devices'))
  await bench.open()
})
afterEach(async () => {
  await bench.devices.close()
  vi.useRealTimers()
  rmSync(folder, { recursive: true, force: true })
})

const ALL: DeviceQuery = { search: '', sort: 'lastSeen', silent: false, limit: 1_000, after: null }

function row(id: string): DeviceRow | undefined {
  return bench.devices.list(ALL).devices.find((device) => device.id === id)
}

function ids(query: Partial<DeviceQuery> = {}): string[] {
  return bench.devices.list({ ...ALL, ...query }).devices.map(({ id }) => id)
}

describe('what is remembered of a device', () => {
  test('its connection, its messages and its last topic, once the second is over', () => {
    const cameAtMs = bench.clock.wallMs()
    const track = bench.devices.connected('plc-1')
    bench.publish(track, 'q/a', 3)
    bench.publish(track, 'q/b', 2)
    expect(row('plc-1')).toMatchObject({ connected: true, messages: 0, lastTopic: null })
    bench.pass(1)
    expect(row('plc-1')).toEqual({
      id: 'plc-1',
      connected: true,
      firstSeenAtMs: cameAtMs,
      lastSeenAtMs: cameAtMs + 1_000,
      messagesPerMinute: 5,
      messages: 5,
      lastTopic: 'q/b',
      lastRefusal: null,
      silentSinceMs: null,
    })
  })

  test('a rate that steady messages reach, and that fades when they end', () => {
    const track = bench.devices.connected('plc-1')
    for (let n = 0; n < 300; n += 1) {
      bench.publish(track, 'q/a', 2)
      bench.pass(1)
    }
    expect(row('plc-1')?.messagesPerMinute).toBeCloseTo(120, -0.5)
    bench.pass(300)
    expect(row('plc-1')?.messagesPerMinute).toBeLessThan(1)
  })

  test('a taken-over connection leaves it connected; the end of the last one is when it was seen', () => {
    const first = bench.devices.connected('plc-1')
    const second = bench.devices.connected('plc-1')
    first.ended()
    expect(row('plc-1')?.connected).toBe(true)
    bench.pass(7)
    second.ended()
    expect(row('plc-1')).toMatchObject({ connected: false, lastSeenAtMs: bench.clock.wallMs() })
    expect(bench.devices.stats).toMatchObject({ count: 1, connected: 0 })
  })

  test('what was refused last, with its words cut; it is not seen by that', () => {
    bench.devices.connected('plc-1').ended()
    const seenAtMs = bench.clock.wallMs()
    bench.pass(5)
    bench.devices.refused('plc-1', 'forbidden-topic', 'x'.repeat(1_000))
    expect(row('plc-1')).toMatchObject({
      lastSeenAtMs: seenAtMs,
      lastRefusal: {
        reason: 'forbidden-topic',
        detail: 'x'.repeat(256),
        atMs: bench.clock.wallMs(),
      },
    })
  })

  test('long topics are cut, ids of more than 512 characters left out', () => {
    const track = bench.devices.connected('plc-1')
    bench.publish(track, `q/${'x'.repeat(2_000)}`)
    const long = bench.devices.connected('y'.repeat(513))
    bench.publish(long, 'q/a')
    bench.devices.refused('y'.repeat(513), 'bad-credentials', '')
    bench.pass(1)
    long.ended()
    expect(row('plc-1')?.lastTopic).toHaveLength(256)
    expect(ids()).toEqual(['plc-1'])
  })
})

describe('I6: bounds', () => {
  beforeEach(async () => {
    await bench.devices.close()
    bench = new DevicesBench(join(folder, 'small'), 10)
    await bench.open()
  })

  function come(id: string): void {
    bench.devices.connected(id).ended()
    bench.clock.advance(10)
  }

  test('the one seen longest ago gives way, counted', () => {
    for (let n = 0; n < 10; n += 1) come(`plc-${n}`)
    come('plc-0')
    come('plc-10')
    come('plc-11')
    expect(ids().toSorted()).not.toContain('plc-1')
    expect(ids()).not.toContain('plc-2')
    expect(ids()).toContain('plc-0')
    expect(bench.devices.stats).toMatchObject({ count: 10, evicted: 2 })
  })

  test('of those found together, one that was seen since stays', async () => {
    await bench.devices.close()
    bench = new DevicesBench(join(folder, 'large'), 300)
    await bench.open()
    for (let n = 0; n < 301; n += 1) come(`plc-${n}`)
    come('plc-1')
    come('plc-301')
    expect(ids()).not.toContain('plc-2')
    expect(ids()).toContain('plc-1')
  })

  test('whatever the wall clock did', () => {
    for (let n = 0; n < 10; n += 1) {
      come(`plc-${n}`)
      bench.clock.setWall(bench.clock.wallMs() - 86_400_000)
    }
    come('plc-10')
    expect(ids()).not.toContain('plc-0')
    expect(ids()).toContain('plc-9')
  })

  test('a connected one that gave way is back with its next message', () => {
    const track = bench.devices.connected('quiet-1')
    for (let n = 0; n < 10; n += 1) {
      bench.clock.advance(10)
      come(`plc-${n}`)
    }
    expect(ids()).not.toContain('quiet-1')
    bench.publish(track, 'q/a')
    bench.pass(1)
    expect(row('quiet-1')).toMatchObject({ connected: true, messages: 1 })
    expect(bench.devices.stats.count).toBe(10)
  })

  test('clients that were never let in are few, and push nobody out', () => {
    for (let n = 0; n < 10; n += 1) come(`plc-${n}`)
    for (let n = 0; n < 1_000; n += 1) bench.devices.refused(`x-${n}`, 'bad-credentials', '')
    expect(ids().filter((id) => id.startsWith('plc-'))).toHaveLength(10)
    expect(ids().filter((id) => id.startsWith('x-'))).toEqual(['x-999'])
    expect(bench.devices.stats).toMatchObject({ count: 10, evicted: 0 })
  })

  test('one that is let in later is a device with what was refused of it', () => {
    bench.devices.refused('plc-1', 'bad-credentials', 'wrong password')
    come('plc-1')
    expect(ids()).toEqual(['plc-1'])
    expect(row('plc-1')?.lastRefusal).toMatchObject({ reason: 'bad-credentials' })
  })
})

describe('a page', () => {
  beforeEach(() => {
    for (const [n, id] of ['b-2', 'A-1', 'b-1', 'c-1'].entries()) {
      const track = bench.devices.connected(id)
      bench.publish(track, 'q/a', [5, 20, 1, 7][n])
      bench.pass(1)
    }
  })

  test('is sorted by when they were seen, by name, by rate', () => {
    expect(ids()).toEqual(['c-1', 'b-1', 'A-1', 'b-2'])
    expect(ids({ sort: 'name' })).toEqual(['A-1', 'b-1', 'b-2', 'c-1'])
    expect(ids({ sort: 'rate' })).toEqual(['A-1', 'c-1', 'b-2', 'b-1'])
  })

  test('finds a part of the id, whatever its case, and says how many there are', () => {
    expect(ids({ search: 'a-' })).toEqual(['A-1'])
    expect(bench.devices.list({ ...ALL, search: '-1', limit: 1 })).toMatchObject({ total: 3 })
  })

  test.each(['lastSeen', 'name', 'rate'] as const)('by %s: pages show each once', (sort) => {
    const found: string[] = []
    let after: string | null = null
    do {
      const page = bench.devices.list({ ...ALL, sort, limit: 1, after })
      found.push(...page.devices.map(({ id }) => id))
      after = page.next
    } while (after !== null)
    expect(found).toEqual(ids({ sort }))
  })

  test('an "after" that is none is refused', () => {
    for (const after of ['', 'x', ':b-1', 'b:1'])
      expect(() => bench.devices.list({ ...ALL, after })).toThrow(TypeError)
  })
})

describe('over a restart', () => {
  test('a stop keeps everything but who is connected', async () => {
    bench.publish(bench.devices.connected('plc-1'), 'q/a', 3)
    bench.devices.refused('plc-1', 'unrouted', 'nothing takes x')
    await bench.devices.close()
    const before = row('plc-1')
    await bench.open()
    expect(row('plc-1')).toEqual({ ...before, connected: false, messagesPerMinute: 0 })
  })

  test('a kill takes at most the last minute', async () => {
    const track = bench.devices.connected('plc-1')
    bench.publish(track, 'q/a')
    bench.pass(60)
    await expect.poll(() => existsSync(bench.path)).toBe(true)
    bench.publish(track, 'q/a', 100)
    bench.devices.connected('plc-2')
    bench.pass(59)
    await bench.kill()
    expect(ids()).toEqual(['plc-1'])
    expect(row('plc-1')).toMatchObject({ messages: 1 })
  })

  test('nothing is written while nothing changes', async () => {
    bench.devices.connected('plc-1')
    bench.pass(60)
    await expect.poll(() => existsSync(bench.path)).toBe(true)
    rmSync(bench.path)
    bench.pass(600)
    await bench.devices.close()
    expect(() => readFileSync(bench.path)).toThrow('ENOENT')
  })

  test('of a smaller table those seen last are kept', async () => {
    for (let n = 0; n < 20; n += 1) {
      bench.devices.connected(`plc-${n}`)
      bench.pass(1)
    }
    await bench.devices.close()
    bench = new DevicesBench(bench.path, 5)
    await bench.open()
    expect(ids()).toEqual(['plc-19', 'plc-18', 'plc-17', 'plc-16', 'plc-15'])
  })

  test('I7: a file that is damaged at any byte is discarded or read whole, and never in the way', async () => {
    bench.publish(bench.devices.connected('plc-1'), 'q/a')
    await bench.devices.close()
    const whole = readFileSync(bench.path)
    for (let at = 0; at < whole.length; at += 1) {
      const damaged = Buffer.from(whole)
      damaged[at] = (damaged[at] ?? 0) ^ 0xff
      for (const bytes of [damaged, whole.subarray(0, at)]) {
        writeFileSync(bench.path, bytes)
        bench.events.length = 0
        await bench.open()
        const isDiscarded = bench.events.some(({ type }) => type === 'devices.table-discarded')
        expect(ids()).toEqual(isDiscarded ? [] : ['plc-1'])
      }
    }
  })

  test('it holds a line of JSON for each device', async () => {
    bench.publish(bench.devices.connected('plc-1'), 'q/a')
    await bench.devices.close()
    const text = gunzipSync(readFileSync(bench.path)).toString()
    expect(JSON.parse(text)).toMatchObject({ id: 'plc-1', messages: 1, lastTopic: 'q/a' })
  })

  test('a file that cannot be written is told, and tried again', async () => {
    bench = new DevicesBench(join(folder, 'gone', 'devices'))
    await bench.open()
    bench.devices.connected('plc-1')
    bench.pass(60)
    await expect.poll(() => bench.events).toMatchObject([{ type: 'devices.table-not-written' }])
  })
})
