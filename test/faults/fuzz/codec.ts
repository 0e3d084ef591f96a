/**
 * The gateway's reading of frames (gateway/broker/mqtt) against the package mqtt-packet: whatever
 * the gateway takes of valid and broken frames has to be the same packet there, with the same
 * fields. (PUBLISH is read in place on the publish path; its fields are compared by judge.ts.)
 */
import assert from 'node:assert/strict'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { Random } from '../../../device-sim/random.ts'
import { type Connect, readConnect } from '../../../gateway/broker/mqtt/connect.ts'
import { bodyOffset, frameBytes, hasValidFlags } from '../../../gateway/broker/mqtt/packets.ts'
import { readSubscribe } from '../../../gateway/broker/mqtt/subscribe.ts'
import { MUTATIONS, mutate } from './mutations.ts'
import { makeClientId, makeSession, pick } from './sessions.ts'

/** No byte of it is one that mqtt-packet takes for part of a frame in front of it. */
const NEXT_FRAME = Buffer.alloc(8, 0xff)

const FILTER_LIMITS = { maxTopicBytes: 65_535, maxTopicLevels: 65_535 }

export interface CodecTotals {
  frames: number
  /** By kind: taken by the gateway, and equal to what mqtt-packet reads. */
  readonly same: Record<'connect' | 'subscribe' | 'unsubscribe' | 'short' | 'cut', number>
  refused: number
}

export function newCodecTotals(): CodecTotals {
  return {
    frames: 0,
    same: { connect: 0, subscribe: 0, unsubscribe: 0, short: 0, cut: 0 },
    refused: 0,
  }
}

/** One session's worth of frames. @throws at the first difference, with the frame */
export function compareCodecs(seed: string, totals: CodecTotals): void {
  const random = new Random(seed, 'codec')
  const clean = random.chance(0.5)
  const session = makeSession(random, { clientId: makeClientId(random), clean, maxFrames: 30 })
  const frames = mutate(random, session, pick(random, MUTATIONS))
  const bytes = Buffer.concat(frames)
  const whole: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const size = frameBytes(bytes, at, bytes.length)
    if (size < 0 || at + size > bytes.length) break
    const frame = bytes.subarray(at, at + size)
    compareFrame(frame, totals)
    whole.push(frame)
    at += size
  }
  compareCuts(random, whole, totals)
}

function compareFrame(frame: Buffer, totals: CodecTotals): void {
  totals.frames += 1
  const what = frame.toString('hex').slice(0, 400)
  const body = bodyOffset(frame, 0)
  const kind = frame[0]! >> 4
  if (kind !== 3 && !hasValidFlags(frame[0]!)) {
    totals.refused += 1
    return
  }
  if (kind === 1) {
    const result = readConnect(frame, body, frame.length)
    if (result.kind !== 'connect') {
      totals.refused += 1
      return
    }
    const { level, clean, keepAliveSeconds, clientId, will, username, password } = result.connect
    if (isOnlyOld(frame, body, result.connect)) {
      totals.refused += 1
      return
    }
    // Version 5 has readers of its own, and tests of its own.
    if (level === 5) return
    const read = parseOne(frame, 'connect', what)
    const ours = { level, clean, keepAliveSeconds, clientId, username, password: hex(password) }
    const theirs = {
      level: read.protocolVersion,
      clean: read.clean,
      keepAliveSeconds: read.keepalive,
      clientId: read.clientId,
      username: read.username ?? null,
      password: hex(read.password ?? null),
    }
    assert.deepEqual(ours, theirs, what)
    assert.deepEqual(
      will === null ? null : { ...will, payload: hex(will.payload) },
      read.will === undefined
        ? null
        : {
            topic: read.will.topic,
            payload: hex(read.will.payload as Buffer),
            qos: read.will.qos,
            retain: read.will.retain,
            delaySeconds: 0,
            options: null,
          },
      what,
    )
    totals.same.connect += 1
  } else if (kind === 8 || kind === 10) {
    const version = { isSubscribe: kind === 8, isV5: false }
    const result = readSubscribe(frame, body, frame.length, version, FILTER_LIMITS)
    if ('detail' in result) {
      totals.refused += 1
      return
    }
    const { packetId, requests } = result
    if (kind === 8) {
      const read = parseOne(frame, 'subscribe', what)
      const theirs = read.subscriptions.map((one) => [one.topic, one.qos])
      assert.deepEqual(
        [packetId, requests.map(({ filter, options }) => [filter, options.qos])],
        [read.messageId, theirs],
        what,
      )
      totals.same.subscribe += 1
    } else {
      const read = parseOne(frame, 'unsubscribe', what)
      const filters = requests.map(({ filter }) => filter)
      assert.deepEqual([packetId, filters], [read.messageId, read.unsubscriptions], what)
      totals.same.unsubscribe += 1
    }
  } else if (kind >= 4 && kind <= 7 && frame.length - body === 2) {
    const names = ['puback', 'pubrec', 'pubrel', 'pubcomp'] as const
    assert.equal(frame.readUInt16BE(body), parseOne(frame, names[kind - 4]!, what).messageId, what)
    totals.same.short += 1
  }
}

