/**
 * How long there is room, at the pace of the last minutes: a line through what was seen, drawn on
 * until it meets the limit. Pure but for its memory: the caller brings levels and times. What only
 * swings (a backlog that comes and goes, files that LevelDB merges) is not filling: its growth is
 * below its own noise.
 */

/** A box that begins to fill has a forecast within three minutes, and the right one after ten. */
export const WINDOW_MS = 10 * 60_000
export const SAMPLE_INTERVAL_MS = 10_000
const MIN_SPAN_MS = 60_000
/** Growth over the window, in standard deviations of what is off the line. */
const CERTAIN = 3
/** Ten years: longer than the box. */
const FOREVER_HOURS = 87_600
const HOUR_MS = 3_600_000

interface FillSample {
  /** Monotonic. */
  readonly atMs: number
  readonly bytes: number
}

/** null: not filling, or not known yet. `samples`: oldest first. */
export function hoursUntil(samples: readonly FillSample[], fullBytes: number): number | null {
  const first = samples[0]
  const last = samples.at(-1)
  if (first === undefined || last === undefined) return null
  if (last.bytes >= fullBytes) return 0
  const spanMs = last.atMs - first.atMs
  if (spanMs < MIN_SPAN_MS) return null
  const { slope, at, noise } = lineThrough(samples)
  if (slope * spanMs <= CERTAIN * noise) return null
  // From the line, not from the last sample, which may be the crest of a swing.
  const hours = Math.max(0, fullBytes - at(last.atMs)) / slope / HOUR_MS
  return hours > FOREVER_HOURS ? null : hours
}

interface Line {
  /** Bytes a millisecond. */
  readonly slope: number
  readonly at: (ms: number) => number
  /** Standard deviation of the samples from it. */
  readonly noise: number
}

/** Least squares. */
function lineThrough(samples: readonly FillSample[]): Line {
  const mean = (of: (sample: FillSample) => number): number =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length
  const middleMs = mean(({ atMs }) => atMs)
  const middleBytes = mean(({ bytes }) => bytes)
  const spread = mean(({ atMs }) => (atMs - middleMs) ** 2)
  const slope = mean(({ atMs, bytes }) => (atMs - middleMs) * (bytes - middleBytes)) / spread
  const at = (ms: number): number => middleBytes + slope * (ms - middleMs)
  const noise = Math.sqrt(mean(({ atMs, bytes }) => (bytes - at(atMs)) ** 2))
  return { slope, at, noise }
}

/** The levels of the last minutes, of several things that fill. */
export class FillHistory {
  readonly #samples = new Map<string, FillSample[]>()

  /** `levels`: bytes by name; what is not among them any more is forgotten. */
  note(nowMs: number, levels: ReadonlyMap<string, number>): void {
    for (const name of this.#samples.keys()) if (!levels.has(name)) this.#samples.delete(name)
    for (const [name, bytes] of levels) {
      const samples = this.#samples.get(name) ?? []
      samples.push({ atMs: nowMs, bytes })
      while ((samples[0]?.atMs ?? nowMs) < nowMs - WINDOW_MS) samples.shift()
      this.#samples.set(name, samples)
    }
  }

  hoursUntil(name: string, fullBytes: number): number | null {
    return hoursUntil(this.#samples.get(name) ?? [], fullBytes)
  }
}
