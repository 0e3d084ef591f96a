/**
 * The observe stage: takes the events of all stages from the first moment (the spool reports while
 * it opens), writes the log, and shows metrics, health and status. It looks and never acts. Knows
 * the other stages through their events, their counts and {@link StatusSources} alone.
 */
import { isatty } from 'node:tty'
import type { AdminEvent } from '../admin/events.ts'
import type { Status, Views } from '../ports/status.ts'
import { hasColor } from '../shared/output/terminal.ts'
import { Poller } from '../shared/time/poller.ts'
import type { LogConfig } from './config.ts'
import type { GatewayEvent } from './events.ts'
import { FillHistory, SAMPLE_INTERVAL_MS } from './forecast.ts'
import { liveness, readiness } from './health.ts'
import { adminNote } from './logs/admin-notes.ts'
import { type LogDestination, openDestination } from './logs/destination.ts'
import { Logs } from './logs/logs.ts'
import type { Snapshot } from './metrics/definition.ts'
import type { Metrics } from './metrics/metrics.ts'
import { readWrittenBytes } from './process-io.ts'
import type { StatusSources } from './sources.ts'
import { buildStatus, fillLevels } from './status.ts'

/** The descriptor of the log. */
const STDOUT = 1

interface ObserverOptions {
  readonly log: LogConfig
  /** Stands in for standard output. */
  readonly destination?: LogDestination
  /** Wall clock, ms since the epoch. @default Date.now */
  readonly nowMs?: () => number
}

/** All that observe shows. */
interface ObserverViews extends Views {
  status(): Status
}

export class Observer {
  readonly #logs: Logs
  readonly #nowMs: () => number
  readonly #certificateEndsAtMs: Record<string, number> = {}
  #fillPoller: Poller | null = null

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

  /** Takes an event of any stage. Never throws, never waits. */
  readonly emit = (event: GatewayEvent): void => {
    if (event.type === 'broker.certificate-loaded')
      this.#certificateEndsAtMs[event.listener] = Date.parse(event.validTo)
    if (event.type === 'broker.listener-closed') delete this.#certificateEndsAtMs[event.listener]
    this.#logs.emit(event)
  }

  /** Takes an event of the admin server, which is logged and not counted among the events. */
  readonly noteAdmin = (event: AdminEvent): void => {
    const { level, key, message, fields } = adminNote(event)
    this.#logs.note(level, key, message, fields)
  }

  /** Lines below it are not written from now on. */
  setLevel(level: LogConfig['level']): void {
    this.#logs.setLevel(level)
  }

  views(sources: StatusSources): ObserverViews {
    // With the first scrape: a start loads nothing that no device waits for, and a box that is not
    // scraped never does.
    let loading: Promise<Metrics> | null = null
    const load = async (): Promise<Metrics> => {
      const { Metrics } = await import('./metrics/metrics.ts')
      return new Metrics()
    }
    const fill = new FillHistory()
    const look = async (): Promise<void> => fill.note(performance.now(), fillLevels(sources))
    this.#fillPoller?.close()
    this.#fillPoller = new Poller(SAMPLE_INTERVAL_MS, look)
    return {
      metrics: async () => {
        const metrics = await (loading ??= load())
        return {
          contentType: metrics.contentType,
          text: await metrics.render(this.#snapshot(sources)),
        }
      },
      recentLog: () => this.#logs.recent,
      followWarnings: (listener) => this.#logs.followWarnings(listener),
      live: () => liveness(sources.spool()),
      ready: () => readiness(sources.broker(), sources.spool()),
      status: () => buildStatus(sources, this.#nowMs(), readWrittenBytes(), fill),
    }
  }

  /** Writes out the log. */
  stop(): Promise<void> {
    this.#fillPoller?.close()
    return this.#logs.stop()
  }

  #snapshot(sources: StatusSources): Snapshot {
    return {
      nowMs: this.#nowMs(),
      identity: sources.identity(),
      streams: sources.streams(),
      sinks: sources.sinks(),
      broker: sources.broker(),
      spool: sources.spool(),
      devices: sources.devices(),
      admin: sources.admin(),
      observe: {
        events: this.#logs.events,
        suppressedLines: this.#logs.suppressedLines,
        droppedLines: this.#logs.droppedLines,
        certificateEndsAtMs: this.#certificateEndsAtMs,
      },
      writtenBytes: readWrittenBytes(),
    }
  }
}
