/**
 * What a message of MQTT 5 carries beside topic and payload, as a head in front of a stored value
 * of before (stored-values.ts): values without it look as they always did.
 */
import type { MessageOptions } from '../mqtt/v5/message-options.ts'

/** Of the head; the value behind it has its own. */
const FORMAT = 2
const HAS_OPTIONS = 0x01
const HAS_EXPIRY = 0x02
/** format, flags, expiry (32 bits), time (48 bits), forwarded bytes (32 bits), identifiers (16 bits). */
const HEAD_BYTES = 1 + 1 + 4 + 6 + 4 + 2
const IDENTIFIER_BYTES = 4

/** Beside the options: Subscription Identifiers of a copy, the delay of a will. */
interface StoredOptions {
  readonly options: MessageOptions | null
  readonly numbers: readonly number[]
}

const NOTHING: StoredOptions = { options: null, numbers: [] }

export function withOptions({ options, numbers }: StoredOptions, value: Buffer): Buffer {
  if (options === null && numbers.length === 0) return value
  const forwarded = options?.forwarded ?? Buffer.alloc(0)
  const head = Buffer.alloc(HEAD_BYTES)
  const expiry = options?.expirySeconds ?? null
  head[0] = FORMAT
  head[1] = (options === null ? 0 : HAS_OPTIONS) | (expiry === null ? 0 : HAS_EXPIRY)
  head.writeUInt32BE(expiry ?? 0, 2)
  head.writeUIntBE(options?.receivedAtMs ?? 0, 6, 6)
  head.writeUInt32BE(forwarded.length, 12)
  head.writeUInt16BE(numbers.length, 16)
  const tail = Buffer.alloc(numbers.length * IDENTIFIER_BYTES)
  for (const [index, number] of numbers.entries())
    tail.writeUInt32BE(number, index * IDENTIFIER_BYTES)
  return Buffer.concat([head, forwarded, tail, value])
}

/** The options, and the value behind them. Throws where the head is cut off. */
export function splitOptions(bytes: Uint8Array): StoredOptions & { readonly value: Uint8Array } {
  if (bytes[0] !== FORMAT) return { ...NOTHING, value: bytes }
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const flags = head.readUInt8(1)
  const forwardedEnd = HEAD_BYTES + head.readUInt32BE(12)
  const count = head.readUInt16BE(16)
  const end = forwardedEnd + count * IDENTIFIER_BYTES
  if (end > head.length) throw new Error('the properties are cut off')
  const numbers = Array.from({ length: count }, (_, index) =>
    head.readUInt32BE(forwardedEnd + index * IDENTIFIER_BYTES),
  )
  const options =
    (flags & HAS_OPTIONS) === 0
      ? null
      : {
          forwarded: Buffer.from(head.subarray(HEAD_BYTES, forwardedEnd)),
          expirySeconds: (flags & HAS_EXPIRY) === 0 ? null : head.readUInt32BE(2),
          receivedAtMs: head.readUIntBE(6, 6),
        }
  return { options, numbers, value: head.subarray(end) }
}
