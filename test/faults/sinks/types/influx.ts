/**
 * InfluxDB 1. A point is known by its tags and its time: one that has the id of another and not its
 * time is there beside it, so that a repeat which is none shows.
 */
import { join } from 'node:path'
import { RecordView } from '../../../../gateway/sink/mapping/record-view.ts'
import { basic, INFLUXDB_TOOLS, InfluxDb } from '../../../sink/http/receivers/influxdb.ts'
import { endings, TAKEN_FOR_DELIVERED, type TestedReceiver, type TestedType } from '../receiver.ts'

const DATABASE = 'plant'

export const testedInflux: TestedType = {
  delivery: 'idempotent by value',
  tools: INFLUXDB_TOOLS,
  // Refused by the format. What the server refuses depends on what it got first: a conflict of types.
  poison: (n) => JSON.stringify({ n, time: n }),
  defects: {
    /** I4: a repeat after a kill is another point. */
    'the time is that of the process': () => {
      const real = Object.getOwnPropertyDescriptor(RecordView.prototype, 'at')
      RecordView.prototype.at = function (record) {
        const receivedAtMs = record.receivedAtMs + (process.pid % 1000)
        return real?.value.call(this, { ...record, receivedAtMs }) as RecordView
      }
    },
  },
  planted: [
    {
      defect: 'the time is that of the process',
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
    const influx = await InfluxDb.start(join(folder, 'influxdb'))
    const receiver = new InfluxReceiver(influx)
    await receiver.makeDatabase()
    return receiver
  },
}

class InfluxReceiver implements TestedReceiver {
  readonly port: number
  readonly troubles
  readonly #influx: InfluxDb

  constructor(influx: InfluxDb) {
    const { server } = influx
    this.port = server.port
    this.#influx = influx
    this.troubles = {
      ...endings(server, () => server.begin()),
      'locked-out': {
        begin: () => influx.changePassword('another'),
        end: () => influx.changePassword('right'),
      },
      'no-place': {
        onlyAtFirst: true,
        begin: async () => void (await influx.query(`drop database ${DATABASE}`)),
        end: () => this.makeDatabase(),
      },
    } as const
  }

  sink(port: number): Readonly<Record<string, unknown>> {
    return {
      type: 'http',
      url: `http://127.0.0.1:${port}/write?db=${DATABASE}`,
      headers: { Authorization: basic('right') },
      format: {
        kind: 'influx',
        measurement: 'readings',
        tags: { device: '${device}', id: '${id}' },
      },
      timeout: '1s',
      maxBatchRecords: 20,
    }
  }

  async read(): ReturnType<TestedReceiver['read']> {
    const rows = await this.#influx.query('select n, device, id from readings', DATABASE)
    return rows.map(({ device, id, n }) => ({
      id: String(id),
      device: String(device),
      n: Number(n),
    }))
  }

  async close(): Promise<void> {
    await this.#influx.server.reap()
  }

  async makeDatabase(): Promise<void> {
    await this.#influx.makeDatabase(DATABASE)
  }
}
