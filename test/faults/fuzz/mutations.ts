/**
 * What hostile or broken peers make of a valid session, at the level of bits, fields and frames;
 * and how its bytes are dealt out over segments. Everything is drawn from the generator that is
 * handed in.
 */
import type { Random } from '../../../device-sim/random.ts'
import { encodeFrame, packet } from '../../support/raw-mqtt.ts'
import { pick } from './sessions.ts'

export const MUTATIONS = ['none', 'bits', 'bytes', 'field', 'frame', 'truncate'] as const
export type Mutation = (typeof MUTATIONS)[number]

const EXTREMES = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff]

/** Strings that MQTT forbids, or that a gateway might forbid, or trip over. */
const STRINGS: readonly Buffer[] = [
  Buffer.alloc(0),
  Buffer.from('t/#'),
  Buffer.from('t/+/x'),
  Buffer.from('a#b'),
  Buffer.from('#'),
  Buffer.from('$SYS/broker'),
  Buffer.from('$share/g/t'),
  Buffer.from('/'),
  Buffer.from('\u0000'),
  Buffer.from('t/\u0000/x'),
  Buffer.from('\ufefft/1'),
  Buffer.from('\u0001\u009f\ufffe'),
  Buffer.from([0xff, 0xfe]),
  Buffer.from([0xc0, 0x80]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0xf4, 0x90, 0x80, 0x80]),
  Buffer.from('🛰/é'),
  Buffer.from('__proto__'),
  Buffer.from('constructor'),
  Buffer.from('t/__proto__'),
  Buffer.from('x'.repeat(1_024)),
  Buffer.from('x'.repeat(1_025)),
  Buffer.from('t/'.repeat(31)),
  Buffer.from('t/'.repeat(32)),
]

/** The frames after one or more mutations of the kind. */
export function mutate(random: Random, frames: readonly Buffer[], mutation: Mutation): Buffer[] {
  switch (mutation) {
    case 'none':
      return [...frames]
    case 'bits':
      return withBytes(random, frames, (bytes) => {
        for (let left = 1 + random.below(4); left > 0; left -= 1) {
          const at = random.below(bytes.length)
          bytes[at] = bytes[at]! ^ (1 << random.below(8))
        }
        return bytes
      })
    case 'bytes':
      return withBytes(random, frames, (bytes) => spliceBytes(random, bytes))
    case 'field':
      return frames.map((frame, index) => {
        const hit = index === 0 ? random.chance(0.3) : random.chance(0.2)
        return hit ? mutateField(random, frame) : frame
      })
    case 'frame':
      return mutateFrames(random, frames)
    default: {
      const whole = Buffer.concat(frames)
      return [whole.subarray(0, random.below(whole.length + 1))]
    }
  }
}

function withBytes(
  random: Random,
  frames: readonly Buffer[],
  change: (bytes: Buffer) => Buffer,
): Buffer[] {
  const changed = [...frames]
  // Behind CONNECT as a rule: a session that never begins shows little.
  const at = random.chance(0.2) ? 0 : random.below(changed.length)
  changed[at] = change(Buffer.from(changed[at]!))
  return changed
}

function spliceBytes(random: Random, bytes: Buffer): Buffer {
  const at = random.below(bytes.length)
  const end = Math.min(bytes.length, at + 1 + random.below(6))
  const [before, cut, after] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)]
  const noise = Buffer.from(Array.from({ length: 1 + random.below(6) }, () => noiseByte(random)))
  return Buffer.concat(
    pick(random, [
      [before, after],
      [before, noise, after],
      [before, cut, cut, after],
    ]),
  )
}

function noiseByte(random: Random): number {
  return random.chance(0.5) ? pick(random, EXTREMES) : random.below(256)
}

// Fields.

function mutateField(random: Random, frame: Buffer): Buffer {
  const type = frame[0]! & 0xf0
  const body = Buffer.from(frame.subarray(bodyStart(frame)))
  const changes: (() => Buffer)[] = [
    () => encodeFrame(random.below(256), body),
    () => encodeFrame((frame[0]! & 0xf0) | random.below(16), body),
    () =>
      withLength(
        frame[0]!,
        body,
        Math.max(0, body.length + pick(random, [-3, -2, -1, 1, 2, 3, 200])),
      ),
    // More bytes than the length needs; four are allowed, five are not.
    () =>
      Buffer.concat([Buffer.of(frame[0]!), paddedLength(body.length, 2 + random.below(4)), body]),
    () => encodeFrame(frame[0]!, body, Buffer.alloc(1 + random.below(4), noiseByte(random))),
    () => encodeFrame(frame[0]!),
    () => encodeFrame(frame[0]!, body, Buffer.alloc(pick(random, [3_000, 4_080, 4_096, 70_000]))),
  ]
  const text = pick(random, STRINGS)
  if (type === 0x30) {
    const qos = (frame[0]! >> 1) & 3
    const id = Buffer.from([random.below(3) === 0 ? 0xff : 0, pick(random, [0, 1, 255])])
    changes.push(() =>
      encodeFrame(frame[0]!, prefixed(text), ...(qos > 0 ? [id] : []), body.subarray(0, 20)),
    )
    changes.push(() => encodeFrame(frame[0]! | 0x06, body))
    changes.push(() => encodeFrame((frame[0]! & 0xf9) | 0x08, body))
  }
  if (type === 0x80) {
    changes.push(() =>
      encodeFrame(0x82, Buffer.of(0, 1), prefixed(text), Buffer.of(random.below(4))),
    )
    changes.push(() => encodeFrame(0x82, Buffer.of(0, random.below(2))))
  }
  if (type === 0xa0)
    changes.push(() => encodeFrame(0xa2, Buffer.of(0, random.below(2)), prefixed(text)))
  if ([0x40, 0x50, 0x60, 0x70].includes(type)) {
    changes.push(() => encodeFrame(frame[0]!, Buffer.alloc(random.below(5), noiseByte(random))))
  }
  if (type === 0x10) changes.push(...connectChanges(random, body, text))
  return pick(random, changes)()
}

