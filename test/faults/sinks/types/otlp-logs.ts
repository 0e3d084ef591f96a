/** OTLP/HTTP logs: a reference receiver, which keeps what comes as often as it comes. */
import { join } from 'node:path'
import { OtlpReceiver } from '../../../sink/http/receivers/otlp.ts'
import { endings, TAKEN_FOR_DELIVERED, type TestedReceiver, type TestedType } from '../receiver.ts'

const BATCH = 20

export const testedOtlpLogs: TestedType = {
  delivery: 'at least once',
  window: BATCH,
  // The receiver says how many it rejected, and takes the others of each smaller request once more.
  repeatsARefusal: Math.ceil(Math.log2(BATCH)) + 1,
  tools: [],
  poison: (n) => JSON.stringify({ n, poison: true }),
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
  open: async (folder) => new LogReceiver(await OtlpReceiver.start(join(folder, 'otlp'))),
}

class LogReceiver implements TestedReceiver {
  readonly port: number
  readonly troubles
  readonly #otlp: OtlpReceiver

  constructor(otlp: OtlpReceiver) {
    const { server } = otlp
    this.port = server.port
    this.#otlp = otlp
    this.troubles = {
      ...endings(server, () => otlp.begin()),
      'locked-out': {
        begin: () => otlp.changeToken('another'),
        end: () => otlp.changeToken('right'),
      },
      busy: { begin: () => otlp.setBusy(true), end: () => otlp.setBusy(false) },
    } as const
  }

  sink(port: number): Readonly<Record<string, unknown>> {
    return {
      type: 'http',
      url: `http://127.0.0.1:${port}/v1/logs`,
      headers: { Authorization: 'Bearer right' },
      format: { kind: 'otlp-logs' },
      timeout: '1s',
      maxBatchRecords: BATCH,
    }
  }

  async read(): ReturnType<TestedReceiver['read']> {
    const logs = await this.#otlp.logs()
    return logs.map(({ attributes, text }) => ({
      id: attributes.get('sluice.id') ?? '',
      device: attributes.get('sluice.device') ?? '',
      n: (JSON.parse(text) as { readonly n: number }).n,
    }))
  }

  async close(): Promise<void> {
    await this.#otlp.server.reap()
  }
}
