/**
 * Small parts of the gate, shown by themselves: frame lengths, joined frames, ack rings, hashes.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FrameJoiner } from '../../../gateway/broker/mqtt/frame-joiner.ts'
import {
  BAD_LENGTH,
  bodyOffset,
  frame,
  frameBytes,
  NEED_MORE,
} from '../../../gateway/broker/mqtt/packets.ts'
import { AckQueue } from '../../../gateway/broker/publish/ack-queue.ts'
import { MessageHash } from '../../../gateway/broker/sessions/message-hash.ts'
import { NO_TICKET } from '../../../gateway/broker/sessions/packet-ids.ts'
import { LatencyHistogram } from '../../../gateway/shared/latency-histogram.ts'

test('frameBytes knows the length as soon as its last byte is there, up to 256 MiB', () => {
  for (const [length, headerBytes] of [
    [0, 2],
    [127, 2],
    [128, 3],
    [16_383, 3],
    [16_384, 4],
    [2_097_151, 4],
    [2_097_152, 5],
  ] as const) {
    const whole = frame(0x30, [Buffer.alloc(length)])
    for (let end = 0; end < headerBytes; end += 1) expect(frameBytes(whole, 0, end)).toBe(NEED_MORE)
    expect(frameBytes(whole, 0, headerBytes)).toBe(headerBytes + length)
    expect(bodyOffset(whole, 0)).toBe(headerBytes)
  }
  expect(frameBytes(Buffer.of(0x30, 0xff, 0xff, 0xff, 0x7f), 0, 5)).toBe(5 + 268_435_455)
  expect(frameBytes(Buffer.of(0x30, 0xff, 0xff, 0xff, 0xff), 0, 5)).toBe(BAD_LENGTH)
})

test('FrameJoiner gives whole frames from chunks cut anywhere', () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 10 })
  fc.assert(
    fc.property(
      sizes,
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }),
      (lengths, cuts) => {
        const frames = lengths.map((length, i) => frame(0x30, [Buffer.alloc(length, i)]))
        const all = Buffer.concat(frames)
        const got: Buffer[] = []
        const joiner = new FrameJoiner((whole) => got.push(Buffer.from(whole)))
        for (let at = 0, i = 0; at < all.length; i += 1) {
          const size = cuts[i % cuts.length]!
          joiner.push(all.subarray(at, at + size))
          at += size
        }
        expect(got).toEqual(frames)
        expect(joiner.isEmpty).toBe(true)
      },
    ),
  )
})

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

test('the message hash differs for every single changed byte and for moved bytes, and has no easy collisions', () => {
  const hash = new MessageHash()
  const of = (topic: string, payload: string): string => {
    const bytes = Buffer.from(topic + payload)
    const cut = Buffer.byteLength(topic)
    hash.compute(bytes, 0, cut, cut, bytes.length)
    return `${hash.high} ${hash.low}`
  }
  const seen = new Set<string>()
  for (let i = 0; i < 100_000; i += 1) seen.add(of('plant/a', `{"seq":${i}}`))
  expect(seen.size).toBe(100_000)
  const text = 'some payload of a few bytes'
  const base = of('t', text)
  for (let at = 0; at < text.length; at += 1) {
    for (let bit = 0; bit < 7; bit += 1) {
      const bytes = Buffer.from(text)
      bytes[at]! ^= 1 << bit
      expect(of('t', bytes.toString('latin1'))).not.toBe(base)
    }
  }
  for (let cut = 1; cut < text.length; cut += 1) {
    expect(of(text.slice(0, cut), text.slice(cut))).not.toBe(
      of(text.slice(0, cut - 1), text.slice(cut - 1)),
    )
  }
})
