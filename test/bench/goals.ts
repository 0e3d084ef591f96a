/** Goals and what was got: judged by the median of the rounds, shown as a table and as JSON. */
import { median, spread } from './statistics.ts'

export interface Goal {
  readonly measure: string
  readonly goal: string
  readonly got: string
  /** null: not measured, `note` says why. */
  readonly met: boolean | null
  readonly note: string
  readonly values: readonly number[]
}

/**
 * `limit` may be one number, or one for each round where it hangs on something that was measured in that round.
 */
export interface Wanted {
  readonly measure: string
  readonly atMost?: number | readonly number[]
  readonly atLeast?: number | readonly number[]
  readonly unit: string
  readonly digits?: number
  readonly note?: string
}

export function judged(wanted: Wanted, values: readonly number[]): Goal {
  const { unit, digits = 2 } = wanted
  const limits = [wanted.atMost ?? wanted.atLeast ?? []].flat()
  const limit = median(limits)
  const got = median(values)
  const sign = wanted.atMost === undefined ? '>=' : '<='
  return {
    measure: wanted.measure,
    goal: `${sign} ${Number(limit.toFixed(digits))} ${unit}`.trim(),
    got: `${spread(values, digits)} ${unit}`.trim(),
    met: !Number.isFinite(got) ? null : wanted.atMost === undefined ? got >= limit : got <= limit,
    note: wanted.note ?? '',
    values,
  }
}

export function notMeasured(measure: string, goal: string, why: string): Goal {
  return { measure, goal, got: '-', met: null, note: why, values: [] }
}

export function goalTable(goals: readonly Goal[]): string {
  const rows = [
    ['measure', 'goal', 'got: median (least-most)', 'met', 'note'],
    ...goals.map((g) => [
      g.measure,
      g.goal,
      g.got,
      g.met === null ? 'not measured' : g.met ? 'yes' : 'NO',
      g.note,
    ]),
  ]
  const widths = [0, 1, 2, 3].map((column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
