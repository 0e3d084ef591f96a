import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DrainNotes, type HoldNote } from '../../gateway/drain/notes.ts'
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
      // What cannot be made a text.
      { examples: [['{"reason":{"toString":false}}']] },
    )
  })
})
