/** The client of Kafka: an idempotent producer, calls of so many records. */
import { type KafkaMessage, kafkaLibrary } from '../../../../gateway/sink/kafka/library.ts'
import type { BareBatch } from './batches.ts'
import { nothingLeft, type Sender } from './sender.ts'
import type { BareTask } from './task.ts'

const TIMEOUT_MS = 30_000

export async function kafkaSender(task: Extract<BareTask, { kind: 'kafka' }>): Promise<Sender> {
  const { Producer } = await kafkaLibrary.load()
  const { brokers, topic } = task
  const producer = new Producer({
    clientId: `bare-${process.pid}`,
    bootstrapBrokers: brokers,
    idempotent: true,
    producerId: -1n,
    producerEpoch: -1,
    compression: 'gzip',
    connectTimeout: TIMEOUT_MS,
    requestTimeout: TIMEOUT_MS,
    timeout: TIMEOUT_MS,
    retries: 0,
    retryDelay: 0,
  })
  await producer.initIdempotentProducer({})
  return {
    ...nothingLeft,
    send: async (batch) => {
      const messages = messagesOf(batch, topic)
      for (let at = 0; at < messages.length; at += task.maxRecords) {
        const some = messages.slice(at, at + task.maxRecords)
        await producer.send({ messages: some, idempotent: true, acks: -1 })
      }
    },
    close: async () => {
      await producer.close(true)
    },
  }
}

function messagesOf({ records, payloads }: BareBatch, topic: string): KafkaMessage[] {
  return records.map(({ id, device, receivedAt, topic: mqttTopic }, i) => ({
    topic,
    key: Buffer.from(device),
    value: payloads[i] ?? Buffer.alloc(0),
    headers: new Map([
      [Buffer.from('id'), Buffer.from(id)],
      [Buffer.from('receivedAt'), Buffer.from(receivedAt)],
      [Buffer.from('topic'), Buffer.from(mqttTopic)],
    ]),
    timestamp: BigInt(Date.parse(receivedAt)),
  }))
}
