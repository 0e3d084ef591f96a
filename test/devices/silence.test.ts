/**
 * Records of devices that fall silent and come back: once each over kills, by a time that only runs
 * while they could be heard, late where there is no room.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { DeviceTrack } from '../../gateway/ports/devices.ts'
import { SEED } from '../support/seed.ts'
import { DevicesBench, SILENT_AFTER_MS } from './bench.ts'

const SILENT_AFTER = SILENT_AFTER_MS / 1_000
/** A record comes so late at most, s. */
const LATE = 2

let folder: string
let bench: DevicesBench
let plc: DeviceTrack

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  folder = mkdtempSync(join(tmpdir(), 'sluice-silence-'))
  bench = new DevicesBench(join(folder, 'devices'))
  await bench.open()
  plc = bench.devices.connected('plc-1')
})
afterEach(async () => {
  await bench.devices.close()
  vi.useRealTimers()
  rmSync(folder, { recursive: true, force: true })
})

async function states(): Promise<string[]> {
  return (await bench.told()).map(({ stream, device, state }) => `${stream} ${device} ${state}`)
}

describe('a device', () => {
  test('that falls silent makes a record, and one with its next message', async () => {
    bench.publish(plc, 't/x')
    const since = new Date(bench.clock.wallMs()).toISOString()
    bench.pass(SILENT_AFTER)
    expect(await states()).toEqual([])
    bench.pass(LATE)
    const told = { stream: 'telemetry', device: 'plc-1', state: 'silent', since, lastTopic: 't/x' }
    expect(await bench.told()).toEqual([told])
    expect(bench.devices.stats.silent).toBe(1)
    bench.pass(10 * SILENT_AFTER)
    bench.publish(plc, 't/y')
    const back = { ...told, state: 'back', lastTopic: 't/y' }
    expect(await bench.told()).toEqual([told, back])
    expect(bench.devices.stats.silent).toBe(0)
    expect(bench.events.map(({ type }) => type)).toEqual(['devices.silent', 'devices.back'])
  })

  test('is silent on each stream by itself, and shown with the earliest', async () => {
    bench.publish(plc, 't/x')
    const since = bench.clock.wallMs()
    bench.pass(10)
    bench.publish(plc, 'a/x')
    bench.publish(plc, 'q/x')
    bench.pass(3 * SILENT_AFTER + LATE)
    expect(await states()).toEqual(['telemetry plc-1 silent', 'alarms plc-1 silent'])
    const page = { search: '', sort: 'name', silent: true, limit: 10, after: null } as const
    expect(bench.devices.list(page).devices).toMatchObject([{ silentSinceMs: since }])
    bench.publish(plc, 'a/x')
    expect(await states()).toContain('alarms plc-1 back')
    expect(bench.devices.stats.silent).toBe(1)
  })

  test('that goes on is never silent, whatever topics it uses between', async () => {
    for (let n = 0; n < 20; n += 1) {
      bench.publish(plc, 'q/x')
      bench.publish(plc, 't/x')
      bench.publish(plc, 'q/x')
      bench.pass(SILENT_AFTER - 1)
    }
    expect(await states()).toEqual([])
  })

  test('that has never published to a stream is not silent there', async () => {
    bench.publish(plc, 'q/x')
    bench.pass(10 * SILENT_AFTER)
    expect(await states()).toEqual([])
  })

  test('whose id holds what splits a topic is one level of it', async () => {
    bench.publish(bench.devices.connected('hall/7+#%'), 't/x')
    bench.pass(SILENT_AFTER + LATE)
    await bench.commit()
    expect(bench.appender.records.at(-1)).toMatchObject({
      topic: '$sluice/devices/hall%2F7%2B%23%25/silent',
      device: 'hall/7+#%',
    })
  })

  test('that gives way in the table is watched no more', async () => {
    await bench.devices.close()
    bench = new DevicesBench(join(folder, 'small'), 1)
    await bench.open()
    bench.publish(bench.devices.connected('one'), 't/x')
    bench.pass(1)
    bench.publish(bench.devices.connected('two'), 't/x')
    bench.pass(SILENT_AFTER + LATE)
    expect(await states()).toEqual(['telemetry two silent'])
    await bench.kill()
    expect(bench.devices.stats).toMatchObject({ count: 1, silent: 1 })
  })

  test('that is forgotten is silent no more, on no stream and behind no kill; a connected one stays', async () => {
    bench.publish(plc, 't/x')
    bench.publish(plc, 'a/x')
    bench.pass(3 * SILENT_AFTER + LATE)
    expect(await bench.devices.forget('plc-1')).toBe('connected')
    expect(bench.devices.stats).toMatchObject({ count: 1, silent: 1 })
    plc.ended()
    const before = await states()
    expect(before).toHaveLength(2)
    expect(await bench.devices.forget('plc-1')).toBe('forgotten')
    expect(await bench.devices.forget('plc-1')).toBe('unknown')
    const nobody = { count: 0, silent: 0, connected: 0, silence: [{ silent: 0 }, { silent: 0 }] }
    expect(bench.devices.stats).toMatchObject(nobody)
    // What it was told was durable when it resolved.
    await bench.kill()
    expect(bench.devices.stats).toMatchObject(nobody)
    bench.pass(3 * SILENT_AFTER + LATE)
    expect(await states()).toEqual(before)
    bench.publish(bench.devices.connected('plc-1'), 't/x')
    bench.pass(1)
    expect(bench.devices.stats).toMatchObject({ count: 1, silent: 0 })
  })
})

