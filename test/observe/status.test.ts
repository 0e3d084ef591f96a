/** The status document: what an operator reads is what the sources said. */
import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readWrittenBytes } from '../../gateway/observe/process-io.ts'
import { buildStatus } from '../../gateway/observe/status.ts'
import { broker, fakeSources, NOW_MS, sink, spool, stream } from './fake-sources.ts'

describe('status', () => {
  test('I5: shows the conservation counters of each stream as they were committed, and they balance', () => {
    const [telemetry] = buildStatus(fakeSources().sources, NOW_MS).streams
    const { received, requeued, delivered, deadLettered, dropped, pending } = telemetry!.counters
    const droppedTotal = Object.values(dropped).reduce((a, b) => a + b, 0)
    expect(received + requeued).toBe(delivered + deadLettered + droppedTotal + pending)
    expect(telemetry!.backlogRecords).toBe(pending)
    const { kept, requeued: requeuedFromHere, removed } = telemetry!.deadLetters
    expect(deadLettered).toBe(kept + requeuedFromHere + (removed['quota'] ?? 0))
  })

  test('gives ages in seconds and moments as RFC 3339 UTC with milliseconds', () => {
    const status = buildStatus(fakeSources().sources, NOW_MS)
    expect(status.at).toBe('2026-11-23T03:05:00.123Z')
    expect(status.streams[0]!.oldestAgeSeconds).toBe(90)
    expect(status.sinks[0]!.lastSuccessAt).toBe('2026-11-23T03:04:59.123Z')
    expect(status.sinks[0]!.learnedBatchBytes).toBe(65_536)
  })

  test('an empty stream has no oldest age, and a clock that was set back gives no negative one', () => {
    const streams = [
      stream({ oldestReceivedAtMs: null }),
      stream({ name: 'alarms', oldestReceivedAtMs: NOW_MS + 5_000 }),
    ]
    const status = buildStatus(fakeSources({ streams }).sources, NOW_MS)
    expect(status.streams.map((each) => each.oldestAgeSeconds)).toEqual([null, 0])
  })

  test('I8: a held sink is shown with since, why and the next probe, and the gateway still accepts', () => {
    const held = sink({
      delivery: {
        state: 'held',
        sinceMs: NOW_MS - 3_000,
        why: 'HTTP 401',
        nextTryAtMs: NOW_MS + 57_000,
      },
    })
    const status = buildStatus(fakeSources({ sinks: [held] }).sources, NOW_MS)
    expect(status.accepting).toBe(true)
    expect(status.sinks[0]).toMatchObject({
      state: 'held',
      since: '2026-11-23T03:04:57.123Z',
      why: 'HTTP 401',
      nextTryAt: '2026-11-23T03:05:57.123Z',
    })
  })

  test('a sink has a member about its connection only while it is without the one that it keeps', () => {
    const shown = (connected: boolean | null, detail: string | null) =>
      buildStatus(fakeSources({ sinks: [sink({ health: { connected, detail } })] }).sources, NOW_MS)
        .sinks[0]!
    expect(shown(false, 'ECONNREFUSED').notConnected).toEqual({ why: 'ECONNREFUSED' })
    expect(shown(true, null)).not.toHaveProperty('notConnected')
    expect(shown(null, null)).not.toHaveProperty('notConnected')
  })

  test('I6: accepts only while the broker listens and the spool can write', () => {
    const accepting = (state: Parameters<typeof fakeSources>[0]) =>
      buildStatus(fakeSources(state).sources, NOW_MS).accepting
    expect(accepting({})).toBe(true)
    expect(accepting({ broker: broker({ accepting: false }) })).toBe(false)
    for (const state of ['read-only', 'storage-failed', 'closed'] as const)
      expect(accepting({ spool: spool({ state }) })).toBe(false)
  })

  test('says how much is written a day only once the pace means something', () => {
    const at = (uptimeSeconds: number, writtenBytes: number | null) => {
      const { sources } = fakeSources({
        identity: { version: '0', gateway: 'g', uptimeSeconds, clockSet: true },
      })
      return buildStatus(sources, NOW_MS, writtenBytes).spool.writtenBytesPerDay
    }
    expect(at(60, 1_000)).toBeNull()
    expect(at(43_200, 1_000_000)).toBe(2_000_000)
    expect(at(43_200, null)).toBeNull()
  })

  test('is plain JSON: nothing is lost on the way through it', () => {
    const status = buildStatus(fakeSources().sources, NOW_MS)
    expect(JSON.parse(JSON.stringify(status))).toEqual(status)
    const identity = {
      version: '0',
      gateway: 'g',
      uptimeSeconds: 3.873643707000003,
      clockSet: true,
    }
    expect(buildStatus(fakeSources({ identity }).sources, NOW_MS).uptimeSeconds).toBe(3.874)
  })
})

test('the bytes written by the process are those that the kernel counts, and null where it does not say', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-io-'))
  try {
    const file = join(folder, 'io')
    writeFileSync(file, 'rchar: 5\nwrite_bytes: 8192\ncancelled_write_bytes: 1\n')
    expect(readWrittenBytes(file)).toBe(8192)
    expect(readWrittenBytes(join(folder, 'missing'))).toBeNull()
  } finally {
    await rm(folder, { recursive: true })
  }
})
