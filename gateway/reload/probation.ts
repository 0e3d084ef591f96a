/**
 * The first seconds of a configuration that was reloaded: while they last, a listener that fails, or
 * a sink or stream that the reload concerns, was fine and is held, ends it. What was held or
 * retrying before proves nothing. Listens to events; asks nobody.
 */
import type { GatewayEvent } from '../observe/events.ts'
import type { Running } from './apply.ts'

interface ProbationHost {
  /** What failed, as a sentence. Called once. */
  failed(why: string): void
  passed(): void
}

/** Sinks and streams that are delivered, or could be. */
interface Fine {
  readonly sinks: ReadonlySet<string>
  readonly streams: ReadonlySet<string>
}

export class Probation {
  /** ms since the epoch. */
  readonly sinceMs = Date.now()
  readonly untilMs: number
  readonly #fine: Fine
  readonly #host: ProbationHost
  readonly #timer: NodeJS.Timeout
  #isOver = false

  constructor(fine: Fine, lengthMs: number, host: ProbationHost) {
    this.#fine = fine
    this.#host = host
    this.untilMs = this.sinceMs + lengthMs
    this.#timer = setTimeout(() => {
      if (!this.#isOver) host.passed()
    }, lengthMs).unref()
  }

  /**
   * What is not held now, of the sinks that the reload concerns: that another one is held meanwhile
   * proves nothing against it.
   */
  static fineNow({ stages }: Running, touched: ReadonlySet<string>): Fine {
    const standings = stages.drain.sinkStandings().filter(({ sink }) => touched.has(sink))
    const free = standings.filter(({ state }) => state !== 'held')
    return {
      sinks: new Set(free.map(({ sink }) => sink)),
      streams: new Set(
        free.flatMap(({ streams }) =>
          streams.filter(({ state }) => state !== 'held').map(({ stream }) => stream),
        ),
      ),
    }
  }

  heard(event: GatewayEvent): void {
    if (event.type === 'broker.listener-error')
      this.#fail(`listener ${event.listener} failed: ${event.message}`)
    if (event.type === 'drain.held')
      this.#hold(event.sink, event.stream === null ? [] : [event.stream], event.detail)
  }

  /** What was held already when the reload was done. */
  look({ stages }: Running): void {
    for (const { sink, state, detail, streams } of stages.drain.sinkStandings()) {
      const held = streams.filter((stream) => stream.state === 'held')
      if (state === 'held' || held.length > 0)
        this.#hold(
          sink,
          held.map(({ stream }) => stream),
          detail ?? held[0]?.detail ?? '',
        )
    }
  }

  end(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
  }

  #hold(sink: string, streams: readonly string[], detail: string): void {
    const { sinks, streams: fine } = this.#fine
    if (!sinks.has(sink) && !streams.some((stream) => fine.has(stream))) return
    this.#fail(`sink ${sink} is held: ${detail}`)
  }

  #fail(why: string): void {
    if (this.#isOver) return
    this.end()
    this.#host.failed(why)
  }
}
