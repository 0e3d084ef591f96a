import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DrainNotes, type HoldNote } from '../../gateway/drain/notes.ts'
import { LearnedLimit } from '../../gateway/drain/policy/learned-limit.ts'
import { Pacer, recoveryDelayMs } from '../../gateway/drain/policy/pacer.ts'
import type { NoteStore } from '../../gateway/ports/stream-queue.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

class MapNotes implements NoteStore {
  readonly map = new Map<string, string>()

  get(key: string): string | null {
    return this.map.get(key) ?? null
  }

  async set(key: string, value: string | null): Promise<void> {
    if (value === null) this.map.delete(key)
    else this.map.set(key, value)
  }
}

describe('LearnedLimit', () => {
  it('halves what was too large, and grows back slowly, then faster, to the configured limit', () => {
    const limit = new LearnedLimit(1_000_000, null)
    limit.shrink(800_000, 0)
    expect(limit.maxBytes).toBe(400_000)
    limit.accepted(400_000, 29_999)
    expect(limit.maxBytes).toBe(400_000)
    const sizes: number[] = []
    for (let nowMs = 30_000; limit.learnedBytes !== null; nowMs += 30_000) {
      limit.accepted(limit.maxBytes, nowMs)
      sizes.push(limit.maxBytes)
      expect(nowMs).toBeLessThan(600_000)
    }
    expect(sizes[0]).toBe(406_250)
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b))
    expect(limit.maxBytes).toBe(1_000_000)
  })

  it('learns nothing from small batches, and never exceeds the configuration', () => {
    const limit = new LearnedLimit(10_000, 5_000)
    limit.accepted(100, 1e9)
    expect(limit.maxBytes).toBe(5_000)
    expect(new LearnedLimit(10_000, 20_000).maxBytes).toBe(10_000)
    limit.shrink(1_000_000, 0)
    expect(limit.maxBytes).toBe(5_000)
  })
})

describe('Pacer', () => {
  it('never lets more than the rate through, one batch of lead excepted', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 2 }), (batches) => {
        const pacer = new Pacer(1000)
        let nowMs = 0
        let sent = 0
        for (const bytes of batches) {
          nowMs = Math.max(nowMs, pacer.readyAtMs)
          expect(sent).toBeLessThanOrEqual(nowMs + 1e-6)
          pacer.sent(bytes, nowMs)
          sent += bytes
        }
      }),
    )
    const free = new Pacer(null)
    free.sent(1e9, 0)
    expect(free.readyAtMs).toBeLessThan(0)
  })

  it('does not save up what was not used', () => {
    const pacer = new Pacer(1000)
    pacer.sent(1000, 1_000_000)
    expect(pacer.readyAtMs).toBe(1_001_000)
  })

  it('spreads a recovery over the jitter', () => {
    expect(recoveryDelayMs(60_000, () => 0.25)).toBe(15_000)
  })
})

describe('DrainNotes', () => {
  const make = (): { notes: DrainNotes; clock: VirtualClock; store: MapNotes } => {
    const clock = new VirtualClock()
    const store = new MapNotes()
    const notes = new DrainNotes(store, clock, (stored) => void stored)
    return { notes, clock, store }
  }

  it('keeps what is left of a wait within a boot, whatever the wall clock does, and all of it after a reboot', () => {
    const { notes, clock } = make()
    notes.setWait('cloud', 60_000)
    clock.advance(20_000)
    clock.setWall(0)
    expect(notes.waitLeftMs('cloud', 3_600_000)).toBe(40_000)
    expect(notes.waitLeftMs('cloud', 10_000)).toBe(10_000)
    clock.advance(50_000)
    expect(notes.waitLeftMs('cloud', 3_600_000)).toBe(0)
    clock.reboot()
    expect(notes.waitLeftMs('cloud', 3_600_000)).toBe(60_000)
    notes.setWait('cloud', null)
    expect(notes.waitLeftMs('cloud', 3_600_000)).toBe(0)
  })

  it('keeps holds of a sink and of its streams apart', () => {
    const { notes } = make()
    const hold: HoldNote = {
      reason: 'dead-letters-full',
      code: null,
      detail: 'no room',
      sinceMs: 5,
      stream: null,
      accepted: { spoolId: 's', seq: 3 },
    }
    notes.setHold('cloud', 'telemetry', hold)
    expect(notes.hold('cloud', 'telemetry')).toEqual(hold)
    expect(notes.hold('cloud', null)).toBeNull()
    notes.setHold('cloud', 'telemetry', null)
    expect(notes.hold('cloud', 'telemetry')).toBeNull()
  })

  it('survives notes that say anything', () => {
    const { notes, store } = make()
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.jsonValue().map((v) => JSON.stringify({ waitMs: v, reason: v })),
        ),
        (text) => {
          for (const key of ['drain/wait/cloud', 'drain/hold/cloud', 'drain/batch-bytes/cloud'])
            store.map.set(key, text)
          expect(notes.waitLeftMs('cloud', 1000)).toBeLessThanOrEqual(1000)
          const hold = notes.hold('cloud', null)
          if (hold !== null) expect(typeof hold.sinceMs).toBe('number')
          const bytes = notes.batchBytes('batch-bytes', 'cloud')
          if (bytes !== null) expect(bytes).toBeGreaterThanOrEqual(0)
        },
      ),
    )
  })
})
