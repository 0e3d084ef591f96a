import { describe, expect, test } from 'vitest'
import { Ledger, type Qos } from '../../../device-sim/ledger/ledger.ts'
import { type QueueId, type Verdict, Verifier } from '../../../device-sim/ledger/verify.ts'

const bytes = (device: string, n: number): Buffer => Buffer.from(`{"device":"${device}","n":${n}}`)

function ledgerOf(qos: Qos, count: number, acked = count): Ledger {
  const ledger = new Ledger(null, 'test', new Date(0))
  for (let n = 1; n <= count; n++) ledger.publish('d', n, qos, bytes('d', n), n)
  for (let order = 0; order < acked; order++) ledger.ack('d', order, order)
  return ledger
}

const queue = (stream: string, spool = 'x'): QueueId => ({ gateway: 'g', spool, stream })

/** Stores readings of device d by number, in one stream. */
function verdictOf(
  ledger: Ledger,
  stored: readonly number[],
  stream: (n: number) => string = () => 's',
): Verdict {
  const verifier = new Verifier(ledger.entries())
  for (const [index, n] of stored.entries()) {
    verifier.take(queue(stream(n)), { device: 'd', seq: index + 1, payload: bytes('d', n) })
  }
  return verifier.result()
}

describe('verify', () => {
  test('a perfect run is ok', () => {
    expect(verdictOf(ledgerOf(2, 4), [1, 2, 3, 4])).toMatchObject({
      published: [0, 0, 4],
      acked: [0, 0, 4],
      storedLines: 4,
      storedReadings: 4,
      lost: 0,
      pending: 0,
      duplicated: 0,
      reordered: 0,
      differing: 0,
      ok: true,
      examples: [],
    })
  })

  test('I1: an acknowledged reading that is not stored is lost, and named', () => {
    const verdict = verdictOf(ledgerOf(1, 4), [1, 2, 4])
    expect(verdict).toMatchObject({ lost: 1, ok: false })
    expect(verdict.examples[0]).toMatch(/d: reading 3 \(QoS 1\).*lost/)
  })

  test('a reading that was never acknowledged is the device’s still, stored or not', () => {
    expect(verdictOf(ledgerOf(1, 3, 1), [1])).toMatchObject({ lost: 0, pending: 2, ok: true })
    expect(verdictOf(ledgerOf(1, 3, 1), [1, 2, 3])).toMatchObject({ lost: 0, pending: 0, ok: true })
  })

  test('QoS 0 may be missing', () => {
    expect(verdictOf(ledgerOf(0, 3), [2])).toMatchObject({ qos0Missing: 2, lost: 0, ok: true })
  })

  test('I3: a QoS 2 reading stored twice is a broken promise', () => {
    expect(verdictOf(ledgerOf(2, 3), [1, 2, 2, 3])).toMatchObject({
      duplicated: 1,
      qos1Repeats: 0,
      ok: false,
    })
    expect(verdictOf(ledgerOf(0, 3), [1, 2, 2, 3])).toMatchObject({ duplicated: 1, ok: false })
  })

  test('a refused reading is no promise, stored by an earlier try or not', () => {
    const ledger = ledgerOf(1, 3, 1)
    ledger.refuse('d', 1, 0x97, 9)
    ledger.refuse('d', 2, 0x97, 9)
    expect(verdictOf(ledger, [1, 3])).toMatchObject({ refused: 2, lost: 0, pending: 0, ok: true })
  })

  test('a reading that nobody takes is not stored: one that is makes the gateway a liar', () => {
    const ledger = ledgerOf(2, 3, 1)
    ledger.refuse('d', 1, 0x10, 9)
    ledger.refuse('d', 2, 0x10, 9)
    expect(verdictOf(ledger, [1])).toMatchObject({ untaken: 2, contradicted: 0, ok: true })
    expect(verdictOf(ledger, [1, 3])).toMatchObject({ contradicted: 1, ok: false })
  })

  test('a QoS 2 reading that was sent anew, because its session had ended, may be there twice', () => {
    const ledger = ledgerOf(2, 3)
    ledger.sendAnew('d', 1)
    expect(verdictOf(ledger, [1, 2, 2, 3])).toMatchObject({
      duplicated: 0,
      sentAnewRepeats: 1,
      ok: true,
    })
    expect(verdictOf(ledger, [1, 2, 2, 3, 3])).toMatchObject({ duplicated: 1, ok: false })
  })

  test('QoS 1 repeats are counted apart and allowed, wherever they come', () => {
    expect(verdictOf(ledgerOf(1, 3), [1, 2, 1, 2, 3])).toMatchObject({
      duplicated: 0,
      qos1Repeats: 2,
      reordered: 0,
      ok: true,
    })
  })

  test('I2: a first occurrence behind a later reading is reordered', () => {
    expect(verdictOf(ledgerOf(1, 4), [1, 3, 2, 4])).toMatchObject({
      reordered: 1,
      lost: 0,
      ok: false,
    })
  })

  test('order is judged by the order of sending, not by the reading’s own number', () => {
    const ledger = new Ledger(null, 'test', new Date(0))
    for (const n of [2, 1, 3]) ledger.publish('d', n, 1, bytes('d', n), 0)
    expect(verdictOf(ledger, [2, 1, 3])).toMatchObject({ reordered: 0 })
    expect(verdictOf(ledger, [1, 2, 3])).toMatchObject({ reordered: 1 })
  })

  test('order and copies are judged within a stream: two streams may each have a reading', () => {
    const verifier = new Verifier(ledgerOf(2, 2).entries())
    for (const stream of ['a', 'b']) {
      for (const n of [1, 2])
        verifier.take(queue(stream), { device: 'd', seq: n, payload: bytes('d', n) })
    }
    expect(verifier.result()).toMatchObject({
      duplicated: 0,
      reordered: 0,
      storedReadings: 2,
      ok: true,
    })
    const parted = verdictOf(ledgerOf(2, 4), [3, 1, 4, 2], (n) => (n > 2 ? 'a' : 'b'))
    expect(parted).toMatchObject({ reordered: 0, ok: true })
  })

  test('I3: a copy under a later identity of the same stream is a copy, its order another matter', () => {
    const verifier = new Verifier(ledgerOf(2, 3).entries())
    for (const n of [2, 3])
      verifier.take(queue('s', 'new'), { device: 'd', seq: n, payload: bytes('d', n) })
    for (const n of [1, 2])
      verifier.take(queue('s', 'old'), { device: 'd', seq: n, payload: bytes('d', n) })
    expect(verifier.result()).toMatchObject({ duplicated: 1, reordered: 0, lost: 0, ok: false })
  })

  test('a line that cannot be read is a broken promise', () => {
    const verifier = new Verifier(ledgerOf(1, 0).entries())
    verifier.takeUnreadable(queue('s'), 'no device')
    expect(verifier.result()).toMatchObject({ unreadable: 1, storedLines: 1, ok: false })
  })

  test('changed bytes are seen: one digit less, another member order, a space', () => {
    for (const changed of [
      '{"device":"d","n":1.0}',
      '{"n":1,"device":"d"}',
      '{"device":"d", "n":1}',
    ]) {
      const verifier = new Verifier(ledgerOf(1, 1).entries())
      verifier.take(queue('s'), { device: 'd', seq: 1, payload: Buffer.from(changed) })
      expect(verifier.result(), changed).toMatchObject({ differing: 1, lost: 1, ok: false })
    }
  })

  test('lines of devices that the ledger does not know are counted and harm nothing', () => {
    const verifier = new Verifier(ledgerOf(1, 0).entries())
    verifier.take(queue('s'), { device: 'stranger', seq: 1, payload: Buffer.from('1') })
    expect(verifier.result()).toMatchObject({ foreign: 1, differing: 0, ok: true })
  })

  test('a ledger whose readings cannot be told apart is refused', () => {
    const ledger = new Ledger(null, 'test', new Date(0))
    ledger.publish('d', 1, 1, Buffer.from('same'), 0)
    ledger.publish('d', 2, 1, Buffer.from('same'), 0)
    expect(() => new Verifier(ledger.entries())).toThrow(/cannot be told apart/)
  })
})
