/** ClickHouse: a MergeTree without a key, whose parts are numbered as they came. */
import { join } from 'node:path'
import { CLICKHOUSE_TOOLS, ClickHouse } from '../../../sink/http/receivers/clickhouse.ts'
import { endings, TAKEN_FOR_DELIVERED, type TestedReceiver, type TestedType } from '../receiver.ts'

const BATCH = 20

export const testedClickHouse: TestedType = {
  delivery: 'at least once',
  window: BATCH,
  tools: CLICKHOUSE_TOOLS,
  poison: (n) => JSON.stringify({ n: `no. ${n}` }),
  planted: [
    {
      defect: 'no answer is an ack',
      only: ['link cut'],
      seenAs: TAKEN_FOR_DELIVERED,
    },
    {
      defect: 'settled before the answer',
      only: ['killed at send.before'],
      seenAs: TAKEN_FOR_DELIVERED,
    },
  ],
  open: async (folder) => {
    const receiver = new ClickHouseReceiver(await ClickHouse.start(join(folder, 'clickhouse')))
    await receiver.makeTable()
    return receiver
  },
}

interface Row {
  readonly id: string
  readonly device: string
  readonly n: number
  readonly part: string
}

class ClickHouseReceiver implements TestedReceiver {
  readonly port: number
  readonly troubles
  readonly #clickhouse: ClickHouse

  constructor(clickhouse: ClickHouse) {
    const { server } = clickhouse
    this.port = server.port
    this.#clickhouse = clickhouse
    this.troubles = {
      ...endings(server, () => server.begin()),
      'locked-out': {
        begin: () => clickhouse.changePassword('another'),
        end: () => clickhouse.changePassword('right'),
      },
      'no-place': {
        onlyAtFirst: true,
        begin: async () => void (await clickhouse.query('drop table readings')),
        end: () => this.makeTable(),
      },
    } as const
  }

  async makeTable(): Promise<void> {
    await this.#clickhouse.query(
      'create table readings (id String, device String, n UInt32) engine = MergeTree order by tuple()',
    )
  }

  sink(port: number): Readonly<Record<string, unknown>> {
    return {
      type: 'http',
      url: `http://127.0.0.1:${port}/`,
      headers: { 'X-ClickHouse-User': 'plant', 'X-ClickHouse-Key': 'right' },
      format: {
        kind: 'json-each-row',
        table: 'readings',
        columns: { id: '${id}', device: '${device}', n: '/n' },
      },
      timeout: '1s',
      maxBatchRecords: BATCH,
    }
  }

  async read(): ReturnType<TestedReceiver['read']> {
    const rows = await this.#clickhouse.select<Row>(
      'select id, device, n, _part as part from readings settings max_threads = 1',
    )
    const block = ({ part }: Row): number => Number(part.split('_')[1])
    return rows.toSorted((a, b) => block(a) - block(b))
  }

  async close(): Promise<void> {
    await this.#clickhouse.server.reap()
  }
}
