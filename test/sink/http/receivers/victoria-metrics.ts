/** VictoriaMetrics, which removes repeats of one time. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../../../../device-sim/free-ports.ts'
import { ReceiverServer } from './server.ts'

const FOUND_MS = 20_000
const POLL_MS = 20

export const VICTORIA_TOOLS = ['victoria-metrics'] as const

interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly values: readonly number[]
  /** ms since the epoch. */
  readonly timestamps: readonly number[]
}

export class VictoriaMetrics {
  readonly server: ReceiverServer
  #asked = 0
  #marks = 0

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

  /**
   * All of a metric. What was written is found within a second, and nobody says when: so once a mark
   * that was written behind it is found.
   */
  async series(name: string): Promise<Series[]> {
    const mark = `mark_${++this.#marks}`
    await this.server.ask('/write', `${mark} v=1`)
    await this.server.ask('/internal/force_flush')
    const endMs = performance.now() + FOUND_MS
    while ((await this.#export(`${mark}_v`)).length === 0) {
      if (performance.now() > endMs) throw new Error(`${mark} is not found within ${FOUND_MS} ms`)
      await sleep(POLL_MS)
    }
    return await this.#export(name)
  }

  async #export(name: string): Promise<Series[]> {
    // It remembers for a while which series a filter has found: each is another one.
    const filter = `{__name__="${name}",none!="${++this.#asked}"}`
    const where = new URLSearchParams({ 'match[]': filter, start: '0' })
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
