/** librdkafka's mock cluster as a receiver, for the conformance suite. */
import { createKafkaSink } from '../../../gateway/sink/kafka/sink.ts'
import type { SinkHarness } from '../conformance.ts'
import { kafkaSinkConfig } from './configs.ts'
import { API, CODE, MockCluster } from './mock-cluster.ts'

/** Longer than an answer takes, shorter than the one that is lost. */
const TIMEOUT_MS = 1000
const MANY = 1000

export const kafkaHarness: SinkHarness = {
  promise: 'at least once',
  open: async () => {
    const cluster = await MockCluster.start()
    await cluster.tell('topic', 'plant', 1)
    await cluster.tell('topic', 'gaps', 1)
    const config = kafkaSinkConfig({
      brokers: cluster.brokers,
      gapsTopic: 'gaps',
      timeout: TIMEOUT_MS,
    })
    const of = async (topic: string) =>
      (await cluster.sync()).filter((record) => record.topic === topic)
    return {
      sink: () => createKafkaSink({ name: 'cluster', config, emit: () => undefined }),
      config: { ...config },
      ids: async () => (await of('plant')).map(({ headers }) => headers['id'] ?? ''),
      gaps: async () => [...new Set((await of('gaps')).map(({ value }) => value))],
      outage: async () => {
        await cluster.tell('down')
        return () => cluster.tell('up')
      },
      trouble: async () => {
        await cluster.tell('errors', API.produce, CODE.topicForbidden, MANY)
        return () => cluster.tell('clear', API.produce)
      },
      loseAnswer: () => cluster.tell('answer-after', API.produce, 4 * TIMEOUT_MS),
      takeThrough: null,
      refuse: async () => {
        await cluster.tell('errors', API.produce, CODE.invalidRecord, 1)
        return null
      },
      close: () => cluster.close(),
    }
  },
}
