/**
 * VictoriaMetrics, which removes repeats of one time (`-dedup.minScrapeInterval`). It acks from
 * memory, so it is stopped and never killed here: its README says what a kill costs.
 */
import { join } from 'node:path'
import { VICTORIA_TOOLS, VictoriaMetrics } from '../../../sink/http/receivers/victoria-metrics.ts'
import { TAKEN_FOR_DELIVERED, type TestedReceiver, type TestedType } from '../receiver.ts'

export const testedVictoriaMetrics: TestedType = {
  delivery: 'idempotent by value',
  tools: VICTORIA_TOOLS,
  planted: [
    {
      defect: 'no answer is an ack',
      only: ['link cut'],
      seenAs: TAKEN_FOR_DELIVERED,
    },
  ],
  open: async (folder) => {
    const more = ['-dedup.minScrapeInterval=1ms']
    return new VictoriaReceiver(await VictoriaMetrics.start(join(folder, 'victoria'), more))
  },
}

class VictoriaReceiver implements TestedReceiver {
  readonly port: number
  readonly troubles
  readonly #victoria: VictoriaMetrics

  constructor(victoria: VictoriaMetrics) {
    const { server } = victoria
    this.port = server.port
    this.#victoria = victoria
    this.troubles = {
      stopped: { begin: () => server.end('SIGTERM'), end: () => server.begin() },
    } as const
  }

  /** A series for each record: only so can it be told from another of its millisecond. */
  sink(port: number): Readonly<Record<string, unknown>> {
    return {
      type: 'http',
      url: `http://127.0.0.1:${port}/write?precision=ms`,
      answers: 'victoria-metrics',
      format: {
        kind: 'influx',
        measurement: 'readings',
        tags: { id: '${id}', device: '${device}' },
        precision: 'ms',
        strings: 'leave-out',
      },
      timeout: '1s',
      maxBatchRecords: 20,
    }
  }

  async read(): ReturnType<TestedReceiver['read']> {
    const series = await this.#victoria.series('readings_n')
    const readings = series.flatMap(({ labels: { id = '', device = '' }, values }) =>
      values.map((n) => ({ id, device, n })),
    )
    const seq = (id: string): number => Number(id.slice(id.lastIndexOf(':') + 1))
    return readings.toSorted((a, b) => seq(a.id) - seq(b.id))
  }

  async close(): Promise<void> {
    await this.#victoria.server.reap()
  }
}
