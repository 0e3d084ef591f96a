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
  readonly code: string | null
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

/**
 * Whose trouble an answer speaks of: one stream's, whose data it was, or the sink's as a whole
 * (connection, credentials, address, overload). Others of the sink's streams wait for the latter.
 */
export type Scope = 'sink' | 'stream'

/** What came of one try: facts, never what to do next. */
export type SinkAnswer = {
  /**
   * The far side's own code for it, for people: an HTTP status, an SQLSTATE, an errno. null: none.
   */
  readonly code: string | null
  /** The far side's clock, for the skew metric; null: it did not say. */
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
       * `Retry-After` beside verdicts: not sooner, if something is to be sent again. Absent or
       * null: none.
       */
      readonly retryAfterMs?: number | null
    }
  /**
   * Same bytes again, not before `retryAfterMs` (already cut at maxRetryAfter; null: backoff
   * alone). `unsent`: not one byte of the request can have left; absent: nobody knows.
   */
  | {
      readonly kind: 'retry'
      readonly scope: Scope
      readonly retryAfterMs: number | null
      readonly detail: string
      /** The far side said so itself. False: it could not be reached, or was silent. */
      readonly answered: boolean
      /** It is asked for less in all: this says nothing of what was sent. */
      readonly throttled?: boolean
      readonly unsent?: boolean
    }
  /** More than it takes at once: less of it may pass. */
  | { readonly kind: 'too-large'; readonly detail: string }
  /** At least one record is refused, which one is unknown. */
  | { readonly kind: 'refused'; readonly detail: string }
  /** Nothing was acked and the answer makes no sense; hold after five in a row. */
  | { readonly kind: 'malformed'; readonly detail: string }
  /** Repeating it changes nothing: keep everything, alarm, probe. */
  | {
      readonly kind: 'hold'
      readonly scope: Scope
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
