/** How delivery stands, for status and metrics: plain data, times in ms since the epoch. */
import type { HoldReason } from './policy/retry-policy.ts'

export interface DeliveryStanding {
  /** `held`: an alarm; nothing moves until a probe succeeds, nothing is lost (I8). */
  readonly state: 'ok' | 'retrying' | 'held'
  /** When it began; null while ok. */
  readonly sinceMs: number | null
  /** Why it is held; null while it is not. */
  readonly reason: HoldReason | null
  /** The last answer or error in words; null while ok. */
  readonly detail: string | null
  /** When the next try or probe is due; null: none is, or the sink looks by itself. */
  readonly nextTryAtMs: number | null
  /** When it last acked something; null: not since this start. */
  readonly lastSuccessAtMs: number | null
}

/**
 * `retrying` of a sink: it cannot be reached or asks to wait, or every try fails. Of a stream: its
 * own tries fail, or its sink's.
 */
export interface StreamStanding extends DeliveryStanding {
  readonly stream: string
  readonly inFlight: boolean
}

export interface SinkStanding extends DeliveryStanding {
  readonly sink: string
  readonly inFlight: number
  /**
   * Batch limit learned from the sink's answers or from the pace of the link, uncompressed bytes;
   * null: the configured one holds.
   */
  readonly learnedBatchBytes: number | null
  readonly streams: readonly StreamStanding[]
}

/** A stream whose tries fail, by the monotonic clock. */
export interface FailingStream {
  readonly standing: StreamStanding
  readonly failingSinceMs: number
}

/**
 * A sink whose every try fails is failing, whatever it answers: streams are in trouble, and nothing
 * was acked since the first of them got into it. While others get through, the trouble is the
 * stream's own. `lastAckedAtMs`: of all its streams, monotonic. Pure.
 */
export function sinkStanding(
  own: DeliveryStanding,
  failing: readonly FailingStream[],
  lastAckedAtMs: number,
): DeliveryStanding {
  if (own.state !== 'ok') return own
  const first = failing.toSorted((a, b) => a.failingSinceMs - b.failingSinceMs)[0]
  if (first === undefined || lastAckedAtMs >= first.failingSinceMs) return own
  const due = failing.map(({ standing }) => standing.nextTryAtMs).filter((atMs) => atMs !== null)
  const { sinceMs, detail } = first.standing
  const nextTryAtMs = due.length === 0 ? null : Math.min(...due)
  return { ...own, state: 'retrying', sinceMs, detail, nextTryAtMs }
}

/** No stream does better than its sink. What holds the stream besides is still said. Pure. */
export function throughSink(stream: StreamStanding, sink: DeliveryStanding): StreamStanding {
  if (sink.state === 'ok' || (sink.state === 'retrying' && stream.state === 'held')) return stream
  const { state, sinceMs, reason, nextTryAtMs } = sink
  const besides =
    stream.state === 'held' && stream.detail !== null ? `; besides: ${stream.detail}` : ''
  const detail = sink.detail === null ? null : `${sink.detail}${besides}`
  return { ...stream, state, sinceMs, reason, detail, nextTryAtMs }
}

/** What an operator can do about a record that fails alone, again and again. Pure. */
export function withHint(stream: StreamStanding, stuckSeq: number | null): StreamStanding {
  if (stuckSeq === null || stream.detail === null) return stream
  const hint = `if record ${stuckSeq} is to blame: sluice streams park ${stream.stream} ${stuckSeq}`
  return { ...stream, detail: `${stream.detail}; ${hint}` }
}
