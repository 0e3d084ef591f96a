/**
 * Elasticsearch's bulk API: the reference of it, which keeps a document once under its id. Of two
 * shards one may take what the other does not, so their order is that of their numbers.
 */
import { join } from 'node:path'
import { RecordView } from '../../../../gateway/sink/mapping/record-view.ts'
import { Elasticsearch } from '../../../sink/http/receivers/elasticsearch.ts'
import { basic } from '../../../sink/http/receivers/influxdb.ts'
import { endings, TAKEN_FOR_DELIVERED, type TestedReceiver, type TestedType } from '../receiver.ts'

const INDEX = 'readings'

export const testedEsBulk: TestedType = {
  delivery: 'idempotent by value',
  tools: [],
  // The mapping cannot take it.
  poison: (n) => JSON.stringify({ n: `no. ${n}` }),
  defects: {
    /** I4: a repeat after a kill is another document, whose member `id` is the same. */
    'the id is that of the process': () => {
      const real = Object.getOwnPropertyDescriptor(RecordView.prototype, 'at')
      RecordView.prototype.at = function (record) {
        const id = `${process.pid}-${record.id}`
        return real?.value.call(this, { ...record, id }) as RecordView
      }
    },
  },
  planted: [
    {
      defect: 'the id is that of the process',
      only: ['killed at answer.read'],
      seenAs: /I4: there more than once/,
    },
    {
      defect: 'no answer is an ack',
      only: ['link cut'],
      seenAs: TAKEN_FOR_DELIVERED,
    },
  ],
  open: async (folder) => {
    const receiver = new EsReceiver(await Elasticsearch.start(join(folder, 'elasticsearch')))
    await receiver.makeIndex()
    return receiver
  },
}

class EsReceiver implements TestedReceiver {
  readonly port: number
  readonly troubles
  readonly #elastic: Elasticsearch

  constructor(elastic: Elasticsearch) {
    const { server } = elastic
    this.port = server.port
    this.#elastic = elastic
    this.troubles = {
      ...endings(server, () => elastic.begin()),
      'locked-out': {
        begin: () => elastic.changePassword('another'),
        end: () => elastic.changePassword('right'),
      },
      'no-place': {
        onlyAtFirst: true,
        begin: () => elastic.deleteIndex(INDEX),
        end: () => this.makeIndex(),
      },
      busy: { begin: () => elastic.fillQueue(true), end: () => elastic.fillQueue(false) },
    } as const
  }

  async makeIndex(): Promise<void> {
    await this.#elastic.makeIndex(INDEX)
  }

  sink(port: number): Readonly<Record<string, unknown>> {
    return {
      type: 'http',
      url: `http://127.0.0.1:${port}/_bulk`,
      headers: { Authorization: basic('right') },
      format: { kind: 'es-bulk', index: INDEX },
      timeout: '1s',
      maxBatchRecords: 20,
    }
  }

  async read(): ReturnType<TestedReceiver['read']> {
    const documents = await this.#elastic.documents(INDEX)
    const seq = (id: string): number => Number(id.slice(id.lastIndexOf(':') + 1))
    return documents
      .map(({ id, device, payload }) => ({ id, device, n: (payload as { n: number }).n }))
      .toSorted((a, b) => seq(a.id) - seq(b.id))
  }

  async close(): Promise<void> {
    await this.#elastic.server.reap()
  }
}
