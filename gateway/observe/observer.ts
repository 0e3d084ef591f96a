/**
 * The observe stage: what the composition root holds of it. Takes the events of all stages from the
 * first moment (the spool has things to say while it opens), and serves metrics, health and status
 * once there is something to serve.
 *
 * Owns the log and the admin server. Knows other stages through their events and {@link
 * StatusSources} alone.
 */
import { isatty } from 'node:tty'
import { type AdminActions, AdminError } from '../admin/actions.ts'
import type { AdminConfig } from '../admin/config.ts'
import { createRoutes } from '../admin/routes.ts'
import { type AdminRequestFacts, AdminServer } from '../admin/server.ts'
import { errorMessage } from '../shared/errors.ts'
import { hasColor } from '../shared/output/terminal.ts'
import type { LogConfig } from './config.ts'
import type { GatewayEvent } from './events.ts'
import { liveness, readiness } from './health.ts'
import { type LogDestination, openDestination } from './logs/destination.ts'
import { Logs } from './logs/logs.ts'
import type { Look } from './metrics/definition.ts'
import type { Metrics } from './metrics/metrics.ts'
import { readWrittenBytes } from './process-io.ts'
import type { StatusSources } from './sources.ts'
import { buildStatus } from './status.ts'

/** The descriptor of the log. */
const STDOUT = 1

export interface ObserverOptions {
  readonly log: LogConfig
  /** Stands in for standard output. */
  readonly destination?: LogDestination
  /** Wall clock, ms since the epoch. @default Date.now */
  readonly nowMs?: () => number
}

export interface ServeOptions {
  readonly admin: AdminConfig
  readonly sources: StatusSources
  readonly actions: AdminActions
  /**
   * Where the admin server also listens for the commands of this machine's own user; null: nowhere.
   */
  readonly adminSocket?: string | null
}

export class Observer {
  readonly #logs: Logs
  readonly #nowMs: () => number
  readonly #adminRequests: Record<AdminRequestFacts['outcome'], number> = {
    ok: 0,
    refused: 0,
    failed: 0,
  }
  readonly #certificateEndsAtMs: Record<string, number> = {}
  #server: AdminServer | null = null

  private constructor(options: ObserverOptions, destination: LogDestination) {
    this.#logs = new Logs({ ...options.log, destination })
    this.#nowMs = options.nowMs ?? Date.now
  }

  /** Opens the log: events may come from now on. */
  static async open(options: ObserverOptions): Promise<Observer> {
    const isTty = isatty(STDOUT)
    const terminal = { isTty, hasColor: hasColor(isTty, process.env) }
    const { destination, log } = options
    return new Observer(
      options,
      destination ?? (await openDestination(log.format, STDOUT, terminal)),
    )
  }

  /** {@link Observer.open} and {@link Observer.serve} in one. */
  static async start(options: ObserverOptions & ServeOptions): Promise<Observer> {
    const observer = await Observer.open(options)
    await observer.serve(options)
    return observer
  }

  /** Takes an event of any stage. Never throws, never waits. */
  readonly emit = (event: GatewayEvent): void => {
    if (event.type === 'broker.certificate-loaded')
      this.#certificateEndsAtMs[event.listener] = Date.parse(event.validTo)
    this.#logs.emit(event)
  }

  /** Where the admin server listens; only after `serve`. */
  get adminUrl(): string {
    if (this.#server === null) throw new Error('the admin server does not listen yet')
    return this.#server.url
  }

  /**
   * Starts the admin server. Once.
   * @throws AdminError ADMIN_LISTEN: its address is taken or not ours.
   */
  async serve({ admin, sources, actions, adminSocket }: ServeOptions): Promise<void> {
    // With the first scrape: a start loads nothing that no device waits for, and who does not
    // scrape never does.
    let loading: Promise<Metrics> | null = null
    const load = async (): Promise<Metrics> => {
      const { Metrics } = await import('./metrics/metrics.ts')
      return new Metrics()
    }
    const answer = createRoutes(
      {
        metrics: async () => {
          const metrics = await (loading ??= load())
          return {
            contentType: metrics.contentType,
            text: await metrics.render(this.#look(sources)),
          }
        },
        live: () => liveness(sources.spool()),
        ready: () => readiness(sources.broker(), sources.spool()),
        status: () => buildStatus(sources, this.#nowMs(), readWrittenBytes()),
        streams: () => sources.streams().map(({ name }) => name),
      },
      actions,
    )
    this.#server = await AdminServer.listen({
      config: admin,
      answer,
      onRequest: (facts) => this.#onRequest(facts),
    })
    if (adminSocket === null || adminSocket === undefined) return
    await this.#server.listenLocally(adminSocket).catch((error: unknown) => {
      const message = `no socket for commands (${errorMessage(error)}): they ask ${this.adminUrl}`
      this.#logs.note('info', 'admin-socket', message)
    })
  }

  /** Ends the admin server and writes out the log. */
  async stop(): Promise<void> {
    await this.#server?.stop()
    await this.#logs.stop()
  }

  #look(sources: StatusSources): Look {
    return {
      nowMs: this.#nowMs(),
      identity: sources.identity(),
      streams: sources.streams(),
      sinks: sources.sinks(),
      broker: sources.broker(),
      spool: sources.spool(),
      observe: {
        events: this.#logs.events,
        suppressedLines: this.#logs.suppressedLines,
        droppedLines: this.#logs.droppedLines,
        adminRequests: this.#adminRequests,
        certificateEndsAtMs: this.#certificateEndsAtMs,
      },
      writtenBytes: readWrittenBytes(),
    }
  }

  #onRequest({ method, path, remote, outcome, error }: AdminRequestFacts): void {
    this.#adminRequests[outcome]++
    if (error === null) {
      // What an operator changed belongs in the log; who looked does not.
      if (method === 'POST')
        this.#logs.note('info', `done|${path}`, `operator: ${path}`, { remote })
      return
    }
    const code = error instanceof AdminError ? error.code : 'ADMIN_INTERNAL'
    this.#logs.note(
      outcome === 'failed' ? 'error' : 'warn',
      `${outcome}|${code}`,
      `admin request ${outcome}: ${error.message}`,
      {
        code,
        method,
        path,
        remote,
      },
    )
  }
}
