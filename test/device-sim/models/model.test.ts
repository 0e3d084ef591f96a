import { deflateRawSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { createModel, LEAST_PAYLOAD_BYTES, MODEL_KINDS } from '../../../device-sim/models/model.ts'

describe.each(MODEL_KINDS)('model %s', (kind) => {
  const take = (count: number, seed: number | string, payloadBytes?: number): Buffer[] => {
    const model = createModel(
      kind,
      seed,
      payloadBytes === undefined ? { device: 'd-1' } : { device: 'd-1', payloadBytes },
    )
    return Array.from({ length: count }, () => model.next())
  }

  test('every reading is one line of JSON with its device and a number without holes', () => {
    for (const [index, bytes] of take(2000, 11).entries()) {
      expect(bytes.includes(0x0a)).toBe(false)
      expect(JSON.parse(bytes.toString())).toMatchObject({ device: 'd-1', n: index + 1, kind })
    }
  })

  test('a seed decides every byte', () => {
    expect(Buffer.concat(take(200, 5))).toEqual(Buffer.concat(take(200, 5)))
    expect(Buffer.concat(take(200, 5))).not.toEqual(Buffer.concat(take(200, 6)))
  })

  test('a reading carries the time at which it was measured, if that is given', () => {
    const model = createModel(kind, 5)
    const atMs = Date.UTC(2031, 4, 6, 7, 8, 9, 10)
    expect(JSON.parse(model.next(atMs).toString())).toMatchObject({
      n: 1,
      at: '2031-05-06T07:08:09.010Z',
    })
    expect(JSON.parse(model.next().toString())).toMatchObject({
      n: 2,
      at: '2026-01-01T00:00:02.000Z',
    })
  })

  test('readings have the size asked for', () => {
    for (const bytes of take(500, 3)) {
      expect(bytes.length).toBeGreaterThan(190)
      expect(bytes.length).toBeLessThanOrEqual(205)
    }
    for (const bytes of take(500, 3, LEAST_PAYLOAD_BYTES)) {
      expect(bytes.length).toBeLessThanOrEqual(LEAST_PAYLOAD_BYTES + 8)
      expect(Object.keys(JSON.parse(bytes.toString()) as object).slice(0, 3)).toEqual([
        'device',
        'n',
        'at',
      ])
    }
    for (const bytes of take(100, 3, 120)) expect(Math.abs(bytes.length - 120)).toBeLessThan(50)
    for (const bytes of take(100, 3, 2000)) expect(Math.abs(bytes.length - 2000)).toBeLessThan(8)
  })

  test('values stay within their bounds for a long time', () => {
    let last: Record<string, unknown> = {}
    for (const bytes of take(20_000, 9))
      last = JSON.parse(bytes.toString()) as Record<string, unknown>
    for (const value of Object.values(last)) {
      if (typeof value === 'number') expect(Math.abs(value)).toBeLessThan(1e6)
    }
  })

  test('they cost deflate what real readings cost: neither constant nor noise', () => {
    const raw = Buffer.concat(take(2000, 2))
    const share = deflateRawSync(raw, { level: 1 }).length / raw.length
    expect(share).toBeGreaterThan(0.12)
    expect(share).toBeLessThan(0.4)
  })
})
