/** VictoriaMetrics, which removes repeats of one time. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { freePorts } from '../../../../device-sim/free-ports.ts'
import { ReceiverServer } from './server.ts'

export const VICTORIA_TOOLS = ['victoria-metrics'] as const

interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly values: readonly number[]
  /** ms since the epoch. */
  readonly timestamps: readonly number[]
}

export class VictoriaMetrics {
  readonly server: ReceiverServer

  private constructor(server: ReceiverServer) {
    this.server = server
  }

  /** @param folder of its own; `more`: of its command line */
  static async start(folder: string, more: readonly string[] = []): Promise<VictoriaMetrics> {
    const [port = 0] = await freePorts(1)
    mkdirSync(folder, { recursive: true })
    const args = [
      `-storageDataPath=${join(folder, 'data')}`,
      `-httpListenAddr=127.0.0.1:${port}`,
      '-retentionPeriod=100y',
      '-memory.allowedBytes=64MiB',
      ...more,
    ]
    const ready = /pprof handlers are exposed/
    const program = { tool: 'victoria-metrics', args, ready }
    const victoria = new VictoriaMetrics(new ReceiverServer(port, program))
    await victoria.server.begin()
    return victoria
  }

  /** All of a metric, once it can be found. */
  async series(name: string): Promise<Series[]> {
    await this.server.ask('/internal/force_flush')
    const where = new URLSearchParams({ 'match[]': `{__name__="${name}"}`, start: '0' })
    const text = await this.server.ask(`/api/v1/export?${where.toString()}`)
    const lines = text.split('\n').filter((line) => line !== '')
    return lines.map((line) => {
      const { metric, values, timestamps } = JSON.parse(line) as {
        readonly metric: Readonly<Record<string, string>>
        readonly values: readonly number[]
        readonly timestamps: readonly number[]
      }
      return { labels: metric, values, timestamps }
    })
  }
}
