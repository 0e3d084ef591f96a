import { describe, expect, test } from 'vitest'
import { type FaultRates, NO_FAULTS } from '../../../device-sim/fleet/options.ts'
import { malform, type Reading, ReadingSource } from '../../../device-sim/fleet/reading-source.ts'
import { payloadHash } from '../../../device-sim/ledger/ledger.ts'
import { createModel, MODEL_KINDS } from '../../../device-sim/models/model.ts'

function sourceOf(faults: Partial<FaultRates>): {
  source: ReadingSource
  counts: { late: number; malformed: number }
} {
  const counts = { late: 0, malformed: 0 }
  const source = new ReadingSource(
    {
      device: 'd-1',
      kind: 'gps',
      seed: '1',
      topic: 'a/{device}/{model}/{n}',
      payloadBytes: 200,
      intervalMs: 1000,
      faults: { ...NO_FAULTS, ...faults },
    },
    counts,
  )
  return { source, counts }
}

const measure = (source: ReadingSource, times: number): Reading[] =>
  Array.from({ length: times }, () => source.measure()).flat()

describe('reading source', () => {
  test('topics are made from the template', () => {
    expect(measure(sourceOf({}).source, 12).map(({ topic }) => topic)[11]).toBe('a/d-1/gps/2')
  })

  test('late readings come behind at most 20 later ones, or when the device ends; none is lost or doubled', () => {
    const { source, counts } = sourceOf({ lateShare: 0.3 })
    const sent = [...measure(source, 500), ...source.flush()].map(({ n }) => n)
    expect(counts.late).toBeGreaterThan(100)
    expect([...sent].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 500 }, (_, index) => index + 1),
    )
    let highest = 0
    let late = 0
    for (const n of sent) {
      if (n < highest) late++
      highest = Math.max(highest, n)
    }
    expect(late).toBeGreaterThan(80)
    expect(source.flush()).toEqual([])
  })

  test('a rate changes what it is about and nothing else', () => {
    const plain = measure(sourceOf({}).source, 300)
    const twice = measure(sourceOf({ duplicateShare: 0.5 }).source, 300)
    expect(twice.map(({ payload }) => payloadHash(payload))).toEqual(
      plain.map(({ payload }) => payloadHash(payload)),
    )
    expect(twice.filter((reading) => reading.twice).length).toBeGreaterThan(100)
  })

  test('malformed readings are not JSON in any way of damage, and no two are alike', () => {
    const hashes = new Set<string>()
    for (const kind of MODEL_KINDS) {
      const model = createModel(kind, 1, { device: kind })
      for (let damage = 0; damage < 600; damage++) {
        const payload = malform(model.next(), damage)
        expect(() => {
          JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
        }, `${kind} ${damage}`).toThrow()
        hashes.add(payloadHash(payload))
      }
    }
    expect(hashes.size).toBe(600 * MODEL_KINDS.length)
  })
})
