/**
 * Copies of a message as the frames that subscribers get. A frame is encoded once for all that get
 * the message at the same QoS and with the same RETAIN flag; DUP and the packet id of each copy are
 * written into the bytes of its socket write. Pure.
 */
import { frame, PUBLISH, prefixed } from '../mqtt/packets.ts'
import type { Qos } from '../mqtt/publish.ts'

const DUP = 0x08

/** A frame without its DUP flag and its packet id. */
export interface CopyFrame {
  readonly bytes: Buffer
  readonly qos: Qos
  /** Where the packet id belongs; 0 at QoS 0. */
  readonly idAt: number
}

interface Message {
  readonly topic: string
  readonly payload: Uint8Array
}

const NO_ID = Buffer.alloc(2)

/** Section 3.3. */
export function copyFrame({ topic, payload }: Message, qos: Qos, retain: boolean): CopyFrame {
  const first = PUBLISH | (qos << 1) | (retain ? 1 : 0)
  const name = prefixed(topic)
  const bytes = frame(first, qos === 0 ? [name, payload] : [name, NO_ID, payload])
  return { bytes, qos, idAt: qos === 0 ? 0 : bytes.length - payload.length - NO_ID.length }
}

/** The frames of one message, each made when it is first asked for. */
export class CopyFrames {
  readonly #message: Message
  readonly #made: (CopyFrame | undefined)[] = []

  constructor(message: Message) {
    this.#message = message
  }

  at(qos: Qos, retain: boolean): CopyFrame {
    const place = qos * 2 + (retain ? 1 : 0)
    return (this.#made[place] ??= copyFrame(this.#message, qos, retain))
  }
}

/** Writes the frame of one copy at `at`. Returns where it ends. */
export function writeCopy(
  out: Buffer,
  at: number,
  { bytes, idAt }: CopyFrame,
  packetId: number,
  dup: boolean,
): number {
  const end = at + bytes.copy(out, at)
  if (dup) out[at]! |= DUP
  if (idAt > 0) out.writeUInt16BE(packetId, at + idAt)
  return end
}
