/**
 * A sink takes one immutable batch at a time per stream and says what became of it. It never
 * decides what to do next: that is the drain's retry policy. It never throws for anything that the
 * far side or the network does.
 */

/** One batch, ready to be sent; every try gets the same bytes (I4). */
export interface Batch {
  readonly gateway: string
  readonly spoolId: string
  readonly stream: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly recordCount: number
  /** Value of `Sluice-Gap`, or null. */
  readonly gaps: string | null
  /** CRC-32 of the uncompressed body. */
  readonly crc32: number
  readonly encoding: 'gzip' | 'identity'
  readonly body: readonly Uint8Array[]
  readonly bodyBytes: number
}

/** What a sink says of one record that it listed. `retry` means this one and all behind it. */
export interface Listed {
  readonly seq: number
  readonly verdict: 'acked' | 'retry' | 'refused'
  readonly status: number | null
  readonly reason: string | null
}

/** What one try moved: how the drain learns the pace of a link. */
export interface Transfer {
  /** Bytes of the body that the other side took, as far as this side can know. */
  readonly bytes: number
  /**
   * From the first of them to the answer, or to giving up, ms: `bytes` / `ms` is at most the link's
   * pace.
   */
  readonly ms: number
  /**
   * Given up because nothing moved for `timeout`, or too little in all (a smaller batch may pass).
   */
  readonly timedOut: boolean
}

/** `sinkDateMs`: the answer's own `Date`, for the skew metric; null without one. */
export type SinkAnswer = {
  readonly status: number | null
  readonly sinkDateMs: number | null
  /** Absent: nothing was sent. */
  readonly transfer?: Transfer
} & (
  | {
      readonly kind: 'verdicts'
      readonly ackedThrough: number | null
      /**
       * In order of seq, each once, all within the batch's bounds; a seq in one of its holes is the
       * drain's to find.
       */
      readonly listed: readonly Listed[]
      /**
       * `Retry-After` beside verdicts: not sooner, if something is to be sent again. Absent or null: none.
       */
      readonly retryAfterMs?: number | null
    }
  /**
   * Same bytes again, not before `retryAfterMs` (already cut at maxRetryAfter; null: backoff
   * alone). `unsent`: not one byte of the request can have left; absent: nobody knows.
   */
  | {
      readonly kind: 'retry'
      readonly retryAfterMs: number | null
      readonly detail: string
      readonly unsent?: boolean
    }
  /** 413. */
  | { readonly kind: 'too-large'; readonly detail: string }
  /** 400, 422: at least one record is refused, which one is unknown. */
  | { readonly kind: 'refused'; readonly detail: string }
  /** Nothing was acked and the answer makes no sense; hold after five in a row. */
  | { readonly kind: 'malformed'; readonly detail: string }
  /**
   * Keep everything, alarm, probe. `scope`: whose fault it is (authentication, URL: sink; data:
   * stream).
   */
  | {
      readonly kind: 'hold'
      readonly scope: 'sink' | 'stream'
      readonly detail: string
      readonly unsent?: boolean
      /** It has other records under these numbers: the spool was rolled back or cloned. */
      readonly cloned?: boolean
    }
)

export interface Sink {
  readonly name: string
  /**
   * Resolves when the answer is complete, the time-out passed, or `signal` aborted (kind `retry`).
   */
  send(batch: Batch, signal: AbortSignal): Promise<SinkAnswer>
  /** Called when something changed that may end a hold (a secret file, for instance). */
  onChange(listener: () => void): void
  close(): Promise<void>
}
