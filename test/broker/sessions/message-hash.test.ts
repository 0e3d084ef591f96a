import { expect, test } from 'vitest'
import { MessageHash } from '../../../gateway/broker/sessions/message-hash.ts'

test('the message hash differs for every single changed byte and for moved bytes, and has no easy collisions', () => {
  const hash = new MessageHash()
  const of = (topic: string, payload: string): string => {
    const bytes = Buffer.from(topic + payload)
    const cut = Buffer.byteLength(topic)
    hash.compute(bytes.subarray(0, cut), bytes, cut, bytes.length)
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
