/**
 * Batch -> messages: topic, payload, user properties of each record, and one message for its gaps.
 * Pure: the same batch gives the same messages in the same places (I4), which QoS 2 needs, since a
 * place is a packet id. A record that cannot be a message is one of the list, with why.
 */
import { createHash } from 'node:crypto'
import { generate } from 'mqtt-packet'
import type { Batch, BatchEncoder, SinkRecord } from '../../ports/sink.ts'
import { RecordView, Unmappable } from '../mapping/record-view.ts'
import { compileMapped, compileTemplate, type Mapped, type Template } from '../mapping/template.ts'
import type { Outgoing } from './client/exchange.ts'
import type { MqttSinkConfig } from './config.ts'
import { type BrokerProfile, type MessageForm, PROFILES } from './profiles.ts'

/** Gaps of one message: some 100 bytes each. */
const MAX_GAPS = 500

/** For a subscriber to tell them from readings of the topic. */
interface OutgoingMessage {
  readonly topic: string
  readonly payload: Buffer
  readonly properties: Readonly<Record<string, string>> | null
  /** MQTT 5: the rest of the record's Message Expiry Interval [MQTT-3.3.2-6]; null: none. */
  readonly expirySeconds: number | null
}

export type MessageOrNot =
  | { readonly seq: number | null; readonly message: OutgoingMessage }
  | { readonly seq: number; readonly refusal: string; readonly isOverLimit: boolean }

type EncodedKeys = Pick<
  MqttSinkConfig,
  | 'clientId'
  | 'profile'
  | 'version'
  | 'qos'
  | 'topic'
  | 'message'
  | 'retain'
  | 'userProperties'
  | 'gaps'
  | 'maxMessageBytes'
>

export class MqttEncoder implements BatchEncoder {
  readonly fingerprint: string
  readonly stitches = null
  /** QoS 2: the broker's session knows messages by their places in this batch. */
  readonly keepsWhole?: true
  readonly #config: EncodedKeys
  readonly #profile: BrokerProfile
  readonly #form: MessageForm
  readonly #topic: Template
  readonly #properties: ReadonlyArray<readonly [name: string, value: Mapped]>
  readonly #maxMessageBytes: number

  constructor(config: EncodedKeys) {
    this.#config = config
    this.#profile = PROFILES[config.profile]
    this.#form = config.message ?? this.#profile.message
    const topic = topicOf(config)
    this.#topic = compileTemplate(topic)
    this.#properties = Object.entries(config.userProperties).map(
      ([name, value]) => [name, compileMapped(value)] as const,
    )
    this.#maxMessageBytes =
      config.maxMessageBytes ?? this.#profile.maxMessageBytes ?? Number.POSITIVE_INFINITY
    // Not the version: what a subscriber gets, and what a session knows, is the same.
    const { retain, userProperties, gaps } = config
    const form = { topic, form: this.#form, retain, userProperties, gaps }
    const hash = createHash('sha256').update(JSON.stringify(form)).digest('hex').slice(0, 12)
    this.fingerprint = `mqtt:${config.qos}:${hash}`
    if (config.qos === 2) this.keepsWhole = true
  }

  gapsThatFit(gaps: Batch['gaps']): number {
    return Math.min(gaps.length, MAX_GAPS)
  }

  /** In the order of their slots; gaps first. */
  async *messages(batch: Batch): AsyncGenerator<MessageOrNot, void, void> {
    const { gaps } = this.#config
    if (gaps !== null && batch.gaps.length > 0)
      yield { seq: null, message: gapMessage(batch, gaps.topic) }
    const view = new RecordView(batch)
    for await (const record of batch.records()) yield this.#messageOf(view.at(record), record)
  }

  /** As they go into an exchange, with the limits of the connection. */
  async *outgoing(batch: Batch, maxPacketBytes: number): AsyncGenerator<Outgoing, void, void> {
    for await (const one of this.messages(batch)) {
      if ('refusal' in one) {
        yield { ...one, encode: nothing }
        continue
      }
      const { seq, message } = one
      const bytes = this.#packet(message)
      const isOverLimit = bytes.length > maxPacketBytes
      const refusal = isOverLimit
        ? `its packet has ${bytes.length} bytes, the broker takes ${maxPacketBytes}`
        : null
      yield { seq, refusal, isOverLimit, encode: (id, dup) => withId(bytes, id, dup) }
    }
  }

