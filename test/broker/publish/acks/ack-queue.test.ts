import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AckQueue } from '../../../../gateway/broker/publish/acks/ack-queue.ts'
import { NO_TICKET } from '../../../../gateway/broker/sessions/packet-ids.ts'
import { LatencyHistogram } from '../../../../gateway/shared/latency-histogram.ts'

test('I1, I2: the ack queue gives acks in order, none before its ticket, whatever the order of tickets', () => {
  const entries = fc.array(
    fc.record({ ticket: fc.integer({ min: 0, max: 9 }), waits: fc.boolean() }),
    {
      maxLength: 200,
    },
  )
  fc.assert(
    fc.property(entries, (list) => {
      const queue = new AckQueue()
      const positions = list.map(({ ticket, waits }, i) =>
        queue.push(0x40, i + 1, waits ? NO_TICKET : ticket, 10, 0),
      )
      const got: number[] = []
      for (let durable = 0; durable <= 9; durable += 1) {
        if (durable === 5) {
          for (const [i, { ticket, waits }] of list.entries())
            if (waits) queue.setTicket(positions[i]!, ticket)
        }
        const before = queue.bytes
        const acks = queue.take(durable, null, 0)
        expect(before - queue.bytes).toBe((acks?.length ?? 0) * 2.5)
        for (let at = 0; at < (acks?.length ?? 0); at += 4) {
          const id = acks!.readUInt16BE(at + 2)
          expect(list[id - 1]!.ticket).toBeLessThanOrEqual(durable)
          got.push(id)
        }
      }
      expect(got).toEqual(list.map((_, i) => i + 1))
      expect(queue.length).toBe(0)
    }),
  )
})

test('ack latency is observed for every message, grouped by arrival', () => {
  const queue = new AckQueue()
  for (let i = 0; i < 10; i += 1) queue.push(0x40, i + 1, 1, 1, i < 7 ? 0 : 900)
  const histogram = new LatencyHistogram([0.001, 0.01, 0.1, 1])
  queue.take(1, histogram, 1_000)
  expect(histogram.count).toBe(10)
  expect(histogram.sumSeconds).toBeCloseTo(7.3)
  expect(histogram.counts.reduce((sum, count) => sum + count, 0)).toBe(10)
})
