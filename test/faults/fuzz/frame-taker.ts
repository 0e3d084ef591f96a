/**
 * Takes the frames that a server sends, sorts them, and lets a test wait for them. Answers nothing.
 * Strict: bytes that are no whole, known frame of a server are an error.
 */
import type { Duplex } from 'node:stream'
import { type RawFrame, readConnack } from '../../support/mqtt-answers.ts'
import { TYPE } from '../../support/raw-mqtt.ts'
import { Taker } from './taker.ts'

interface Connack {
  /** From 0x80: the reason code of MQTT 5 that refuses. */
  readonly code: number
  readonly present: boolean
}

export class FrameTaker extends Taker {
  connack: Connack | null = null
  /** PUBACK and PUBREC in one order: `40 17`. */
  readonly acks: string[] = []
  readonly completions: number[] = []
  pings = 0
  /** `<packet id> <return codes> <refused>`, or `<packet id> u`. */
  readonly subscriptions: string[] = []
  /** Copies of messages, and PUBRELs of such. */
  copies = 0
  readonly #onCopy: ((topic: string, payload: string, id: number) => void) | null

  constructor(
    end: Duplex,
    onCopy: ((topic: string, payload: string, id: number) => void) | null = null,
  ) {
    super(end)
    this.#onCopy = onCopy
  }

  /** @throws at a fault, or when it does not come in time, or the connection closes before */
  async until(what: string, condition: () => boolean, mayClose = false): Promise<void> {
    const isDone = (): boolean => {
      if (this.fault !== null) throw this.fault
      if (condition()) return true
      if (this.isClosed && !mayClose) throw new Error(`the connection was closed; expected ${what}`)
      return false
    }
    await this.waitUntil(isDone, () => what)
  }

  protected take(bytes: Buffer, body: Buffer): void {
    const first = bytes[0]!
    if (this.connack === null && first !== TYPE.CONNACK) {
      throw new Error(`frame 0x${first.toString(16)} before CONNACK`)
    }
    const needs = (ok: boolean): void => {
      if (!ok) throw new Error(`a server sent 0x${first.toString(16)} ${body.toString('hex')}`)
    }
    switch (first & 0xf0) {
      case TYPE.CONNACK:
        needs(this.connack === null)
        this.connack = connackOf({ type: first & 0xf0, flags: first & 15, body, bytes })
        return
      case TYPE.PUBACK:
      case TYPE.PUBREC:
        needs((first & 15) === 0 && body.length === 2)
        this.acks.push(`${first.toString(16)} ${body.readUInt16BE(0)}`)
        return
      case TYPE.PUBCOMP:
        needs((first & 15) === 0 && body.length === 2)
        this.completions.push(body.readUInt16BE(0))
        return
      case TYPE.PINGRESP:
        needs(first === 0xd0 && body.length === 0)
        this.pings += 1
        return
      case TYPE.SUBACK:
        needs(first === 0x90 && body.length > 2)
        this.subscriptions.push(
          `${body.readUInt16BE(0)} ${body.length - 2} ${body.subarray(2).filter((code) => code === 0x80).length}`,
        )
        return
      case TYPE.UNSUBACK:
        needs(first === 0xb0 && body.length === 2)
        this.subscriptions.push(`${body.readUInt16BE(0)} u`)
        return
      case TYPE.PUBREL:
        needs(first === 0x62 && body.length === 2)
        this.copies += 1
        return
      case TYPE.PUBLISH:
        this.#takeCopy(first, body)
        return
      default:
        needs(false)
    }
  }

  #takeCopy(first: number, body: Buffer): void {
    this.copies += 1
    if (this.#onCopy === null) return
    const topicEnd = 2 + body.readUInt16BE(0)
    const hasId = (first & 6) !== 0
    const id = hasId ? body.readUInt16BE(topicEnd) : 0
    const payload = body.subarray(topicEnd + (hasId ? 2 : 0)).toString()
    this.#onCopy(body.subarray(2, topicEnd).toString(), payload, id)
  }
}

/** A CONNECT that says MQTT 5, or another version, is refused in the words of MQTT 5. */
function connackOf(frame: RawFrame): Connack {
  const isRefused5 = (frame.body[1] ?? 0) >= 0x80
  const { code, sessionPresent, properties } = readConnack(frame, isRefused5 ? 5 : 4)
  if (code === 0x84 && Object.keys(properties).length > 0)
    throw new Error('a client of an unknown version is sent properties')
  return { code, present: sessionPresent }
}
