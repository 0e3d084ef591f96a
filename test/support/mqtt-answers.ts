/**
 * What a server answers in MQTT 3.1.1 and 5, read as the standard has it: reason codes of the
 * packet's own table, properties that belong there, nothing behind them. Pure; each reader throws
 * with what is wrong.
 */
import { type AnswerName, type Properties, readProperties } from './mqtt-properties.ts'

export interface RawFrame {
  /** Upper half of the first byte. */
  readonly type: number
  readonly flags: number
  readonly body: Buffer
  readonly bytes: Buffer
}

export const TYPE = {
  CONNACK: 0x20,
  PUBLISH: 0x30,
  PUBACK: 0x40,
  PUBREC: 0x50,
  PUBREL: 0x60,
  PUBCOMP: 0x70,
  SUBACK: 0x90,
  UNSUBACK: 0xb0,
  PINGRESP: 0xd0,
  /** Of version 5 alone. */
  DISCONNECT: 0xe0,
} as const

/** `4` is 3.1.1. */
export type Level = 4 | 5

/** Reason codes that devices know by name. */
export const REASON = {
  SUCCESS: 0x00,
  NO_SUBSCRIBERS: 0x10,
  UNSPECIFIED: 0x80,
  SESSION_TAKEN_OVER: 0x8e,
  PACKET_ID_NOT_FOUND: 0x92,
  RECEIVE_MAXIMUM_EXCEEDED: 0x93,
  QUOTA_EXCEEDED: 0x97,
} as const

const PUBLISH_REASONS = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]
const RELEASE_REASONS = [0x00, 0x92]

