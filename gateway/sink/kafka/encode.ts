/**
 * Batch -> Kafka messages. Pure but for reading the batch. I4: topics, keys, values, headers and
 * timestamps depend on the batch and the configuration alone. A record that the mapping cannot place
 * is left out and refused beside the ack of the rest.
 *
 * Not here: partitions (the client's, by the key) and the bytes on the wire (the client's).
 */
import { createHash } from 'node:crypto'
import type { Batch, BatchEncoder, Gap, Listed } from '../../ports/sink.ts'
import { RecordView, Unmappable } from '../mapping/record-view.ts'
import { compileTemplate, type Template } from '../mapping/template.ts'
import { type KafkaSinkConfig, topicFault } from './config.ts'
import type { KafkaMessage } from './library.ts'

type KafkaForm = Pick<KafkaSinkConfig, 'topic' | 'key' | 'value' | 'gapsTopic' | 'compression'>

export interface EncodedBatch {
  /** Gaps first, then the records in their order. */
  readonly messages: readonly KafkaMessage[]
  /** Of the messages, each once. */
  readonly topics: readonly string[]
  readonly refused: readonly Listed[]
}

export interface KafkaEncoder extends BatchEncoder {
  encode(batch: Batch): Promise<EncodedBatch>
}

const ID = Buffer.from('id')
const RECEIVED_AT = Buffer.from('receivedAt')
const TOPIC = Buffer.from('topic')

export function kafkaEncoder(form: KafkaForm): KafkaEncoder {
  const { topic, key, value, gapsTopic, compression } = form
  const mapping = createHash('sha256').update(JSON.stringify([topic, key, gapsTopic]))
  const topicNames = new TopicNames(compileTemplate(topic))
  const keyTemplate = compileTemplate(key)
  return {
    fingerprint: `kafka:${value}:${compression}:${mapping.digest('hex').slice(0, 8)}`,
    stitches: null,
    gapsThatFit: (gaps) => gaps.length,
    encode: async (batch) => {
      const view = new RecordView(batch)
      const messages = gapsTopic === null ? [] : batch.gaps.map(gapMessage(batch, gapsTopic))
      const refused: Listed[] = []
      const topics = new Set(messages.map((message) => message.topic))
      for await (const record of batch.records()) {
        try {
          view.at(record)
          const name = topicNames.of(view)
          messages.push(recordMessage(name, keyTemplate.render(view), view, value))
          topics.add(name)
        } catch (error) {
          if (!(error instanceof Unmappable)) throw error
          const reason = `unmappable: ${error.message}`
          refused.push({ seq: record.seq, verdict: 'refused', code: null, reason })
        }
      }
      return { messages, topics: [...topics], refused }
    },
  }
}

/** Levels of an MQTT topic, as topics of Kafka are written. */
export function withDots(topic: string): string {
  return topic.replaceAll('/', '.')
}

/** What a template without placeholders says; null: it has some. */
export function constantOf(template: Template): string | null {
  if (!template.isConstant) return null
  return template.render(new RecordView({ gateway: '', stream: '' }))
}

/** Names of topics, each judged once. */
class TopicNames {
  readonly #template: Template
  readonly #constant: string | null
  /** By what the template gave: the fault of the name that came of it; null: none. */
  readonly #faults = new Map<string, string | null>()

  constructor(template: Template) {
    this.#template = template
    const constant = constantOf(template)
    this.#constant = constant === null ? null : withDots(constant)
  }

  /** @throws Unmappable */
  of(view: RecordView): string {
    if (this.#constant !== null) return this.#constant
    const name = withDots(this.#template.render(view))
    let fault = this.#faults.get(name)
    if (fault === undefined) {
      fault = topicFault(name)
      if (this.#faults.size >= MAX_KNOWN_NAMES) this.#faults.clear()
      this.#faults.set(name, fault)
    }
    if (fault !== null)
      throw new Unmappable(`${JSON.stringify(name)} is no name of a topic: ${fault}`)
    return name
  }
}

const MAX_KNOWN_NAMES = 10_000

function recordMessage(
  topic: string,
  key: string,
  { record, receivedAt }: RecordView,
  form: KafkaSinkConfig['value'],
): KafkaMessage {
  const bytes = form === 'payload' ? record.payload : record.line.subarray(0, -1)
  return {
    topic,
    key: Buffer.from(key),
    value: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    headers: new Map([
      [ID, Buffer.from(record.id)],
      [RECEIVED_AT, Buffer.from(receivedAt)],
      [TOPIC, Buffer.from(record.topic)],
    ]),
    timestamp: BigInt(record.receivedAtMs),
  }
}

/** A gap of a batch has the time of the batch: the same again on each try. */
function gapMessage({ gateway, stream, receivedAtMs }: Batch, topic: string) {
  return ({ spoolId, firstSeq, lastSeq, reason }: Gap): KafkaMessage => {
    const queue = `${gateway}:${spoolId}:${stream}`
    const value = { gateway, spool: spoolId, stream, firstSeq, lastSeq, reason }
    return {
      topic,
      key: Buffer.from(queue),
      value: Buffer.from(JSON.stringify(value)),
      headers: new Map([[ID, Buffer.from(`${queue}:${firstSeq}-${lastSeq}`)]]),
      timestamp: BigInt(receivedAtMs),
    }
  }
}
