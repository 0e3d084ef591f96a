/**
 * The Kafka sink: librdkafka's mock cluster behind a front that knows users, and repeats by their
 * sequence. The mock keeps its logs in memory: it goes down and comes back with them, but cannot be
 * killed.
 */

import { BrokerFront } from '../../../sink/kafka/broker-front.ts'
import { API, CODE, MockCluster } from '../../../sink/kafka/mock-cluster.ts'
import { newerNode } from '../../../sink/kafka/newer-node.ts'
import {
  type StoredReading,
  TAKEN_FOR_DELIVERED,
  type TestedType,
  type Trouble,
} from '../receiver.ts'

const BATCH = 20
const MANY = 100_000
const TOPICS = ['plant', 'line'] as const
const RIGHT = 'edge:right'

export const testedKafka: TestedType = {
  delivery: 'at least once',
  window: BATCH,
  tools: ['npm', 'gcc'],
  node: newerNode,
  planted: [
    {
      defect: 'no answer is an ack',
      only: ['link refused'],
      seenAs: TAKEN_FOR_DELIVERED,
    },
  ],
  open: async () => {
    const cluster = await MockCluster.start()
    for (const topic of TOPICS) await cluster.tell('topic', topic, 1)
    const brokerPort = Number(cluster.bootstraps.split(':')[1])
    const front = await BrokerFront.start({ brokerPort, credentials: RIGHT })
    const everyProduce = (code: number): Trouble => ({
      begin: () => cluster.tell('errors', API.produce, code, MANY),
      end: () => cluster.tell('clear', API.produce),
    })
    const everyTopic = async (code: number): Promise<void> => {
      for (const topic of TOPICS) await cluster.tell('topic-error', topic, code)
    }
    return {
      port: front.port,
      sink: (port) => {
        front.namedPort = port
        return {
          type: 'kafka',
          brokers: [`127.0.0.1:${port}`],
          sasl: { mechanism: 'plain', username: 'edge', password: 'right' },
          timeout: '1s',
          maxBatchRecords: BATCH,
        }
      },
      troubles: {
        stopped: { begin: () => cluster.tell('down'), end: () => cluster.tell('up') },
        'locked-out': {
          begin: async () => {
            front.credentials = 'edge:another'
            front.disconnectAll()
          },
          end: async () => {
            front.credentials = RIGHT
          },
        },
        'no-place': {
          begin: async () => {
            await everyTopic(CODE.unknownTopic)
            front.disconnectAll()
          },
          end: () => everyTopic(0),
        },
        busy: everyProduce(CODE.notEnoughReplicas),
      },
      read: async () => (await cluster.sync()).map(readingOf),
      close: async () => {
        await front.close()
        await cluster.close()
      },
    }
  },
}

function readingOf({ key, value, headers }: MockCluster['records'][number]): StoredReading {
  const { n } = JSON.parse(value) as { n: number }
  return { id: headers['id'] ?? '', device: key, n }
}
