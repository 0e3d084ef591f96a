/**
 * What the drain needs of the spool: one durable queue per stream, and all that the drain knows of
 * it.
 *
 * Mutations (`pin`, `settle`, `split`, `returnParked`) change the queue's state at once, in memory,
 * and resolve when the commit that carries them is fsynced. Mutations made in one synchronous run
 * ride in one commit.
 */
import type { Batch, BatchEncoder } from './sink.ts'

/**
 * A run of consecutive seqs that is stored together: a block, or one record that was returned to
 * its place.
 */
export interface Run {
  readonly spoolId: string
  readonly firstSeq: number
  readonly recordCount: number
  /** Uncompressed NDJSON bytes of these records; of a partly settled block, its share by count. */
  readonly rawBytes: number
  /** When its oldest record was received, ms since the epoch. */
  readonly receivedAtMs: number
}

/**
 * The records of one identity from `firstSeq` to `lastSeq` that are still pending; not every seq
 * need exist.
 */
export interface Bounds {
  readonly spoolId: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly recordCount: number
}

/** The durable note of the batch in flight. */
export interface Pin extends Bounds {
  /** Last seq of the batch as it was before it was split; equal to `lastSeq` if it was not. */
  readonly outerLastSeq: number
  /** How many gaps, from the oldest, the batch carries. */
  readonly gapCount: number
  /** Of the encoder; see ports/sink.ts. */
  readonly fingerprint: string
  /** Those under which earlier tries may have gone out; absent: none. */
  readonly formerFingerprints?: readonly string[]
  /** Of the sink, about this batch under this fingerprint; see `Batch.keepNote`. Absent: none. */
  readonly note?: string
  /**
   * Batch limits of the configuration that it was made under; absent: not known (0.1.0, an
   * operator's record).
   */
  readonly limits?: PinLimits
}

/** The same bytes, whatever was noted of them. */
export function isSameBatch(a: Pin, b: Pin): boolean {
  return (
    a.spoolId === b.spoolId &&
    a.firstSeq === b.firstSeq &&
    a.lastSeq === b.lastSeq &&
    a.recordCount === b.recordCount &&
    a.gapCount === b.gapCount &&
    a.fingerprint === b.fingerprint
  )
}

export interface PinLimits {
  readonly maxRecords: number
  /** Uncompressed. */
  readonly maxBytes: number
}

/**
 * A pinned batch as read from disk. Records that had expired by the word of their device when it was
 * pinned are not in it, and `batch` has the bounds of those that are: it may have none. They go with
 * the settlement that passes them.
 */
export interface LoadedBatch {
  readonly pin: Pin
  readonly batch: Batch
  /** Seqs in the batch, ascending. Costs O(records): for answers that name records. */
  seqs(): number[]
  /** One record's NDJSON line, LF included. Inflates at most one block. */
  line(seq: number): Promise<Uint8Array>
}

export interface RefusedRecord {
  readonly seq: number
  readonly code: string | null
  readonly reason: string
  /** The record's line, LF included. */
  readonly line: Uint8Array
}

export interface Settlement {
  /** The pinned batch is settled up to here; below its firstSeq: not at all. Clears the pin. */
  readonly throughSeq: number
  /**
   * Those at or below `throughSeq` that the sink refused: parked. All others there are delivered.
   */
  readonly refused: readonly RefusedRecord[]
  /**
   * Parked records that become dead letters in this commit, by seq of the batch's identity. May
   * name one of `refused`: those are parked first.
   */
  readonly deadLetter: readonly number[]
  /** The same for parked records of earlier identities; absent: none. */
  readonly deadLetterEarlier?: readonly { readonly spoolId: string; readonly seq: number }[]
  /** The request that carried the pin's gaps was fully acked: they are not reported again. */
  readonly gapsReported: boolean
  /**
   * The undivided range stays protected while a split batch is settled piece by piece: the next pin
   * continues it. Equal to the old pin's `outerLastSeq` then, else null.
   */
  readonly keepOuterLastSeq: number | null
}

