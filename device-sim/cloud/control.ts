/**
 * What people and scripts ask of the reference cloud: its page, records, counts, and faults to set.
 * The caller decides which requests come here. Not here: ingest.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { FaultControl, faultProblem } from './faults/faults.ts'
import type { LatestReadings } from './latest.ts'
import { PAGE_POLICY, pageHtml } from './page.ts'
import { type CloudStats, metricsText } from './stats.ts'
import { readLines } from './store/segments.ts'
import type { Store } from './store/store.ts'

interface ControlOptions {
  readonly store: Store
  readonly faults: FaultControl
  readonly latest: LatestReadings
  readonly stats: () => CloudStats
  /** Where gateways POST, for the page. */
  readonly ingestUrl: () => string
  /** Also served by a listener that has no outages. */
  readonly outlastsOutages: boolean
}

/** Never a place for a batch. */
export const CONTROL_PATHS: ReadonlySet<string> = new Set([
  '/records',
  '/stats',
  '/metrics',
  '/faults',
  '/livez',
])

const READINGS_ON_PAGE = 25
const MAX_CONTROL_BYTES = 1024 * 1024

export class Control {
  readonly #of: ControlOptions

  constructor(of: ControlOptions) {
    this.#of = of
  }

  handle(request: IncomingMessage, response: ServerResponse, url: URL): void {
    this.#answer(request, response, url).catch((error: unknown) => {
      if (response.headersSent) response.destroy()
      else text(response, 400, `${faultProblem(error)}\n`)
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const call = `${request.method ?? ''} ${url.pathname}`
    switch (call) {
      case 'GET /':
        text(
          response,
          200,
          pageHtml(
            this.#of.stats(),
            this.#of.latest.perDevice(READINGS_ON_PAGE),
            this.#of.ingestUrl(),
          ),
          'text/html; charset=utf-8',
          { 'Content-Security-Policy': PAGE_POLICY },
        )
        break
      // A browser asks for it wherever it looks.
      case 'GET /favicon.ico':
        text(response, 200, '', 'image/x-icon')
        break
      case 'GET /ingest':
        text(response, 405, 'POST a batch here; for people there is /\n')
        break
      case 'GET /livez':
        text(response, 200, 'ok\n')
        break
      case 'GET /stats':
        json(response, this.#of.stats())
        break
      case 'GET /metrics':
        text(
          response,
          200,
          metricsText(this.#of.stats()),
          'text/plain; version=0.0.4; charset=utf-8',
        )
        break
      case 'GET /records':
        await this.#sendRecords(response, url.searchParams)
        break
      case 'GET /faults':
        json(response, { faults: this.#of.faults.list(), fired: this.#of.faults.fired })
        break
      case 'POST /faults':
        json(response, { ids: this.#setFaults(await readText(request)) })
        break
      case 'DELETE /faults':
        this.#of.faults.clear()
        json(response, { ids: [] })
        break
      default:
        text(response, 404, 'not here: / /ingest /records /stats /metrics /faults /livez\n')
    }
  }

  #setFaults(body: string): number[] {
    const { faults, replace } = FaultControl.parse(body)
    const isEndless = faults.some(
      (one) => one.kind === 'outage' && one.mode !== '503' && one.forMs === undefined,
    )
    if (!this.#of.outlastsOutages && isEndless) {
      throw new Error(
        'an outage without forMs would take this endpoint with it: start with an admin port',
      )
    }
    if (replace) this.#of.faults.clear()
    return this.#of.faults.add(...faults)
  }

  async #sendRecords(response: ServerResponse, query: URLSearchParams): Promise<void> {
    const after = Number(query.get('after') ?? 0)
    const limit = Number(query.get('limit') ?? 1000)
    if (!Number.isSafeInteger(after) || !Number.isSafeInteger(limit))
      throw new Error('after and limit are whole numbers')
    const wanted = (key: string, value: string): boolean => (query.get(key) ?? value) === value
    const device = query.get('device')
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson' })
    let left = limit
    for (const { name } of this.#of.store.queues) {
      if (
        !wanted('stream', name.stream) ||
        !wanted('gateway', name.gateway) ||
        !wanted('spool', name.spool)
      )
        continue
      if (left <= 0) break
      for await (const line of readLines(this.#of.store.dir, name, after)) {
        if (left <= 0 || response.destroyed) break
        if (device !== null && !isOf(device, line)) continue
        left -= 1
        if (!response.write(Buffer.concat([line, Buffer.from('\n')]))) {
          await new Promise<void>((resolve) => {
            response.once('drain', resolve)
            response.once('close', resolve)
          })
        }
      }
    }
    response.end()
  }
}

function text(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/plain; charset=utf-8',
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  })
  response.end(body)
}

function json(response: ServerResponse, value: unknown): void {
  text(response, 200, `${JSON.stringify(value, null, 2)}\n`, 'application/json')
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_CONTROL_BYTES) throw new Error(`more than ${MAX_CONTROL_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function isOf(device: string, line: Buffer): boolean {
  return (JSON.parse(line.toString()) as { device?: unknown }).device === device
}
