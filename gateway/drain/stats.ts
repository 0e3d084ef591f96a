/**
 * Hot-path counts of the drain as plain numbers, since this start; observe reads them at each
 * scrape.
 */

/**
 * Requests by what their answer said, as the contract's table groups them. `partial`: some records,
 * not all.
 */
export interface AnswerCounts {
  acked: number
  partial: number
  retry: number
  'too-large': number
  refused: number
  malformed: number
  hold: number
}

export interface SinkDrainStats {
  readonly answers: AnswerCounts
  /** Bytes of request bodies as sent, repeats included. */
  sentBytes: number
  inFlight: number
  /** The sink's clock minus ours at its last dated answer, ms; null: none yet. */
  clockSkewMs: number | null
}

export interface StreamDrainStats {
  /** Batches pinned, and requests sent for them. */
  batches: number
  requests: number
  /** Records in all requests, repeats included. */
  sentRecords: number
  sentBytes: number
  ackedRecords: number
  parkedRecords: number
  deadLetteredRecords: number
  returnedRecords: number
  splits: number
  holds: number
  dissolvedBatches: number
}

export interface DrainStats {
  readonly sinks: Readonly<Record<string, SinkDrainStats>>
  /** An orphaned stream may join while the gateway runs. */
  readonly streams: Record<string, StreamDrainStats>
}

export function newSinkStats(): SinkDrainStats {
  const answers = {
    acked: 0,
    partial: 0,
    retry: 0,
    'too-large': 0,
    refused: 0,
    malformed: 0,
    hold: 0,
  }
  return { answers, sentBytes: 0, inFlight: 0, clockSkewMs: null }
}

export function newStreamStats(): StreamDrainStats {
  return {
    batches: 0,
    requests: 0,
    sentRecords: 0,
    sentBytes: 0,
    ackedRecords: 0,
    parkedRecords: 0,
    deadLetteredRecords: 0,
    returnedRecords: 0,
    splits: 0,
    holds: 0,
    dissolvedBatches: 0,
  }
}
