/**
 * The reference cloud: a sink of the ingest contract that is usable on its own, and the judge of
 * the demo. Stores exactly once by one number per queue, survives kill -9, goes wrong on request,
 * shows what it did.
 *
 * | endpoint | what |
 * |---|---|
 * | `POST /ingest` (any path that is not below) | a batch |
 * | `GET /records?stream=…` | stored lines as NDJSON; `after` (seq), `limit` (1000), `device`, `gateway`, `spool` narrow it |
 * | `GET /stats` | {@link CloudStats} as JSON |
 * | `GET /metrics` | the same for Prometheus |
 * | `GET`, `POST`, `DELETE /faults` | see faults.ts |
 * | `GET /livez` | 200 while it runs |
 * | `GET /` | a page for a browser: the latest readings, and where to look |
 *
 * All but ingest are on the admin port, too, if there is one: it stays up during an outage. One
 * process owns a folder.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerOptions as TlsOptions } from 'node:https'
import { CONTROL_PATHS, Control } from './control.ts'
import { FaultControl, type FaultSpec } from './faults/faults.ts'
import { FORMS, type FormName } from './forms/registry.ts'
import { type IngestOptions, ingest } from './ingest.ts'
import { LatestReadings } from './latest.ts'
import { Listener } from './listener.ts'
import { type CloudStats, createCloudCounts } from './stats.ts'
import { Store } from './store/store.ts'

export interface CloudOptions {
  /** The folder of the store; created if need be. */
  readonly dir: string
  /** @default '127.0.0.1' */
  readonly host?: string
  /** @default 0: any free port */
  readonly port?: number
  /**
   * A second listener, on the same host, that has no outages and no ingest. @default undefined:
   * none
   */
  readonly adminPort?: number
  /** Form of the bodies that are taken. @default 'ndjson': the ingest contract's */
  readonly form?: FormName
  /** Serve ingest over TLS. */
  readonly tls?: TlsOptions
  /** What gateways must show. @default null: nothing */
  readonly bearerToken?: string | null
  /** Longest body, uncompressed too, bytes; above: 413. @default 64 MiB */
  readonly maxBodyBytes?: number
  /** A segment file this long is not appended to, bytes. @default 64 MiB */
  readonly segmentBytes?: number
  /** fsync before every 2xx. @default true */
  readonly sync?: boolean
  /** Of everything random. @default 1 */
  readonly seed?: number
  /** Rules that are set from the start; see faults.ts, and fault-schedule.ts for a seeded day. */
  readonly faults?: readonly FaultSpec[]
  /** Called after each batch of which something was new; look at `latest`. */
  readonly onStored?: () => void
}

const DEFAULT_MAX_BODY_BYTES = 64 * 1024 * 1024
const DEFAULT_SEGMENT_BYTES = 64 * 1024 * 1024
/** setTimeout takes no more. */
const MAX_TIMER_MS = 2_147_483_647

export class Cloud {
  /** Set rules here, or by `POST /faults`. */
  readonly faults: FaultControl
  readonly latest = new LatestReadings()
  readonly #store: Store
  readonly #options: CloudOptions
  readonly #counts = createCloudCounts()
  readonly #closing = new AbortController()
  readonly #startedAtMs = performance.now()
  readonly #listener: Listener
  readonly #admin: Listener | null
  readonly #ingest: IngestOptions
  readonly #control: Control
  #outage: 'refuse' | 'reset' | null = null
  #outageTimer: NodeJS.Timeout | null = null

