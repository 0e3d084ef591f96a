/**
 * The last minutes of the gateway, as far as this page saw them: one sample a second, from which
 * rates and the chart are made. Bounded. Pure but for its own list. The gateway keeps no history
 * for it, so a page that was just opened has none.
 */
import type { ConsoleSnapshot } from './answers.ts'

/** 15 minutes. */
const MAX_SAMPLES = 900
/** Rates are over as much. */
const RATE_WINDOW_MS = 10_000
/** The first samples come closer: rates between them say little, so they are there only at first. */
const LEAST_STEP_MS = 500
/** So many make a line of rates. */
const LINE_SAMPLES = 3
/** Samples further apart than this have a hole between them. */
const GAP_MS = 5_000

export interface Sample {
  readonly atMs: number
  /** Sums over all streams. */
  readonly received: number
  readonly delivered: number
  readonly backlogRecords: number
  readonly backlogBytes: number
}

export interface Rates {
  /** Readings a second. */
  readonly received: number
  readonly delivered: number
}

export class ConsoleHistory {
  #samples: readonly Sample[] = []

  get samples(): readonly Sample[] {
    return this.#samples
  }

  /** Forgets all: a gateway that was restarted with another spool counts from zero. */
  add(snapshot: ConsoleSnapshot): void {
    const sample = sampleOf(snapshot)
    const last = this.#samples.at(-1)
    if (last !== undefined && sample.atMs <= last.atMs) return
    const isOther = last !== undefined && sample.received < last.received
    const samples = [...(isOther ? [] : this.#samples.slice(1 - MAX_SAMPLES)), sample]
    const spaced = samples.filter(
      ({ atMs }, index) => index === 0 || atMs - (samples[index - 1]?.atMs ?? 0) >= LEAST_STEP_MS,
    )
    this.#samples = spaced.length >= LINE_SAMPLES ? spaced : samples
  }

  /** null: there are not two samples yet. */
  rates(): Rates | null {
    const last = this.#samples.at(-1)
    if (last === undefined) return null
    const first = this.#samples.find(({ atMs }) => atMs >= last.atMs - RATE_WINDOW_MS)
    if (first === undefined || first === last) return null
    const seconds = (last.atMs - first.atMs) / 1_000
    return {
      received: (last.received - first.received) / seconds,
      delivered: (last.delivered - first.delivered) / seconds,
    }
  }
}

function sampleOf({ atMs, status }: ConsoleSnapshot): Sample {
  const sum = (of: (stream: (typeof status.streams)[number]) => number): number =>
    status.streams.reduce((total, stream) => total + of(stream), 0)
  return {
    atMs,
    received: sum((stream) => stream.counters.received),
    delivered: sum((stream) => stream.counters.delivered),
    backlogRecords: sum((stream) => stream.backlogRecords),
    backlogBytes: sum((stream) => stream.backlogBytes),
  }
}

/** For the chart: times in seconds, values; a null where the page saw nothing for a while. */
export function seriesOf(
  samples: readonly Sample[],
  valueOf: (sample: Sample, before: Sample | null) => number | null,
): [number[], (number | null)[]] {
  const times: number[] = []
  const values: (number | null)[] = []
  let before: Sample | null = null
  for (const sample of samples) {
    if (before !== null && sample.atMs - before.atMs > GAP_MS) {
      times.push((before.atMs + 1_000) / 1_000)
      values.push(null)
      before = null
    }
    times.push(sample.atMs / 1_000)
    values.push(valueOf(sample, before))
    before = sample
  }
  return [times, values]
}
