/**
 * Takes what a server of MQTT 5 sends, and lets a test wait for it. Strict: each packet is read as
 * the standard has it, CONNACK comes first and once, and nothing behind a refusal or a DISCONNECT.
 */
import type { Duplex } from 'node:stream'
import { readAnswer } from '../../../conformance/answers.ts'

const WAIT_MS = 20_000

export class AnswerTaker {
  /** PUBACKs and PUBRECs in order, whatever code they have. */
  readonly acks: string[] = []
  /** PUBCOMPs, SUBACKs and UNSUBACKs. */
  answers = 0
  pings = 0
  /** CONNACK that refuses, or DISCONNECT. */
  ending: string | null = null
  isClosed = false
  fault: Error | null = null
  #hasConnack = false
  #pending: Buffer = Buffer.alloc(0)
  #wake: (() => void) | null = null

  constructor(end: Duplex) {
    end.on('data', (chunk: Buffer) => {
      this.#pending = Buffer.concat([this.#pending, chunk])
      try {
        this.#cut()
      } catch (error) {
        this.fault ??= error as Error
      }
      this.#wake?.()
    })
    end.on('error', () => {})
    end.once('close', () => {
      this.isClosed = true
      this.#wake?.()
    })
  }

  /** Until it is so, or the connection is closed. @throws if it does not come in time */
  async until(
    what: string,
    condition: () => boolean,
    seen: () => string = () => '',
  ): Promise<void> {
    const endMs = performance.now() + WAIT_MS
    while (!condition() && !this.isClosed && this.fault === null) {
      const leftMs = endMs - performance.now()
      if (leftMs <= 0) throw new Error(`did not come: ${what} ${seen()}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = null
    }
  }

  #cut(): void {
    for (;;) {
      const bytes = this.#pending
      let length = 0
      let at = 1
      for (; ; at += 1) {
        if (at >= bytes.length) return
        if (at > 4) throw new Error('a length of more than four bytes')
        length += (bytes[at]! & 127) * 128 ** (at - 1)
        if (bytes[at]! < 128) break
      }
      const end = at + 1 + length
      if (bytes.length < end) return
      this.#take(bytes.subarray(0, end), bytes.subarray(at + 1, end))
      this.#pending = bytes.subarray(end)
    }
  }

  #take(bytes: Buffer, body: Buffer): void {
    const first = bytes[0]!
    const frame = { type: first & 0xf0, flags: first & 15, body, bytes }
    const { text } = readAnswer(frame, 5)
    const [name = ''] = text.split(' ')
    if (this.ending !== null) throw new Error(`${text} behind ${this.ending}`)
    if ((name === 'CONNACK') === this.#hasConnack) throw new Error(`${text}, out of its turn`)
    this.#hasConnack = true
    if (name === 'DISCONNECT' || (name === 'CONNACK' && !text.startsWith('CONNACK 0x00')))
      this.ending = text
    else if (name === 'PUBACK' || name === 'PUBREC')
      this.acks.push(text.split(' ').slice(0, 2).join(' '))
    else if (name === 'PINGRESP') this.pings += 1
    else if (/^(?:PUBCOMP|SUBACK|UNSUBACK)$/.test(name)) this.answers += 1
  }
}
