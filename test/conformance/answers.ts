/** What a server sent, as one line of text for each packet, and its properties. Pure. */
import {
  type Level,
  type RawFrame,
  readAck,
  readConnack,
  readDisconnect,
  readGrants,
  readPublish5,
  reasonText,
  TYPE,
} from '../support/mqtt-answers.ts'
import type { Properties } from '../support/mqtt-properties.ts'
import { readPublish } from '../support/raw-mqtt.ts'

export interface Answer {
  readonly text: string
  readonly properties: Properties
  /** Of a PUBLISH alone. */
  readonly copy: { readonly id: number; readonly payload: string; readonly isDup: boolean } | null
}

const ACK_NAMES: Readonly<Record<number, string>> = {
  [TYPE.PUBACK]: 'PUBACK',
  [TYPE.PUBREC]: 'PUBREC',
  [TYPE.PUBREL]: 'PUBREL',
  [TYPE.PUBCOMP]: 'PUBCOMP',
}

/** @throws where the packet is none that the standard allows */
export function readAnswer(frame: RawFrame, level: Level): Answer {
  switch (frame.type) {
    case TYPE.CONNACK: {
      const { code, sessionPresent, properties } = readConnack(frame, level)
      return of(`CONNACK ${reasonText(code)}${sessionPresent ? ' present' : ''}`, properties)
    }
    case TYPE.PUBLISH:
      return readCopy(frame, level)
    case TYPE.SUBACK:
    case TYPE.UNSUBACK: {
      const { id, codes, properties } = readGrants(frame, level)
      const name = frame.type === TYPE.SUBACK ? 'SUBACK' : 'UNSUBACK'
      const words = codes.map((code) => code.toString(16).padStart(2, '0'))
      return of([name, id, ...words].join(' '), properties)
    }
    case TYPE.DISCONNECT: {
      const { code, properties } = readDisconnect(frame)
      return of(`DISCONNECT ${reasonText(code)}`, properties)
    }
    case TYPE.PINGRESP:
      if (frame.bytes.length !== 2) throw new Error('PINGRESP with a body')
      return of('PINGRESP', {})
    default: {
      const { id, code, properties } = readAck(frame, level)
      const name = ACK_NAMES[frame.type]
      return of(`${name} ${id}${code === 0 ? '' : ` ${reasonText(code)}`}`, properties)
    }
  }
}

function readCopy(frame: RawFrame, level: Level): Answer {
  const qos = (frame.flags >> 1) & 3
  const [isDup, isRetained] = [frame.flags >= 8, (frame.flags & 1) === 1]
  if (qos === 0 && isDup) throw new Error('a copy at QoS 0 is marked as sent again')
  const read =
    level === 5 ? readPublish5(frame) : { ...readPublish(frame), properties: {} as Properties }
  const { topic, id, properties } = read
  if (qos > 0 && id === 0) throw new Error('a copy has the packet id 0')
  const payload = read.payload.toString()
  const marks = `q${qos}${isDup ? ' dup' : ''}${isRetained ? ' retain' : ''}`
  return { text: `PUBLISH ${topic} ${marks} ${payload}`, properties, copy: { id, payload, isDup } }
}

function of(text: string, properties: Properties): Answer {
  return { text, properties, copy: null }
}