  #messageOf(view: RecordView, record: SinkRecord): MessageOrNot {
    const { seq } = record
    try {
      const topic = this.#topic.render(view)
      const payload = payloadOf(this.#form, view)
      const properties =
        this.#properties.length === 0
          ? null
          : Object.fromEntries(this.#properties.map(([name, value]) => [name, textOf(value(view))]))
      if (topic === '') throw new Unmappable('its topic is empty')
      if (/[+#\0]/.test(topic))
        throw new Unmappable(`its topic would be ${topic}, which nothing can be published on`)
      const limit = this.#limitMet(topic, payload)
      if (limit !== null) return { seq, refusal: `unmappable: ${limit}`, isOverLimit: true }
      const { expirySeconds } = record
      return { seq, message: { topic, payload, properties, expirySeconds } }
    } catch (error) {
      if (!(error instanceof Unmappable)) throw error
      return { seq, refusal: `unmappable: ${error.message}`, isOverLimit: false }
    }
  }

  /** What is not in the fingerprint. */
  #limitMet(topic: string, payload: Buffer): string | null {
    const { maxTopicBytes, maxTopicSlashes, freePrefix } = this.#profile
    const counted = freePrefix === null ? topic : topic.replace(freePrefix, '')
    const bytes = Buffer.byteLength(counted)
    if (bytes > maxTopicBytes)
      return `its topic has ${bytes} bytes, the broker takes ${maxTopicBytes}`
    if (maxTopicSlashes !== null && counted.split('/').length - 1 > maxTopicSlashes)
      return `its topic has more than ${maxTopicSlashes} slashes, which the broker does not take`
    if (payload.length > this.#maxMessageBytes)
      return `its message has ${payload.length} bytes, the broker takes ${this.#maxMessageBytes} (maxMessageBytes)`
    return null
  }

  #packet({ topic, payload, properties, expirySeconds }: OutgoingMessage): Buffer {
    const { qos, retain, version } = this.#config
    const packet = {
      cmd: 'publish',
      topic,
      payload,
      qos,
      retain,
      dup: false,
      messageId: 1,
    } as const
    if (version === '3.1.1') return generate(packet)
    const own = {
      ...(properties === null ? {} : { userProperties: { ...properties } }),
      ...(expirySeconds === null ? {} : { messageExpiryInterval: expirySeconds }),
    }
    const isBare = properties === null && expirySeconds === null
    return generate(isBare ? packet : { ...packet, properties: own }, { protocolVersion: 5 })
  }
}

/** The template; that of the profile, where none is configured. */
export function topicOf({ topic, profile, clientId }: EncodedKeys): string {
  return topic ?? PROFILES[profile].topic.replace('${clientId}', clientId ?? '')
}

function payloadOf(form: MessageForm, view: RecordView): Buffer {
  const { payload, line, payloadKind, device, receivedAtMs } = view.record
  if (form === 'payload') return bufferOf(payload)
  if (form === 'record') return bufferOf(line.subarray(0, -1))
  if (payloadKind !== 'json' || !/^\s*\{/.test(view.json))
    throw new Unmappable('the payload is no JSON object, which values are for ThingsBoard')
  const name = JSON.stringify(device)
  return Buffer.from(`{${name}:[{"ts":${receivedAtMs},"values":${view.json}}]}`)
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

function textOf({ type, text }: ReturnType<Mapped>): string {
  return type === 'missing' || type === 'null' ? '' : text
}

function gapMessage({ gateway, spoolId, stream, firstSeq, lastSeq, gaps }: Batch, topic: string) {
  const text = JSON.stringify({ gateway, spool: spoolId, stream, firstSeq, lastSeq, gaps })
  return { topic, payload: Buffer.from(text), properties: null, expirySeconds: null }
}

const nothing = (): Uint8Array => Buffer.alloc(0)

/** The id stands behind the topic, DUP in the first byte. */
function withId(packet: Buffer, id: number, dup: boolean): Buffer {
  let at = 1
  while ((packet[at] ?? 0) > 127) at += 1
  packet.writeUInt16BE(id, at + 1 + 2 + packet.readUInt16BE(at + 1))
  packet[0] = dup ? (packet[0] ?? 0) | 8 : (packet[0] ?? 0) & ~8
  return packet
}
