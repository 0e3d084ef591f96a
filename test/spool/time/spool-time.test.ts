/**
 * Spool time in a real spool: what ages by it, what does not age by the wall clock, and what a
 * reboot does to it (I8).
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { SpoolOptions } from '../../../gateway/spool/spool.ts'
import {
  type BootClock,
  MARK_INTERVAL_MS,
  resumedMs,
  SpoolTime,
} from '../../../gateway/spool/time/spool-time.ts'
import {
  durable,
  lanes,
  message,
  openSpool,
  queueOf,
  STREAM,
  temporaryFolder,
} from '../../support/spool-fixture.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

const HOUR_MS = 3_600_000

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let clock: VirtualClock

beforeEach(async () => {
  folder = await temporaryFolder()
  clock = new VirtualClock()
})
afterEach(async () => {
  await folder.remove()
})

function options(): Partial<SpoolOptions> {
  const limits = {
    payload: 'json',
    maxAge: HOUR_MS,
    deadLetters: { ...STREAM.deadLetters, maxAge: HOUR_MS },
  } as const
  return { streams: { telemetry: { ...STREAM, ...limits } }, clock, nowMs: () => clock.wallMs() }
}

type Opened = Awaited<ReturnType<typeof openSpool>>['spool']

/** A record and an ingest dead letter, durable. */
async function fill(spool: Opened): Promise<void> {
  const to = lanes(spool, 'd', 't')
  spool.appender.append(to, message('1', { receivedAtMs: clock.wallMs() }))
  await durable(
    spool,
    spool.appender.append(to, message('no JSON', { receivedAtMs: clock.wallMs() })),
  )
}

/** What is left after retention has looked at everything. */
async function left(
  spool: Opened,
): Promise<{ readonly records: number; readonly deadLetters: number }> {
  await spool.deadLetters.tidy()
  const { spool: stream } = queueOf(spool)
  // Whatever is committed, what is too old goes.
  await durable(spool, spool.appender.append(lanes(spool, 'd', 't'), message('no JSON')))
  const letters = await spool.deadLetters.list('telemetry', null, 10)
  await spool.deadLetters.purge('telemetry', [letters.at(-1)?.id ?? ''])
  return { records: stream.pendingRecords, deadLetters: letters.length - 1 }
}

const ALL = { records: 1, deadLetters: 1 }
const NOTHING = { records: 0, deadLetters: 0 }

describe('spool time', () => {
  it('I8: expires records and dead letters by the time that has passed, whatever the wall clock says', async () => {
    const { spool } = await openSpool(folder.path, options())
    await fill(spool)
    clock.setWall(Date.UTC(2076, 0, 1))
    expect(await left(spool)).toEqual(ALL)
    clock.setWall(0)
    clock.advance(HOUR_MS - 1_000)
    expect(await left(spool)).toEqual(ALL)
    clock.advance(2_000)
    expect(await left(spool)).toEqual(NOTHING)
    await spool.stop()
  })

  it('counts a pause within one boot, and nothing of the time that the box was off', async () => {
    const first = (await openSpool(folder.path, options())).spool
    await fill(first)
    clock.advance(10 * 60_000)
    await first.stop()
    clock.advance(20 * 60_000)
    const second = (await openSpool(folder.path, options())).spool
    expect(await left(second)).toEqual(ALL)
    await second.stop()
    clock.reboot()
    // A year, by the wall clock; and the box that it is on now has been up for long.
    clock.setWall(clock.wallMs() + 365 * 86_400_000)
    clock.advance(100 * 86_400_000)
    const third = (await openSpool(folder.path, options())).spool
    clock.advance(29 * 60_000)
    expect(await left(third)).toEqual(ALL)
    clock.advance(2 * 60_000)
    expect(await left(third)).toEqual(NOTHING)
    await third.stop()
  })

  it('lets a requeued dead letter count from its requeue', async () => {
    const telemetry = { ...STREAM, payload: 'json', maxAge: HOUR_MS } as const
    const { spool } = await openSpool(folder.path, { ...options(), streams: { telemetry } })
    await fill(spool)
    clock.advance(10 * HOUR_MS)
    expect(await spool.deadLetters.requeue('telemetry', 'all')).toMatchObject({ requeued: 1 })
    clock.advance(HOUR_MS - 1_000)
    expect(await left(spool)).toEqual({ records: 1, deadLetters: 0 })
    clock.advance(2_000)
    expect(await left(spool)).toEqual(NOTHING)
    await spool.stop()
  })

  it('marks the age of what waits while nothing is committed, and wears out no flash for what does not', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    try {
      const { spool } = await openSpool(folder.path, options())
      const tick = async (): Promise<number> => {
        clock.advance(MARK_INTERVAL_MS)
        vi.advanceTimersByTime(1_000)
        await spool.deadLetters.tidy()
        await new Promise((resolve) => setTimeout(resolve, 100))
        return spool.stats.commits
      }
      const idle = spool.stats.commits
      expect(await tick()).toBe(idle)
      await fill(spool)
      const filled = spool.stats.commits
      expect(await tick()).toBe(filled + 1)
      await spool.stop()
    } finally {
      vi.useRealTimers()
    }
  })

  it('is never younger than the newest block, and counts on only where it is known to be the same boot', () => {
    const at = (monotonicMs: number, bootId: string | null): BootClock => ({
      monotonicMs: () => monotonicMs,
      bootId,
    })
    expect(new SpoolTime(at(5, 'a'), [100, 5, 'a'], 700).nowMs()).toBe(700)
    expect(resumedMs([100, 5, 'a'], at(25, 'a'))).toBe(120)
    expect(resumedMs([100, 5, 'a'], at(25, 'b'))).toBe(100)
    expect(resumedMs([100, 50, 'a'], at(25, 'a'))).toBe(100)
    expect(resumedMs([100, 5, null], at(25, null))).toBe(100)
    expect(resumedMs(null, at(25, 'a'))).toBe(0)
  })
})
