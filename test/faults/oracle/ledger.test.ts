import { describe, expect, test } from 'vitest'
import { Ledger, type LedgerRequest } from './ledger.ts'

/** A batch with these seqs; each reading's number is its seq. */
function batch(
  seqs: readonly number[],
  fields: Partial<LedgerRequest> & { readonly mark?: string } = {},
): LedgerRequest {
  const { mark = '', ...rest } = fields
  const identity = { gateway: 'edge-01', spool: 'abc', stream: 'telemetry', ...rest }
  const name = `${identity.gateway}:${identity.spool}:${identity.stream}`
  const lines = seqs.map((seq) => {
    return JSON.stringify({
      id: `${name}:${seq}`,
      seq,
      device: `press${mark}`,
      payload: { n: seq },
    })
  })
  const [firstSeq = 0] = seqs
  const lastSeq = seqs.at(-1) ?? 0
  return {
    ...identity,
    key: `${name}:${firstSeq}-${lastSeq}`,
    firstSeq,
    lastSeq,
    recordCount: seqs.length,
    gap: null,
    raw: Buffer.from(lines.join('\n') + mark),
    lines,
    ...rest,
  }
}

function acked(ledger: Ledger, request: LedgerRequest): number {
  const { ackedThrough } = ledger.take(request)
  ledger.answered(request)
  return ackedThrough
}

describe('the ledger', () => {
  test('stores each record once, in its order, whatever is repeated', () => {
    const ledger = new Ledger()
    expect(ledger.take(batch([1, 2]))).toEqual({ ackedThrough: 2 })
    expect(acked(ledger, batch([1, 2]))).toBe(2)
    expect(acked(ledger, batch([3, 5]))).toBe(5)
    expect(ledger.takeStored().get('press')).toEqual([1, 2, 3, 5])
    expect(ledger.takeStored().size, 'only what is new').toBe(0)
    expect(ledger.totals().get('telemetry')).toEqual({ stored: 4, gaps: {} })
    expect(ledger.faults).toEqual([])
  })

  test('stores nothing of a refused request, and takes it when it comes again', () => {
    const ledger = new Ledger()
    ledger.refuse(batch([1]))
    expect(ledger.takeStored().size).toBe(0)
    acked(ledger, batch([1]))
    expect(ledger.takeStored().get('press')).toEqual([1])
    expect(ledger.faults).toEqual([])
  })

  test('I4: sees an id that is used for two records, also where the first was refused', () => {
    for (const first of ['take', 'refuse'] as const) {
      const ledger = new Ledger()
      ledger[first](batch([7]))
      ledger.answered(batch([7]))
      acked(ledger, batch([7], { mark: 'x' }))
      expect(ledger.faults).toHaveLength(1)
      expect(ledger.faults[0]).toMatch(/I4: .*:7 is used twice/)
    }
  })

  test('I4: sees a batch that changes before it was acked: its bytes, or its bounds', () => {
    const bytes = new Ledger()
    bytes.refuse(batch([1]))
    bytes.refuse(batch([1], { raw: Buffer.from('other') }))
    expect(bytes.faults[0]).toMatch(/other bytes/)
    const bounds = new Ledger()
    bounds.take(batch([1]))
    bounds.take(batch([1, 2]))
    expect(bounds.faults[0]).toMatch(/was not acked/)
  })

  test('I2: sees a record behind one that was stored, and seqs that do not rise', () => {
    const late = new Ledger()
    acked(late, batch([1, 3]))
    acked(late, batch([2]))
    expect(late.faults[0]).toMatch(/I2: .*:2 comes behind 3/)
    const falling = new Ledger()
    acked(falling, batch([1, 4, 3, 5]))
    expect(falling.faults[0]).toMatch(/I2: .* seq 3 behind 4/)
  })

  test('I4: sees a record that comes again after everything was settled', () => {
    const ledger = new Ledger()
    acked(ledger, batch([1, 2]))
    acked(ledger, batch([1, 2]))
    ledger.rest()
    expect(ledger.totals().get('telemetry')?.stored).toBe(2)
    expect(ledger.faults).toEqual([])
    acked(ledger, batch([2]))
    expect(ledger.faults[0]).toMatch(/I4: .*:2 came again/)
  })

  test('counts gaps once, by reason, and knows them under earlier spool ids', () => {
    const ledger = new Ledger()
    const gap = '1-4;reason=unused, 5-6;reason=expired'
    acked(ledger, batch([7], { gap }))
    acked(ledger, batch([8], { gap: '6-6;reason=expired' }))
    acked(ledger, batch([1], { spool: 'def', gap: '9-11;reason=expired;spool=abc' }))
    expect(ledger.totals().get('telemetry')).toEqual({ stored: 3, gaps: { unused: 4, expired: 5 } })
    expect(ledger.faults).toEqual([])
  })

  test('I9: sees a gap over a record, in either order, and one that cannot be read', () => {
    const after = new Ledger()
    acked(after, batch([1]))
    acked(after, batch([3], { gap: '1-2;reason=expired' }))
    expect(after.faults[0]).toMatch(/I9: .* lies over record 1/)
    const before = new Ledger()
    acked(before, batch([5], { gap: '6-9;reason=unused' }))
    acked(before, batch([7]))
    expect(before.faults[0]).toMatch(/I4: .*:7 came, and was reported as a gap/)
    const unreadable = new Ledger()
    acked(unreadable, batch([5], { gap: '6-;reason=unused' }))
    expect(unreadable.faults[0]).toMatch(/unreadable gap/)
  })

  test('sees a request that contradicts its own headers', () => {
    const ledger = new Ledger()
    acked(ledger, batch([1, 2], { recordCount: 3 }))
    acked(ledger, batch([3], { lines: batch([3]).lines.map((line) => line.replace('abc', 'abd')) }))
    expect(ledger.faults).toHaveLength(2)
  })
})
