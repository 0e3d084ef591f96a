/** Points in time and spans for a person, in the browser's time zone. Pure. */
import type { TimeWords } from '../../../ports/findings.ts'
import { span } from '../../../shared/text/words.ts'

const DAY_MS = 86_400_000

const TIME = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' })
const SECONDS = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
})
const DATE = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' })
const YEAR = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' })

/** `14:02`, `27 Nov 14:02`, `27 Nov 2025 14:02`: as much as tells it from now. */
export function clockTime(atMs: number, nowMs: number): string {
  const time = TIME.format(atMs)
  const sameYear = new Date(atMs).getFullYear() === new Date(nowMs).getFullYear()
  if (!sameYear) return `${YEAR.format(atMs)} ${time}`
  const sameDay = Math.abs(nowMs - atMs) < DAY_MS && DATE.format(atMs) === DATE.format(nowMs)
  return sameDay ? time : `${DATE.format(atMs)} ${time}`
}

/** `14:02:31`: for what lasts seconds. */
export function secondsTime(atMs: number): string {
  return SECONDS.format(atMs)
}

/** `14:02:31.250`. */
export function exactTime(atMs: number): string {
  return `${SECONDS.format(atMs)}.${String(Math.floor(atMs) % 1_000).padStart(3, '0')}`
}

/** `38 min ago`, `now`, `in 22 s`. */
export function ago(atMs: number, nowMs: number): string {
  const seconds = Math.round((nowMs - atMs) / 1_000)
  if (seconds === 0) return 'now'
  return seconds > 0 ? `${brief(seconds)} ago` : `in ${brief(-seconds)}`
}

/** `since 14:02 (38 min)`. */
export function since(atMs: number, nowMs: number): string {
  return `since ${clockTime(atMs, nowMs)} (${brief(Math.max(0, (nowMs - atMs) / 1_000))})`
}

/** Seconds matter in the first minute only. */
function brief(seconds: number): string {
  const whole = Math.floor(seconds)
  return span(whole < 60 ? whole : whole - (whole % 60))
}

/** `4 ms`, `1.25 s`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  return ms < 60_000 ? `${(ms / 1_000).toFixed(2)} s` : span(ms / 1_000)
}

/** For sentences that several views share. */
export function timeWords(nowMs: number): TimeWords {
  return {
    at: (at) => `at ${secondsTime(Date.parse(at))} (${ago(Date.parse(at), nowMs)})`,
    since: (at) => since(Date.parse(at), nowMs),
    next: (at) => {
      const nextMs = Date.parse(at)
      return `next try ${nextMs <= nowMs ? 'now' : ago(nextMs, nowMs)}`
    },
  }
}

/** RFC 3339 of the status document, or null, as ms since the epoch. */
export function msOf(at: string | null): number | null {
  return at === null ? null : Date.parse(at)
}
