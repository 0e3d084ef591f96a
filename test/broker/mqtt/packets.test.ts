/** Control packets as bytes: frame lengths. */
import { expect, test } from 'vitest'
import {
  BAD_LENGTH,
  bodyOffset,
  frame,
  frameBytes,
  NEED_MORE,
} from '../../../gateway/broker/mqtt/packets.ts'

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