export interface ParkedRecord {
  readonly spoolId: string
  readonly seq: number
  readonly code: string | null
  readonly reason: string
  /** What it takes as a dead letter. */
  readonly bytes: number
}

export interface StreamQueue {
  readonly stream: string
  readonly priority: number
  /** Name of this stream's sink. */
  readonly sink: string
  /** Devices wait until the sink has their records: no batch waits to be filled. */
  readonly isAwaited: boolean
  /**
   * Durable runs that are not settled and not parked, in order, from the first, pinned ones
   * included; at most `limit`.
   */
  ahead(limit: number): readonly Run[]
  /** Records that `ahead` would give, all in all, and their uncompressed bytes. */
  readonly pendingRecords: number
  readonly pendingBytes: number
  /**
   * No batch may cover more uncompressed bytes, but one record alone: retention needs room behind a
   * pin.
   */
  readonly maxBatchBytes: number
  readonly pin: Pin | null
  readonly parked: readonly ParkedRecord[]
  /**
   * Highest seq of this identity that was in a batch which may have reached the sink, or is about
   * to. What is pending up to here is protected from retention, pinned or not.
   */
  highestSentSeq(spoolId: string): number
  /** Before the first send of a batch: fixes bounds, gaps and fingerprint. Only without a pin. */
  pinBatch(
    bounds: Bounds,
    encoder: BatchEncoder,
    limits?: PinLimits,
  ): { readonly pin: Pin; readonly durable: Promise<void> }
  /**
   * Only of a stream that is awaited. From now on each commit that finds no batch in flight pins what
   * `plan` makes of all that is pending by then, its own records included: they can be sent as soon as
   * it is durable. `pin` shows it from then on.
   */
  pinWithCommits(
    plan: (runs: readonly Run[]) => Bounds | null,
    encoder: BatchEncoder,
    limits: PinLimits,
  ): void
  /** Makes sure that such a commit comes. */
  awaitPin(): void
  /**
   * The pinned batch goes on under another fingerprint, with those of its gaps that fit there; the
   * former one is remembered.
   */
  reencode(encoder: BatchEncoder): { readonly pin: Pin; readonly durable: Promise<void> }
  /**
   * Replaces the pin by its first part, or by itself (notes it once more); the outer range stays
   * pinned.
   */
  split(first: Bounds): { readonly pin: Pin; readonly durable: Promise<void> }
  /**
   * Only of a batch that never left. More of its records have expired since it was read: they are
   * left out of it as well, and it is to be read anew. null: none has.
   */
  expirePin(): { readonly pin: Pin; readonly durable: Promise<void> } | null
  /**
   * May the pinned batch have reached the sink, or is it about to? True from `pinBatch` on, and
   * after a start. While it is false a retention limit may take the batch's records and dissolve
   * the pin. Of a split batch it stays true.
   */
  guardPin(isGuarded: boolean): void
  /**
   * Reads the pinned batch, and stitches what the encoder stitches. null: a block was damaged; the spool dissolved the pin and counted the
   * gap; plan anew.
   */
  load(pin: Pin, encoder: BatchEncoder): Promise<LoadedBatch | null>
  settle(settlement: Settlement): Promise<void>
  /** Parked records go back to their place in order (a hold began). Clears the pin. */
  returnParked(): Promise<void>
  /** What a refused record of the pinned batch would take as a dead letter. */
  deadLetterBytes(refusal: RefusedRecord): number
  /**
   * May so many dead letters with so many bytes be added (`deadLetters.whenFull: hold`)? One alone
   * always may.
   */
  hasDeadLetterRoom(bytes: number, letters: number): boolean
  /** Parked records become dead letters, whatever is in flight. */
  bury(records: readonly { readonly spoolId: string; readonly seq: number }[]): Promise<void>
  /** Called when there may be something new to drain, in place of the one before; null: none is. */
  onReady(listener: (() => void) | null): void
}

/** Small durable notes of the drain: waits and holds that survive a restart. */
export interface NoteStore {
  get(key: string): string | null
  /** null removes it. Resolves when durable. */
  set(key: string, value: string | null): Promise<void>
}
