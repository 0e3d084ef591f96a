/**
 * Takes what a server of MQTT 5 sends, and lets a test wait for it. Strict: each packet is read as
 * the standard has it, CONNACK comes first and once, and nothing behind a refusal or a DISCONNECT.
 */
import { readAnswer } from '../../../conformance/answers.ts'
import { Taker } from '../taker.ts'

export class AnswerTaker extends Taker {
  /** PUBACKs and PUBRECs in order, whatever code they have. */
  readonly acks: string[] = []
  /** PUBCOMPs, SUBACKs and UNSUBACKs. */
  answers = 0
  pings = 0
  /** CONNACK that refuses, or DISCONNECT. */
  ending: string | null = null
  #hasConnack = false

  /** Until it is so, or the connection is closed. @throws if it does not come in time */
  async until(
    what: string,
    condition: () => boolean,
    seen: () => string = () => '',
  ): Promise<void> {
    const isDone = (): boolean => condition() || this.isClosed || this.fault !== null
    await this.waitUntil(isDone, () => `${what} ${seen()}`)
  }

  protected take(bytes: Buffer, body: Buffer): void {
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
