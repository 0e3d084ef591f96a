/** A point in time, relative with the absolute one beside it, and moving on by itself. */
import { nowMs } from '../live/store.ts'
import { ago, clockTime } from '../words/times.ts'

interface WhenProps {
  /** null: it never was. */
  readonly atMs: number | null
  /** For null. @default none */
  readonly never?: string
}

export function When({ atMs, never = 'none' }: WhenProps) {
  if (atMs === null) return <span class="quiet">{never}</span>
  return (
    <time dateTime={new Date(atMs).toISOString()}>
      {ago(atMs, nowMs.value)} <span class="quiet">{clockTime(atMs, nowMs.value)}</span>
    </time>
  )
}
