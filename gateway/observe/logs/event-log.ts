/**
 * The form of an event's line in the log. A table of these per stage; a new event type does not
 * compile without its row.
 */

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface EventLog<E> {
  readonly level: LogLevel | ((event: E) => LogLevel)
  /** What happened and what it means; the event's own members follow as fields. */
  readonly message: (event: E) => string
  /**
   * Lines with the same key are damped to one a minute; the last one of a key is always logged, at
   * its own time. Without it every event is logged: for what cannot repeat often, and for events
   * that their stage damps itself (they have a member `suppressed`).
   */
  readonly dampBy?: (event: E) => string
}

/** One row for each event type of a union. */
export type EventLogs<E extends { readonly type: string }> = {
  readonly [K in E['type']]: EventLog<Extract<E, { readonly type: K }>>
}

/** `stream alarms of sink cloud`, or the sink alone. */
export function whose({
  sink,
  stream,
}: {
  readonly sink: string
  readonly stream: string | null
}): string {
  return stream === null ? `sink ${sink}` : `stream ${stream} of sink ${sink}`
}

/** `1 record`, `7 records`. */
export function counted(value: number, noun: string): string {
  return `${value} ${noun}${value === 1 ? '' : 's'}`
}

/** `90 s`, `2.5 h`: for people, two digits are enough. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  for (const [unit, size] of [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
  ] as const) {
    if (ms >= 2 * size) return `${round(ms / size)} ${unit}`
  }
  return `${round(ms / 1_000)} s`
}

/** `300 MiB`. */
export function bytes(count: number): string {
  let size = count
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (size < 1024 || unit === 'GiB') return `${round(size)} ${unit}`
    size /= 1024
  }
  return ''
}

function round(value: number): string {
  return value >= 10 ? String(Math.round(value)) : String(Math.round(value * 10) / 10)
}