describe('time', () => {
  test('is not that of the wall', async () => {
    bench.publish(plc, 't/x')
    bench.pass(2)
    bench.clock.setWall(bench.clock.wallMs() + 365 * 86_400_000)
    bench.pass(2)
    expect(await states()).toEqual([])
    bench.clock.setWall(0)
    bench.pass(SILENT_AFTER)
    expect(await states()).toEqual(['telemetry plc-1 silent'])
  })

  test('stands while the gateway takes no connections, the process stands still, the stream is full', async () => {
    bench.publish(plc, 't/x')
    bench.isListening = false
    bench.pass(2 * SILENT_AFTER)
    bench.isListening = true
    bench.clock.advance(2 * SILENT_AFTER_MS)
    bench.devices.step()
    bench.appender.setRoom('telemetry', 0)
    bench.pass(2 * SILENT_AFTER)
    bench.appender.setRoom('telemetry', null)
    // Five seconds of the standstill count.
    bench.pass(SILENT_AFTER - 5)
    expect(await states()).toEqual([])
    bench.pass(LATE)
    expect(await states()).toEqual(['telemetry plc-1 silent'])
  })

  test('is said to stand for whom nobody can hear, in each stream by itself', async () => {
    const judged = () => bench.devices.stats.silence.filter(({ isJudged }) => isJudged)
    expect(judged().map(({ stream }) => stream)).toEqual(['telemetry', 'alarms'])
    bench.appender.setRoom('telemetry', 0)
    expect(judged().map(({ stream }) => stream)).toEqual(['alarms'])
    bench.appender.setRoom('telemetry', null)
    bench.isListening = false
    expect(judged()).toEqual([])
  })

  test('begins anew with a start', async () => {
    bench.publish(plc, 't/x')
    await bench.commit()
    bench.pass(SILENT_AFTER - 1)
    await bench.kill()
    bench.pass(SILENT_AFTER)
    expect(await states()).toEqual([])
    bench.pass(LATE)
    expect(await states()).toEqual(['telemetry plc-1 silent'])
  })
})

describe('a stream without room', () => {
  test('is told later', async () => {
    bench.publish(plc, 't/x')
    bench.pass(SILENT_AFTER + LATE)
    bench.appender.setRoom('telemetry', 0)
    bench.publish(plc, 't/x')
    bench.pass(10)
    expect(await states()).toEqual(['telemetry plc-1 silent'])
    bench.appender.setRoom('telemetry', null)
    bench.pass(1)
    expect(await states()).toEqual(['telemetry plc-1 silent', 'telemetry plc-1 back'])
  })

  test('of a network that fails with all its devices, so many records a second', async () => {
    await bench.devices.close()
    bench = new DevicesBench(join(folder, 'many'), 5_000)
    await bench.open()
    for (let n = 0; n < 2_500; n += 1) bench.publish(bench.devices.connected(`plc-${n}`), 't/x')
    bench.pass(SILENT_AFTER)
    const counts: number[] = []
    for (let n = 0; n < 5; n += 1) {
      bench.pass(1)
      counts.push((await bench.told()).length)
    }
    expect(counts).toEqual([1_000, 2_000, 2_500, 2_500, 2_500])
  })
})

describe('a kill', () => {
  test('takes the record and the state together', async () => {
    bench.publish(plc, 't/x')
    await bench.commit()
    bench.pass(SILENT_AFTER + LATE)
    // Its commit was not durable.
    await bench.kill()
    expect(bench.devices.stats.silent).toBe(0)
    bench.pass(SILENT_AFTER + LATE)
    expect(await states()).toEqual(['telemetry plc-1 silent'])
    await bench.kill()
    bench.pass(3 * SILENT_AFTER)
    expect(await states()).toEqual(['telemetry plc-1 silent'])
    bench.publish(bench.devices.connected('plc-1'), 't/x')
    expect(await states()).toEqual(['telemetry plc-1 silent', 'telemetry plc-1 back'])
  })

  test('right behind its first message still leaves a device known', async () => {
    bench.publish(plc, 't/x')
    await bench.commit()
    await bench.kill()
    expect(bench.devices.stats.count).toBe(1)
    bench.pass(SILENT_AFTER + LATE)
    expect(await states()).toEqual(['telemetry plc-1 silent'])
  })
})