/** By packet, what a server may say (sections 3.2.2.2, 3.4.2.1 and so on). */
const REASONS: Readonly<Record<Exclude<AnswerName, 'PUBLISH'>, readonly number[]>> = {
  CONNACK: [
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97,
    0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f,
  ],
  PUBACK: PUBLISH_REASONS,
  PUBREC: PUBLISH_REASONS,
  PUBREL: RELEASE_REASONS,
  PUBCOMP: RELEASE_REASONS,
  SUBACK: [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
  UNSUBACK: [0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91],
  DISCONNECT: [
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96,
    0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
  ],
}

export interface Connack {
  readonly sessionPresent: boolean
  /** Of 3.1.1 its return code. */
  readonly code: number
  /** Of 3.1.1 none. */
  readonly properties: Properties
}

export interface Ack {
  readonly id: number
  /** Of 3.1.1 always 0: it has no word for anything else. */
  readonly code: number
  readonly properties: Properties
}

type AckName = 'PUBACK' | 'PUBREC' | 'PUBREL' | 'PUBCOMP'

const ACK_NAMES: Readonly<Record<number, AckName>> = {
  [TYPE.PUBACK]: 'PUBACK',
  [TYPE.PUBREC]: 'PUBREC',
  [TYPE.PUBREL]: 'PUBREL',
  [TYPE.PUBCOMP]: 'PUBCOMP',
}

export function readConnack(frame: RawFrame, level: Level): Connack {
  const { body } = frame
  if (frame.type !== TYPE.CONNACK || frame.flags !== 0) throw new Error(`no CONNACK: ${hex(frame)}`)
  const [flags = 0xff, code = 0xff] = body
  if (flags > 1) throw new Error(`CONNACK with flags ${flags}`)
  // [MQTT-3.2.2-4] of 3.1.1, [MQTT-3.2.2-6] of 5.
  if (code !== 0 && flags !== 0) throw new Error('a refusal says that there is a session')
  if (level === 4) {
    if (body.length !== 2 || code > 5) throw new Error(`CONNACK of another version: ${hex(frame)}`)
    return { sessionPresent: flags === 1, code, properties: {} }
  }
  known('CONNACK', code)
  const { properties, end } = readProperties('CONNACK', body, 2)
  atEnd('CONNACK', body, end)
  return { sessionPresent: flags === 1, code, properties }
}

/** PUBACK, PUBREC, PUBREL and PUBCOMP. */
export function readAck(frame: RawFrame, level: Level): Ack {
  const name = ACK_NAMES[frame.type]
  if (name === undefined) throw new Error(`no ack: ${hex(frame)}`)
  if (frame.flags !== (name === 'PUBREL' ? 2 : 0)) throw new Error(`${name} with flags`)
  const { body } = frame
  const id = body.length >= 2 ? body.readUInt16BE(0) : 0
  if (id === 0) throw new Error(`${name} without a packet id`)
  if (body.length === 2) return { id, code: 0, properties: {} }
  if (level === 4) throw new Error(`${name} of another version: ${hex(frame)}`)
  const code = body[2] ?? 0
  known(name, code)
  if (body.length === 3) return { id, code, properties: {} }
  const { properties, end } = readProperties(name, body, 3)
  atEnd(name, body, end)
  return { id, code, properties }
}

/** A server's; of version 5 alone. */
export function readDisconnect(frame: RawFrame): Omit<Ack, 'id'> {
  const { body } = frame
  if (frame.type !== TYPE.DISCONNECT || frame.flags !== 0)
    throw new Error(`no DISCONNECT: ${hex(frame)}`)
  if (body.length === 0) return { code: 0, properties: {} }
  const code = body[0] ?? 0
  known('DISCONNECT', code)
  if (body.length === 1) return { code, properties: {} }
  const { properties, end } = readProperties('DISCONNECT', body, 1)
  atEnd('DISCONNECT', body, end)
  return { code, properties }
}

/** A PUBLISH of version 5 that a subscriber got. */
export function readPublish5(frame: RawFrame): {
  readonly topic: string
  readonly payload: Buffer
  readonly id: number
  readonly qos: number
  readonly properties: Properties
} {
  const { body, flags } = frame
  if (frame.type !== TYPE.PUBLISH) throw new Error(`no PUBLISH: ${hex(frame)}`)
  const topicEnd = 2 + body.readUInt16BE(0)
  const qos = (flags >> 1) & 3
  const id = qos > 0 ? body.readUInt16BE(topicEnd) : 0
  const { properties, end } = readProperties('PUBLISH', body, qos > 0 ? topicEnd + 2 : topicEnd)
  const topic = body.toString('utf8', 2, topicEnd)
  return { topic, payload: body.subarray(end), id, qos, properties }
}

/** SUBACK and UNSUBACK, with a code for each filter. */
export function readGrants(
  frame: RawFrame,
  level: Level,
): { readonly id: number; readonly codes: readonly number[]; readonly properties: Properties } {
  const { body } = frame
  const name = frame.type === TYPE.SUBACK ? 'SUBACK' : 'UNSUBACK'
  if (name === 'UNSUBACK' && frame.type !== TYPE.UNSUBACK)
    throw new Error(`no SUBACK: ${hex(frame)}`)
  const id = body.readUInt16BE(0)
  if (level === 4) return { id, codes: [...body.subarray(2)], properties: {} }
  const { properties, end } = readProperties(name, body, 2)
  const codes = [...body.subarray(end)]
  for (const code of codes) known(name, code)
  return { id, codes, properties }
}

function known(name: Exclude<AnswerName, 'PUBLISH'>, code: number): void {
  if (!REASONS[name].includes(code))
    throw new Error(`${name} with reason code ${reasonText(code)}, which is not one of its own`)
}

function atEnd(name: AnswerName, body: Buffer, end: number): void {
  if (end !== body.length) throw new Error(`${name} goes on behind its properties`)
}

/** As the standard writes it: 0x97. */
export function reasonText(code: number): string {
  return `0x${code.toString(16).padStart(2, '0')}`
}

function hex({ bytes }: RawFrame): string {
  return bytes.toString('hex', 0, 40)
}
