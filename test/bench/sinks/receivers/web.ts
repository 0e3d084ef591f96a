/** Web services of this machine: one that parses and counts, for the forms that have no other. */
import { freePort } from '../../../../device-sim/free-ports.ts'
import { listening, startNode } from '../../processes.ts'
import type { BodyForm } from '../bare/task.ts'
import type { Contest } from '../contest.ts'

interface Form {
  readonly name: string
  readonly path: string
  readonly form: BodyForm
  readonly format: unknown
  readonly records: number
  /** The most that the sink puts into a request. @default a batch */
  readonly maxRecords?: number
}

const OTLP = {
  kind: 'otlp-logs',
  attributes: { 'sluice.device': '${device}', 'sluice.topic': '${topic}' },
}

const FORMS: readonly Form[] = [
  { name: 'http', path: 'ndjson', form: 'stored', format: 'ndjson', records: 400_000 },
  {
    name: 'json-array',
    path: 'json-array',
    form: 'json-array',
    format: 'json-array',
    records: 150_000,
  },
  {
    name: 'es-bulk',
    path: '_bulk',
    form: 'es-bulk',
    format: 'es-bulk',
    records: 150_000,
    maxRecords: 1000,
  },
  { name: 'otlp-logs', path: 'v1/logs', form: 'otlp-logs', format: OTLP, records: 150_000 },
]

export const webContests: readonly Contest[] = FORMS.map(
  ({ name, path, form, format, records, maxRecords = null }) => ({
    name,
    tools: [],
    records,
    about: 'a service that inflates and parses; a loop that makes bodies and posts them',
    open: async () => {
      const port = await freePort()
      const origin = `http://127.0.0.1:${port}`
      const server = startNode('test/bench/sinks/receivers/counter.js', [String(port)])
      await listening(port, server)
      const count = async (): Promise<number> => {
        const answer = await fetch(`${origin}/counts`)
        return ((await answer.json()) as { readonly stored: number }).stored
      }
      return {
        place: async () => {
          const url = `${origin}/${path}`
          const before = await count()
          return {
            sink: { type: 'http', url, format },
            bare: { kind: 'post', url, headers: {}, form, maxRecords },
            stored: async () => (await count()) - before,
          }
        },
        close: () => server.stop('SIGKILL'),
      }
    },
  }),
)