/** Small and fast, of full period: the same run for the same seed. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed % 4_294_967_296
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 4_294_967_296) * below)
  }
}

/** What must hold of one device on the stream, by a count of its own. */
interface Expected {
  /** Time in which it could be heard, since its last message or the last start, ms. */
  hearableMs: number
  /** A commit holds a message of it. */
  isKnown: boolean
}

describe('any history', () => {
  const IDS = ['plc-1', 'plc-2', 'hall/3']

  async function run(seed: number): Promise<void> {
    const below = randomFrom(seed)
    const own = new DevicesBench(join(folder, `run-${seed}`))
    await own.open()
    let hasRoom = true
    let tracks = new Map<string, DeviceTrack>()
    const expected = new Map<string, Expected>()
    /** Not in a commit yet. */
    let uncommitted = new Set<string>()

    const publish = (id: string): void => {
      const track = tracks.get(id) ?? own.devices.connected(id)
      tracks.set(id, track)
      own.publish(track, below(2) === 0 ? 't/x' : 't/y', 1 + below(3))
      if (below(3) === 0) own.publish(track, 'q/x')
      const known = expected.get(id) ?? { hearableMs: 0, isKnown: false }
      known.hearableMs = 0
      expected.set(id, known)
      if (!known.isKnown) uncommitted.add(id)
    }
    const step = (ms: number): void => {
      own.clock.advance(ms)
      if (own.isListening && hasRoom)
        for (const each of expected.values()) each.hearableMs += Math.min(ms, 5_000)
      const before = own.events.length
      own.devices.step()
      for (const event of own.events.slice(before)) {
        if (event.type !== 'devices.silent') continue
        const { hearableMs = -1 } = expected.get(event.device) ?? {}
        expect(hearableMs, `${event.device} was called silent`).toBeGreaterThanOrEqual(
          SILENT_AFTER_MS,
        )
      }
    }
    const commit = async (): Promise<void> => {
      await own.commit()
      for (const id of uncommitted) (expected.get(id) as Expected).isKnown = true
      uncommitted = new Set()
    }
    const kill = async (): Promise<void> => {
      await own.kill()
      tracks = new Map()
      for (const id of uncommitted) expected.delete(id)
      uncommitted = new Set()
      for (const each of expected.values()) each.hearableMs = 0
      if (!hasRoom) own.appender.setRoom('telemetry', 0)
    }

    for (let n = 0; n < 150; n += 1) {
      const id = IDS[below(IDS.length)] ?? ''
      switch (below(10)) {
        case 0:
          await kill()
          break
        case 1:
          await commit()
          await kill()
          break
        case 2:
          hasRoom = below(3) > 0
          own.appender.setRoom('telemetry', hasRoom ? null : 0)
          break
        case 3:
          own.isListening = below(3) > 0
          break
        case 4:
          own.clock.setWall(below(2 ** 31) * 1_000)
          break
        case 5:
          step(below(10 * SILENT_AFTER_MS))
          break
        case 6:
        case 7:
          for (let s = below(SILENT_AFTER * 2); s > 0; s -= 1) step(1_000)
          break
        default:
          publish(id)
          if (below(2) === 0) await commit()
      }
    }

    // In the end there is room and time: who is known is silent, and back with a message.
    own.isListening = true
    hasRoom = true
    own.appender.setRoom('telemetry', null)
    for (let s = 0; s < SILENT_AFTER + LATE; s += 1) step(1_000)
    await commit()
    const known = [...expected].filter(([, { isKnown }]) => isKnown).map(([id]) => id)
    expect(own.devices.stats.silent).toBe(known.length)
    for (const id of known) publish(id)
    const told = await own.told()
    for (const id of IDS) {
      const history = told.filter(({ device }) => device === id).map(({ state }) => state)
      const wanted = history.map((_, n) => (n % 2 === 0 ? 'silent' : 'back'))
      expect(history, `${id} of seed ${seed}`).toEqual(wanted)
      if (known.includes(id)) expect(history.at(-1)).toBe('back')
    }
    await own.devices.close()
  }

  test(`of 100 seeds from ${SEED}: once each, only the silent, all of them`, async () => {
    for (let n = 0; n < 100; n += 1) await run(SEED + n)
  }, 120_000)
})
