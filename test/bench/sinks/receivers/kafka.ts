/**
 * librdkafka's mock cluster: brokers that keep records in memory. The client wants a newer Node than
 * the gateway; both programs run under that one.
 */
import { MockCluster } from '../../../sink/kafka/mock-cluster.ts'
import { newerNode } from '../../../sink/kafka/newer-node.ts'
import type { Contest } from '../contest.ts'

const PARTITIONS = 4
/** About what 896 KiB of records are, the sink's batch. */
const MAX_RECORDS = 2400

export const kafkaContest: Contest = {
  name: 'kafka',
  tools: ['npm', 'gcc'],
  records: 100_000,
  about: "librdkafka's mock cluster; its client, idempotent, a batch a call; under a newer Node",
  open: async () => {
    const node = newerNode()
    const cluster = await MockCluster.start()
    let places = 0
    return {
      place: async () => {
        const topic = `place-${++places}`
        await cluster.tell('topic', topic, PARTITIONS)
        const before = (await cluster.sync()).length
        const { brokers } = cluster
        return {
          node,
          sink: { type: 'kafka', brokers, topic },
          bare: { kind: 'kafka', brokers, topic, maxRecords: MAX_RECORDS },
          stored: async () => (await cluster.sync()).length - before,
        }
      },
      close: () => cluster.close(),
    }
  },
}