/** CONNECT: name, level, flags, keepalive at fixed places behind a name of four letters. */
function connectChanges(random: Random, body: Buffer, text: Buffer): (() => Buffer)[] {
  const nameEnd = 2 + body.readUInt16BE(0)
  const flags = body[nameEnd + 1]!
  const put = (at: number, value: number): Buffer => {
    const changed = Buffer.from(body)
    changed[at] = value
    return encodeFrame(0x10, changed)
  }
  const withId = (id: Buffer, newFlags: number): Buffer =>
    encodeFrame(0x10, body.subarray(0, nameEnd + 1), Buffer.of(newFlags, 0, 0), prefixed(id))
  return [
    () => put(nameEnd, pick(random, [0, 3, 4, 5, 6, 0x83, 0x84, 255])),
    () => put(nameEnd + 1, random.below(256)),
    () => put(nameEnd + 1, flags ^ (1 << random.below(8))),
    () => encodeFrame(0x10, prefixed(text), body.subarray(nameEnd)),
    // No id of the list may be somebody's: those that pass are taken over by nobody.
    () =>
      withId(
        pick(random, [Buffer.alloc(0), Buffer.from([0xff]), Buffer.from('x\u0000')]),
        flags & 2,
      ),
    () => withId(Buffer.alloc(pick(random, [1_025, 2_000, 65_535]), 0x79), 2),
    () => encodeFrame(0x10, body.subarray(0, random.below(body.length))),
    () =>
      encodeFrame(
        0x10,
        body.subarray(0, nameEnd),
        Buffer.of(4, 0x06, 0, 0),
        prefixed(Buffer.alloc(0)),
        prefixed(text),
        prefixed(text),
      ),
  ]
}

// Frames.

function mutateFrames(random: Random, frames: readonly Buffer[]): Buffer[] {
  const changed = [...frames]
  for (let left = 1 + random.below(3); left > 0; left -= 1) {
    const at = random.below(changed.length)
    const frame = changed[at]!
    const changes: (() => void)[] = [
      () => changed.splice(at, 0, frame),
      () => changed.splice(at, changed.length > 1 ? 1 : 0),
      () => changed.splice(random.below(changed.length), 0, ...changed.splice(at, 1)),
      () => changed.splice(at, 0, forbiddenFrame(random, changed[0]!)),
      () => changed.splice(at, 0, packet.pubrel(3), packet.pubrel(3)),
      () =>
        changed.push(
          packet.disconnect(),
          packet.publish('t/1', 'behind the end', { qos: 1, id: 9 }),
        ),
    ]
    pick(random, changes)()
  }
  return changed
}

/**
 * A second CONNECT, packets that only a server sends, types that do not exist, lengths that never
 * come.
 */
function forbiddenFrame(random: Random, connect: Buffer): Buffer {
  return pick(random, [
    () => connect,
    () => Buffer.of(0x20, 2, 0, 0),
    () => Buffer.of(0x90, 3, 0, 1, 0),
    () => Buffer.of(0xb0, 2, 0, 1),
    () => Buffer.of(0xd0, 0),
    () => Buffer.of(0x00, 0),
    () => Buffer.of(0xf0, 0),
    () => Buffer.of(0x30, 0xff, 0xff, 0xff, 0x7f),
    () => Buffer.of(0x32, 0xff, 0xff, 0xff, 0xff, 0x01),
    () => Buffer.of(0xe0, 1, 0),
    () => Buffer.of(0xc0, 1, 0),
    () => Buffer.from('GET / HTTP/1.1\r\nHost: gateway\r\n\r\n'),
    () => Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]),
  ])()
}

// Segments.

export const SPLITS = ['whole', 'frames', 'bytes', 'random', 'many'] as const
export type Split = (typeof SPLITS)[number]

/** The bytes of the frames as segments. */
export function segments(random: Random, frames: readonly Buffer[], split: Split): Buffer[] {
  const whole = Buffer.concat(frames)
  if (split === 'whole') return [whole]
  if (split === 'frames') return frames.filter(({ length }) => length > 0)
  // A frame of 70 KB byte by byte shows nothing more, and takes its time.
  const unit = split === 'bytes' && whole.length < 8_192 ? 1 : split === 'many' ? 512 : 64
  const parts: Buffer[] = []
  for (let at = 0; at < whole.length; ) {
    const size = unit === 1 ? 1 : 1 + random.below(unit)
    parts.push(whole.subarray(at, at + size))
    at += size
  }
  return parts
}

function bodyStart(frame: Buffer): number {
  let at = 1
  while (at < frame.length && frame[at]! >= 0x80 && at < 4) at += 1
  return Math.min(frame.length, at + 1)
}

function prefixed(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes])
}

function withLength(first: number, body: Buffer, length: number): Buffer {
  return Buffer.concat([
    encodeFrame(first, Buffer.alloc(length)).subarray(0, length < 128 ? 2 : 3),
    body,
  ])
}

function paddedLength(length: number, bytes: number): Buffer {
  const out = Buffer.alloc(bytes)
  let rest = length
  for (let at = 0; at < bytes; at += 1) {
    out[at] = (rest & 0x7f) | (at < bytes - 1 ? 0x80 : 0)
    rest >>>= 7
  }
  return out
}
