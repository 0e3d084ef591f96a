/**
 * What a sink has done since the start, as plain numbers that the hot path adds to and observe
 * reads at scrape. Not here: metric names, rates, anything durable (the conservation counters of I5
 * are the spool's).
 */

import type { Batch, SinkAnswer } from '../ports/sink.ts'
import { LatencyHistogram } from '../shared/latency-histogram.ts'

/**
 * How a request ended; `acked` and `partial` are answers of kind `verdicts`, with all records taken
 * or not.
 */
type SinkOutcome = 'acked' | 'partial' | 'retry' | 'too-large' | 'refused' | 'malformed' | 'hold'

/**
 * Why a batch went out though an earlier try of it may have arrived: the broker lost its session
 * (MQTT), or the message that would tell is gone (NATS), its records are in files of other names (file).
 */
type RepeatCause = 'session-lost' | 'message-gone' | 'other-names'

export interface SinkStats {
  /**
   * Ended requests. A request that was never sent (no secret, aborted in the queue) counts, too.
   */
  readonly requests: Record<SinkOutcome, number>
  /** Batches that may be there twice, since nothing could tell whether they were there. */
  readonly mayRepeat: Record<RepeatCause, number>
  /** Requests in progress. */
  inFlight: number
  /** Body bytes handed to the network, compressed as sent, repeats included. */
  sentBytes: number
  /** From send() to the complete answer, time-outs and errors included. */
  readonly requestSeconds: LatencyHistogram
  /**
   * The sink's `Date` minus our wall clock at its last dated answer, s; its resolution is 1 s.
   * null: none yet.
   */
  clockSkewSeconds: number | null
  /** Wall clock, ms since the epoch, of the last answer that acked something; null: none yet. */
  lastAckAtMs: number | null
}

/** From a LAN round trip to the default time-out and beyond. */
const REQUEST_BUCKETS_SECONDS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
] as const

/** All zero. */
export function createSinkStats(): SinkStats {
  return {
    requests: { acked: 0, partial: 0, retry: 0, 'too-large': 0, refused: 0, malformed: 0, hold: 0 },
    mayRepeat: { 'session-lost': 0, 'message-gone': 0, 'other-names': 0 },
    inFlight: 0,
    sentBytes: 0,
    requestSeconds: new LatencyHistogram(REQUEST_BUCKETS_SECONDS),
    clockSkewSeconds: null,
    lastAckAtMs: null,
  }
}

/** The outcome under which an answer to `batch` is counted. */
export function outcomeOf(answer: SinkAnswer, batch: Batch): SinkOutcome {
  if (answer.kind !== 'verdicts') return answer.kind
  const through = answer.ackedThrough
  if (through !== null && through < batch.lastSeq) return 'partial'
  return answer.listed.some((one) => one.verdict !== 'acked') ? 'partial' : 'acked'
}

/** Did the sink take at least one record of the batch? */
export function acksSomething(answer: SinkAnswer, batch: Batch): boolean {
  if (answer.kind !== 'verdicts') return false
  if (answer.listed.some((one) => one.verdict === 'acked')) return true
  if (answer.ackedThrough !== null) return answer.ackedThrough >= batch.firstSeq
  // Unlisted records are acked up to the first that is to be sent again.
  const retry = answer.listed.find((one) => one.verdict === 'retry')
  const judged = answer.listed.filter((one) => retry === undefined || one.seq < retry.seq).length
  return retry === undefined ? judged < batch.recordCount : retry.seq - batch.firstSeq > judged
}
