/**
 * The log: gives every event its line, damps repeats, counts events by type. The only place that
 * writes logs. Secrets never get here (events carry none), and members named like one are hidden
 * all the same (clean.ts).
 */
import pino from 'pino'
import { DAMPING_WINDOW_MS, Damping } from '../../shared/time/damping.ts'
import type { LogConfig } from '../config.ts'
import type { GatewayEvent } from '../events.ts'
import { cleanText, cleanValue } from './clean.ts'
import type { LogDestination } from './destination.ts'
import type { EventLog, LogLevel } from './event-log.ts'
import { EVENT_LOGS } from './event-logs.ts'
import { RecentLines } from './recent-lines.ts'

interface LogOptions extends Pick<LogConfig, 'level'> {
  readonly destination: LogDestination
  /** Monotonic, ms. @default performance.now */
  readonly monotonicMs?: () => number
  /** Wall clock, ms since the epoch. @default Date.now */
  readonly nowMs?: () => number
}

interface Line {
  readonly level: LogLevel
  readonly message: string
  /** When it happened, ms since the epoch: a line that was held back keeps its time. */
  readonly atMs: number
  readonly fields: Readonly<Record<string, unknown>>
}

export class Logs {
  readonly #logger: pino.Logger
  readonly #destination: LogDestination
  readonly #monotonicMs: () => number
  readonly #nowMs: () => number
  readonly #damping = new Damping<Line>()
  readonly #recent = new RecentLines()
  readonly #events: Record<string, number> = {}
  readonly #sweepTimer: NodeJS.Timeout
  #suppressedLines = 0
  readonly #followers = new Set<(line: string) => void>()
  /** Of the line that is being written. */
  #lineAtMs = 0
  #isWarning = false

  constructor(options: LogOptions) {
    this.#destination = options.destination
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now())
    this.#nowMs = options.nowMs ?? Date.now
    this.#logger = pino(
      {
        level: options.level,
        base: null,
        timestamp: () => `,"time":"${new Date(this.#lineAtMs).toISOString()}"`,
        formatters: { level: (label) => ({ level: label }) },
      },
      {
        write: (line: string) => {
          this.#recent.push(line)
          this.#destination.stream.write(line)
          if (this.#isWarning) for (const follow of this.#followers) follow(line)
        },
      },
    )
    this.#destination.onLost?.((lines, why) => {
      const message = `${lines} log lines before this one were lost: ${cleanText(why)}`
      const fields = { event: 'log.lines-lost', lines }
      this.#write({ level: 'warn', message, atMs: this.#nowMs(), fields }, 0)
    })
    this.#sweepTimer = setInterval(() => this.sweep(), DAMPING_WINDOW_MS / 4).unref()
  }

  /** Events so far by type, damped ones included. */
  get events(): Readonly<Record<string, number>> {
    return this.#events
  }

  setLevel(level: LogConfig['level']): void {
    this.#logger.level = level
  }

  /** The last lines that were written. */
  get recent(): string {
    return this.#recent.text
  }

  /** Calls `listener` with each line of level warn and above until the returned function is. */
  followWarnings(listener: (line: string) => void): () => void {
    this.#followers.add(listener)
    return () => void this.#followers.delete(listener)
  }

  get suppressedLines(): number {
    return this.#suppressedLines
  }

  get droppedLines(): number {
    return this.#destination.droppedLines()
  }

  /**
   * Takes an event of any stage. Never throws: a line that cannot be made must not harm the
   * stage that reported it.
   */
  readonly emit = (event: GatewayEvent): void => {
    try {
      this.#events[event.type] = (this.#events[event.type] ?? 0) + 1
      const row = EVENT_LOGS[event.type] as EventLog<GatewayEvent>
      const { type, ...members } = event
      const line: Line = {
        level: typeof row.level === 'function' ? row.level(event) : row.level,
        message: cleanText(row.message(event)),
        atMs: this.#nowMs(),
        fields: { event: type, ...(cleanValue(members) as Record<string, unknown>) },
      }
      if (!this.#logger.isLevelEnabled(line.level)) return
      if (row.dampBy === undefined) this.#write(line, 0)
      else this.#damped(`${type}|${row.dampBy(event)}`, `${type}|`, line)
    } catch (error) {
      const message = `event not logged: ${cleanText(String(error))}`
      const fields = { event: event.type }
      this.#write({ level: 'error', message, atMs: this.#nowMs(), fields }, 0)
    }
  }

  /** A line of observe's own (the admin server's), damped by `key`. */
  note(
    level: LogLevel,
    key: string,
    message: string,
    fields: Readonly<Record<string, unknown>> = {},
  ): void {
    if (!this.#logger.isLevelEnabled(level)) return
    const cleaned = cleanValue(fields) as Record<string, unknown>
    const line = { level, message: cleanText(message), atMs: this.#nowMs(), fields: cleaned }
    this.#damped(`note|${key}`, 'note|', line)
  }

  /** Writes the last line of each key that fell quiet, if it was held back. */
  sweep(nowMs = this.#monotonicMs()): void {
    for (const { last, suppressed } of this.#damping.sweep(nowMs)) this.#write(last, suppressed)
  }

  /** Writes what is held back and what is buffered. */
  stop(): Promise<void> {
    clearInterval(this.#sweepTimer)
    this.sweep(Number.POSITIVE_INFINITY)
    return this.#destination.flush()
  }

  #damped(key: string, overflowKey: string, line: Line): void {
    const verdict = this.#damping.admit(key, overflowKey, line, this.#monotonicMs())
    if (verdict.pass) this.#write(line, verdict.suppressed)
    else this.#suppressedLines++
  }

  #write({ level, message, atMs, fields }: Line, suppressed: number): void {
    this.#lineAtMs = atMs
    this.#isWarning = level === 'warn' || level === 'error'
    this.#logger[level](
      suppressed === 0 ? fields : { ...fields, suppressed },
      suppressed === 0 ? message : `${message} (${suppressed} like this held back)`,
    )
  }
}