  private constructor(store: Store, options: CloudOptions) {
    this.#store = store
    this.#options = options
    this.faults = new FaultControl({ seed: options.seed ?? 1, nowMs: () => performance.now() })
    this.#ingest = {
      store,
      faults: this.faults,
      counts: this.#counts,
      form: FORMS[options.form ?? 'ndjson'],
      maxBodyBytes: options.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES,
      bearerToken: options.bearerToken ?? null,
      onStored: (stream, lines, count) => {
        this.latest.take(stream, lines, count, Date.now())
        options.onStored?.()
      },
      closing: this.#closing.signal,
    }
    this.#control = new Control({
      store,
      faults: this.faults,
      latest: this.latest,
      stats: () => this.stats,
      ingestUrl: () => this.url,
      outlastsOutages: options.adminPort !== undefined,
    })
    this.#listener = new Listener({
      host: this.#host,
      port: options.port ?? 0,
      ...(options.tls === undefined ? {} : { tls: options.tls }),
      handle: (request, response) => this.#handle(request, response, true),
      resets: () => this.#resets(),
    })
    this.#admin =
      options.adminPort === undefined
        ? null
        : new Listener({
            host: this.#host,
            port: options.adminPort,
            handle: (request, response) => this.#handle(request, response, false),
            resets: () => false,
          })
  }

  /**
   * Opens the store (cutting torn appends) and listens. @throws when the folder or a port cannot be
   * had
   */
  static async start(options: CloudOptions): Promise<Cloud> {
    const store = await Store.open(options.dir, {
      segmentBytes: options.segmentBytes ?? DEFAULT_SEGMENT_BYTES,
      sync: options.sync ?? true,
    })
    const cloud = new Cloud(store, options)
    try {
      await cloud.#listener.open()
      await cloud.#admin?.open()
    } catch (error) {
      await cloud.close()
      throw error
    }
    cloud.faults.onChange(() => cloud.#followOutages())
    cloud.faults.add(...(options.faults ?? []))
    return cloud
  }

  /** Where gateways POST. */
  get url(): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://${urlHost(this.#host)}:${this.#listener.port}/ingest`
  }

  /** Where people look and set faults, without a path: the admin listener, or the one of `url`. */
  get adminUrl(): string {
    return this.#admin === null
      ? this.url.replace(/\/ingest$/, '')
      : `http://${urlHost(this.#host)}:${this.#admin.port}`
  }

  get stats(): CloudStats {
    const queues = this.#store.queues.map((queue) => queue.stats)
    return {
      uptimeSeconds: (performance.now() - this.#startedAtMs) / 1000,
      ...this.#counts,
      answers: { ...this.#counts.answers },
      violationExamples: [...this.#counts.violationExamples],
      records: queues.reduce((sum, queue) => sum + queue.records, 0),
      missingSeqs: queues.reduce((sum, queue) => sum + queue.missingSeqs, 0),
      tornBytes: this.#store.queues.reduce((sum, queue) => sum + queue.tornBytes, 0),
      faults: { ...this.faults.fired },
      queues,
    }
  }

  /** Stops listening, cuts connections, ends appends in progress, closes the store. */
  async close(): Promise<void> {
    this.#closing.abort()
    if (this.#outageTimer !== null) clearTimeout(this.#outageTimer)
    await Promise.all([this.#listener.close(), this.#admin?.close()])
    await this.#store.close()
  }

  get #host(): string {
    return this.#options.host ?? '127.0.0.1'
  }

  #handle(request: IncomingMessage, response: ServerResponse, isIngest: boolean): void {
    const url = new URL(request.url ?? '/', 'http://cloud')
    if (isIngest && !CONTROL_PATHS.has(url.pathname) && request.method === 'POST') {
      void ingest(request, response, this.#ingest)
      return
    }
    this.#control.handle(request, response, url)
  }

  /**
   * Resets a connection and counts it, or neither: the window may be over before its timer says so.
   */
  #resets(): boolean {
    return this.#outage === 'reset' && this.faults.fireOutage('reset')
  }

  /**
   * Closes and opens the listener as the rules say, and looks again when the next one begins or
   * ends.
   */
  #followOutages(): void {
    if (this.#closing.signal.aborted) return
    if (this.#outageTimer !== null) clearTimeout(this.#outageTimer)
    this.#outageTimer = null
    const nowMs = performance.now()
    const { mode, nextChangeMs } = this.faults.connectionOutage(nowMs)
    if (mode !== this.#outage) {
      this.#outage = mode
      if (mode === 'refuse') {
        this.faults.fireOutage('refuse', nowMs)
        this.#listener.vanish()
      } else {
        this.#listener.comeBack()
        if (mode === 'reset') this.#listener.cut()
      }
    }
    if (nextChangeMs === Number.POSITIVE_INFINITY) return
    const inMs = Math.min(Math.max(1, Math.ceil(nextChangeMs - performance.now())), MAX_TIMER_MS)
    this.#outageTimer = setTimeout(() => this.#followOutages(), inMs)
    this.#outageTimer.unref()
  }
}

/** An address as it stands in a URL. */
function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
