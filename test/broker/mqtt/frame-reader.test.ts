/** Bytes to frames, cut anywhere; what is kept, and what is told about it. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FAULT, FRAME, FrameReader } from '../../../gateway/broker/mqtt/frame-reader.ts'
import { frame } from '../../../gateway/broker/mqtt/packets.ts'

const LIMITS = { maxConnectPacketBytes: 100, maxPacketBytes: 1_000 }
const PING = Buffer.of(0xc0, 0)
const DISCONNECT = Buffer.of(0xe0, 0)

function newReader() {
  const held = { holdBackBytes: 0 }
  return { held, reader: new FrameReader(LIMITS, held, () => 'a stranger') }
}

/** Takes all that is there, as the connection does it after each read. */
function takeAll(reader: FrameReader, isFirst = false): Buffer[] {
  const taken: Buffer[] = []
  while (reader.next(isFirst) === FRAME) {
    taken.push(Buffer.from(reader.bytes.subarray(reader.at, reader.end)))
    reader.advance()
  }
  reader.keep()
  return taken
}

const publish = (bytes: number, fill = 0): Buffer => frame(0x30, [Buffer.alloc(bytes, fill)])

test('frames come whole and in order, whatever reads they came in, and nothing is kept behind the last', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 900 }), { minLength: 1, maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }),
      fc.array(fc.boolean(), { minLength: 1 }),
      (sizes, cuts, takes) => {
        const frames = sizes.map((size, i) => publish(size, i))
        const all = Buffer.concat(frames)
        const { held, reader } = newReader()
        const got: Buffer[] = []
        for (let at = 0, i = 0; at < all.length; i += 1) {
          const chunk = Buffer.from(all.subarray(at, at + cuts[i % cuts.length]!))
          reader.push(chunk, 0)
          // Held back now and then, as at the bounds of a connection.
          if (takes[i % takes.length] === true) got.push(...takeAll(reader))
          else reader.keep()
          // The read buffer is used for something else.
          chunk.fill(0xff)
          at += chunk.length
          expect(held.holdBackBytes).toBe(reader.length)
        }
        got.push(...takeAll(reader))
        expect(got).toEqual(frames)
        expect([reader.length, held.holdBackBytes]).toEqual([0, 0])
      },
    ),
  )
})

test('a frame that is not complete is noted since its first byte, and no longer when it is', () => {
  const { reader } = newReader()
  const whole = publish(10)
  reader.push(whole.subarray(0, 3), 100)
  expect(takeAll(reader)).toEqual([])
  expect(reader.frameSinceMs).toBe(100)
  reader.push(whole.subarray(3, 6), 200)
  takeAll(reader)
  expect(reader.frameSinceMs).toBe(100)
  reader.restartFrame(250)
  expect(reader.frameSinceMs).toBe(250)
  reader.push(Buffer.concat([whole.subarray(6), whole.subarray(0, 1)]), 300)
  expect(takeAll(reader)).toEqual([whole])
  expect(reader.frameSinceMs).toBe(300)
  reader.push(whole.subarray(1), 400)
  takeAll(reader)
  expect(reader.frameSinceMs).toBeNull()
})

test('I6: a frame over the limit is a fault as soon as its length is known; CONNECT has a smaller one', () => {
  for (const [first, isFirst, limit, key] of [
    [0x30, false, 1_000, 'mqtt.maxPacketBytes'],
    [0x10, true, 100, 'mqtt.maxConnectPacketBytes'],
  ] as const) {
    const { reader } = newReader()
    const largest = frame(first, [Buffer.alloc(limit - (limit < 130 ? 2 : 3))])
    expect(largest.length).toBe(limit)
    reader.push(largest, 0)
    expect(takeAll(reader, isFirst)).toEqual([largest])
    reader.push(frame(first, [Buffer.alloc(limit)]).subarray(0, 3), 0)
    expect(reader.next(isFirst)).toBe(FAULT)
    expect(reader.fault?.reason).toBe('packet-too-large')
    expect(reader.fault?.detail).toContain(`${key} is ${limit}`)
  }
})

test('a length of five bytes and a first packet that is no CONNECT are malformed', () => {
  const { reader } = newReader()
  reader.push(Buffer.of(0x30, 0xff, 0xff, 0xff, 0xff), 0)
  expect(reader.next(false)).toBe(FAULT)
  expect(reader.fault).toMatchObject({ reason: 'malformed' })
  for (const first of [0x30, 0x16, 0x47]) {
    const stranger = newReader().reader
    stranger.push(Buffer.of(first), 0)
    expect(stranger.next(true)).toBe(FAULT)
    expect(stranger.fault).toEqual({ reason: 'malformed', detail: 'a stranger' })
  }
})

test('I6: PINGREQs in what is kept are found once, and are known when their turn comes', () => {
  const { reader } = newReader()
  reader.push(Buffer.concat([publish(10), PING, publish(20), PING, publish(5).subarray(0, 4)]), 0)
  reader.keep()
  expect(reader.scanPings()).toBe(2)
  expect(reader.scanPings()).toBe(0)
  reader.push(Buffer.concat([publish(5).subarray(4), PING]), 0)
  reader.keep()
  expect(reader.scanPings()).toBe(1)
  reader.push(PING, 0)
  const scanned: boolean[] = []
  while (reader.next(false) === FRAME) {
    if (reader.bytes[reader.at] === 0xc0) scanned.push(reader.isScanned)
    reader.advance()
  }
  expect(scanned).toEqual([true, true, true, false])
})

test('I6: the size limit holds for what is kept, too', () => {
  const { reader } = newReader()
  reader.push(Buffer.concat([publish(10), frame(0x30, [Buffer.alloc(1_000)]).subarray(0, 5)]), 0)
  reader.keep()
  expect(reader.scanPings()).toBeNull()
  expect(reader.fault?.reason).toBe('packet-too-large')
})

test('a DISCONNECT among what is kept is found, but not one that is cut off or has a body', () => {
  for (const [last, isFound, isV5] of [
    [DISCONNECT, true, false],
    [Buffer.of(0xe0, 0x80, 0), true, false],
    [DISCONNECT.subarray(0, 1), false, false],
    [Buffer.of(0xe0, 1, 0), false, false],
    [DISCONNECT, true, true],
    [Buffer.of(0xe0, 1, 0), true, true],
    [Buffer.of(0xe0, 1, 4), false, true],
  ] as const) {
    const { reader } = newReader()
    reader.push(Buffer.concat([publish(10), PING, last]), 0)
    reader.keep()
    expect(reader.holdsDisconnect(isV5)).toBe(isFound)
  }
})

test('bytes that come while a frame is processed stay behind it', () => {
  const { reader } = newReader()
  reader.push(Buffer.concat([publish(1, 1), publish(2, 2)]), 0)
  expect(reader.next(false)).toBe(FRAME)
  reader.push(publish(3, 3), 0)
  expect(takeAll(reader)).toEqual([publish(1, 1), publish(2, 2), publish(3, 3)])
})

test('what was discarded counts no longer', () => {
  const { held, reader } = newReader()
  reader.push(publish(10), 0)
  reader.keep()
  expect(held.holdBackBytes).toBe(12)
  reader.discard()
  expect([reader.length, held.holdBackBytes]).toEqual([0, 0])
})
