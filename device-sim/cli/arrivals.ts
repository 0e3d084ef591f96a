/**
 * Readings as they arrive, as lines for a person: the first at once, then at most so many a second,
 * one of each device, with the number of those that are not shown. Text that devices chose cannot
 * steer the terminal.
 */
import type { LatestReading, LatestReadings } from '../cloud/latest.ts'
import { count } from '../table.ts'

const EVERY_MS = 1000
const LINES_EACH = 5
const LEAST_COLUMNS = 40
const DEFAULT_COLUMNS = 120

export interface Arrivals {
  /** Something was stored. */
  readonly notice: () => void
  /** Shows what is left. */
  stop(): void
}

/** @param show takes a line without its end */
export function showArrivals(
  latest: LatestReadings,
  show: (line: string) => void,
  columns: () => number | undefined,
): Arrivals {
  let shown = 0
  let timer: NodeJS.Timeout | null = null
  const look = (): boolean => {
    const fresh = latest.total - shown
    if (fresh === 0) return false
    const width = Math.max(LEAST_COLUMNS, columns() || DEFAULT_COLUMNS) - 1
    const readings = latest.perDevice(LINES_EACH, shown)
    shown = latest.total
    for (const reading of readings.toReversed()) show(arrivalLine(reading, width))
    const more = fresh - readings.length
    if (more > 0) show(`          and ${count(more)} more`)
    return true
  }
  const notice = (): void => {
    if (timer !== null || !look()) return
    timer = setTimeout(() => {
      timer = null
      notice()
    }, EVERY_MS)
    timer.unref()
  }
  return {
    notice,
    stop: () => {
      if (timer !== null) clearTimeout(timer)
      look()
    },
  }
}

export function arrivalLine(
  { storedAtMs, device, topic, payload }: LatestReading,
  width: number,
): string {
  const time = new Date(storedAtMs).toTimeString().slice(0, 8)
  const text = `${time}  ${device}  ${topic}  ${payload}`.replaceAll(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    '\uFFFD',
  )
  return text.length > width ? `${text.slice(0, width - 1)}…` : text
}