/**
 * A CONNECT that MQTT 3.1 allows and mqtt-packet does not read: reserved bits, or flags of fields
 * that are missing.
 */
function isOnlyOld(
  frame: Buffer,
  body: number,
  { level, will, username, password }: Connect,
): boolean {
  if (level !== 3) return false
  const flags = frame[body + 'xxMQIsdp'.length + 1]!
  const isMissing = (flags >= 128 && username === null) || ((flags & 64) !== 0 && password === null)
  return isMissing || flags % 2 === 1 || (will === null && (flags & 0x38) !== 0)
}

/** The stream of valid frames, in pieces of any size: both cut it at the same places. */
function compareCuts(random: Random, frames: readonly Buffer[], totals: CodecTotals): void {
  const readable = frames.filter((frame) => isReadable(frame))
  const cut: Buffer[] = []
  let rest = Buffer.alloc(0)
  const kinds: string[] = []
  const parser = mqttPacket.parser({ protocolVersion: 4 })
  parser.on('packet', ({ cmd, length }) => kinds.push(`${cmd} ${length}`))
  parser.on('error', (error) => {
    throw error
  })
  const bytes = Buffer.concat(readable)
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + random.below(40)
    rest = Buffer.concat([rest, bytes.subarray(at, end)])
    for (let size = frameBytes(rest, 0, rest.length); size > 0 && size <= rest.length; ) {
      cut.push(rest.subarray(0, size))
      rest = rest.subarray(size)
      size = frameBytes(rest, 0, rest.length)
    }
    parser.parse(Buffer.from(bytes.subarray(at, end)))
    at = end
  }
  assert.deepEqual(cut.map(hex), readable.map(hex))
  assert.equal(kinds.length, readable.length)
  for (const [index, frame] of readable.entries()) {
    assert.equal(kinds[index]?.split(' ')[1], String(frame.length - bodyOffset(frame, 0)))
  }
  totals.same.cut += readable.length
}

/**
 * Alone and in a stream: of a frame that is too short for its kind mqtt-packet reads on in the next
 * one, where there is one.
 */
function isReadable(frame: Buffer): boolean {
  return isFirst(frame) && isFirst(Buffer.concat([frame, NEXT_FRAME]))
}

/** What mqtt-packet finds first is a packet, of a version that it reads as the gateway does. */
function isFirst(bytes: Buffer): boolean {
  let verdict: boolean | null = null
  const parser = mqttPacket.parser({ protocolVersion: 4 })
  parser.on('packet', ({ cmd, protocolVersion }: { cmd: string; protocolVersion?: number }) => {
    verdict ??= cmd !== 'connect' || protocolVersion !== 5
  })
  parser.on('error', () => {
    verdict ??= false
  })
  try {
    parser.parse(Buffer.from(bytes))
  } catch {
    // Some lengths make mqtt-packet read past its buffer.
    return false
  }
  return verdict ?? false
}

function parseOne<C extends Packet['cmd']>(
  frame: Buffer,
  cmd: C,
  what: string,
): Extract<Packet, { cmd: C }> {
  const packets: Packet[] = []
  const parser = mqttPacket.parser({ protocolVersion: 4 })
  parser.on('packet', (packet) => packets.push(packet))
  parser.on('error', (error) =>
    assert.fail(`mqtt-packet refuses what the gateway takes: ${error.message}: ${what}`),
  )
  parser.parse(Buffer.from(frame))
  assert.equal(packets.length, 1, what)
  assert.equal(packets[0]?.cmd, cmd, what)
  return packets[0] as Extract<Packet, { cmd: C }>
}

function hex(bytes: Uint8Array | string | null): string | null {
  return bytes === null ? null : Buffer.from(bytes as Uint8Array).toString('hex')
}
