/**
 * What the drain needs of a sink, whatever its type. A sink takes one immutable batch at a time per
 * stream and says what came of it: facts, never what to do next, which is the drain's retry policy.
 * It never throws for anything that the far side or the network does.
 *
 * A type of sink gets the same batch again until it acked it: after a lost answer, after a kill, on
 * another day. Within one fingerprint each try has the same bytes (I4), so the far side can know a
 * repeat by the batch's identity and bounds, or by the ids of its records. Under another fingerprint
 * it is another batch over the same ids, and whatever names it (a key, a file name) must differ.
 */

/** Form of a stitched body: one gzip member, or the NDJSON as it is. */
export type BatchEncoding = 'gzip' | 'identity'

export type GapReason =
  | 'expired'
  | 'expired-by-device'
  | 'dropped-oldest'
  | 'corrupt'
  | 'commit-failed'
  | 'unused'
  | 'dead-lettered'
  | 'purged'

/** Seqs that the sink will never get, of the batch's identity or of an earlier one (I9). */
export interface Gap {
  readonly spoolId: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly reason: GapReason
}

/** One record of a batch, taken apart. */
export interface SinkRecord {
  readonly id: string
  readonly seq: number
  readonly device: string
  readonly topic: string
  readonly qos: 0 | 1 | 2
  /** Wall clock, ms since the epoch. */
  readonly receivedAtMs: number
  /** `json`: a JSON text, a string of JSON where the stream says `payload: text`. */
  readonly payloadKind: 'json' | 'bytes'
  readonly payload: Uint8Array
  /** The NDJSON line that all of it stands in, LF included. */
  readonly line: Uint8Array
  /**
   * What was left of its Message Expiry Interval when its batch was made, seconds, at least 1;
   * null: its stream ignores it, or it has none.
   */
  readonly expirySeconds: number | null
}

export interface Stitched {
  readonly chunks: readonly Uint8Array[]
  /** Of all chunks. */
  readonly byteLength: number
}

/** Of the note of a batch: it is part of the stream's state, which each commit writes. */
export const MAX_NOTE_BYTES = 1024

/** Spool ids of messages that only try a sink begin with it: they are of no queue. */
export const TRIAL_MARK = 'test'

/**
 * One batch. Costs nothing until it is read: `stitched` for a sink that takes NDJSON, `records` for
 * one that encodes each record. Both give the same on every call.
 */
export interface Batch {
  readonly gateway: string
  readonly spoolId: string
  readonly stream: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly recordCount: number
  /** Oldest first. Reported until a batch that carried them is wholly acked. */
  readonly gaps: readonly Gap[]
  /** When the oldest record of its first block was received, ms since the epoch. */
  readonly receivedAtMs: number
  /** Of the encoder that makes its bytes; see {@link BatchEncoder}. */
  readonly fingerprint: string
  /**
   * Fingerprints under which earlier tries of these records may have arrived, oldest first; mostly
   * none. A type that promises exactly once reads back what became of those before it sends.
   */
  readonly formerFingerprints: readonly string[]
  /** What `keepNote` stored of this batch under this fingerprint, before this try; null: nothing. */
  readonly note: string | null
  /**
   * Stores a short text (at most {@link MAX_NOTE_BYTES} bytes) with the pin, in place of the one
   * before, for a type whose exchange has phases. Resolves when it is durable; rejects if the spool
   * cannot store it, or the batch is not in flight any more: then nothing that needs it may be sent.
   */
  keepNote(note: string): Promise<void>
  /** Of the NDJSON: bytes, and CRC-32. */
  readonly rawBytes: number
  readonly crc32: number
  /** What one try sends, for pacing: the stitched body where the encoder stitches, else the NDJSON. */
  readonly bodyBytes: number
  /** Blocks as they lie on disk, joined without inflating them. */
  stitched(encoding: BatchEncoding): Promise<Stitched>
  /** In order; inflates a block at a time. */
  records(): AsyncIterable<SinkRecord>
}

/** How a sink makes bytes of batches: what the spool notes in a pin before the first try. */
export interface BatchEncoder {
  /**
   * Names the type, the form and all configuration that changes the bytes: `http:ndjson:gzip`. Short,
   * printable, no secret in it. It is stored with the pin: a batch in flight whose fingerprint is
   * another one after a restart goes out as a batch of its own.
   */
  readonly fingerprint: string
  /** The body that is made ready while the pin becomes durable; null: it reads `records`. */
  readonly stitches: BatchEncoding | null
  /**
   * A batch that may have arrived is never taken apart, neither for its failures nor for lower limits
   * after a restart: the far side knows it by a name that its pieces do not have, and would keep both.
   */
  readonly keepsWhole?: true
  /** Most records that one batch may have, now; absent: the configured limit alone. */
  readonly maxBatchRecords?: number
  /**
   * How many of the gaps, from the oldest, a batch of that identity can carry; at least one of them,
   * or none would ever be reported. Pure.
   */
  gapsThatFit(gaps: readonly Gap[], spoolId: string): number
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
      /** The sink checks by itself, and calls `onChange` once it may pass. */
      readonly watched?: boolean
      /** It has other records under these numbers: the spool was rolled back or cloned. */
      readonly cloned?: boolean
    }
)

/** Someone who looks on as batches leave. Neither may throw or wait. */
export interface BatchWatch {
  /** Its first byte is about to leave. */
  sent(sink: string, batch: Batch): void
  answered(sink: string, batch: Batch, answer: SinkAnswer): void
}

/** What a sink owes the one who configured it, in the words of `sluice check` and `status`. */
export interface SinkPromise {
  /** Over repeats, lost answers and kills, if the far side keeps its own promises. */
  readonly delivery: 'exactly once' | 'idempotent by value' | 'at least once'
  /** What makes it so: `by file name`, `with ids`. Goes behind `delivery`. */
  readonly by: string
  /**
   * Where a record is when the far side acks it. `replicated`: on most of three servers or more,
   * which may not have fsynced it: lost only if most of them lose their power at once. `received`:
   * it may still be lost there.
   */
  readonly ack: 'durable' | 'replicated' | 'received' | 'in memory'
}

/** Whether a connection that a sink keeps is there. */
export interface SinkHealth {
  /** null: it keeps none between batches. */
  readonly connected: boolean | null
  /** Why not; null: nothing is wrong. */
  readonly detail: string | null
}

export interface Sink {
  readonly name: string
  readonly encoder: BatchEncoder
  /**
   * Before the first batch. A sink that keeps a connection begins to open it: a far side that is down
   * shows in `health` and in answers, and is no reason not to start (I7).
   */
  start(): void
  readonly health: SinkHealth
  /**
   * Resolves when the answer is complete, the time-out passed, or `signal` aborted (kind `retry`).
   * Batches of several streams may be in progress side by side, of one stream never.
   */
  send(batch: Batch, signal: AbortSignal): Promise<SinkAnswer>
  /** Called when something changed that may end a hold (a secret file, for instance). */
  onChange(listener: () => void): void
  /** Gives up what is in progress (kind `retry`) and lets go of everything. */
  close(): Promise<void>
}

/** One step of a look at a sink; the first that is a problem is the last. */
export interface ProbeStep {
  /** What was tried, in a word. */
  readonly step: string
  readonly verdict: 'ok' | 'warning' | 'problem'
  /** One sentence: what was seen, and what to do if it is not well. Never a secret. */
  readonly detail: string
}

/** Is it there, and would it take batches? */
export interface SinkProbe {
  readonly sink: string
  /** Where it sends, for people. */
  readonly target: string
  readonly steps: readonly ProbeStep[]
}
