/**
 * What the drain stage tells the world: changes of state, never a line per batch.
 * `type` is `<stage>.<what>`; every event carries plain data only. `stream` null: the whole sink.
 */
import type { WrittenCode } from '../shared/text/answer-code.ts'
import type { HoldReason } from './policy/retry-policy.ts'

export type DrainEvent =
  /** Delivery stopped working for now; tries go on by themselves. Once per outage. */
  | {
      readonly type: 'drain.retrying'
      readonly sink: string
      readonly stream: string | null
      readonly status: WrittenCode
      readonly detail: string
      readonly retryAfterMs: number | null
    }
  /** It works again. */
  | {
      readonly type: 'drain.recovered'
      readonly sink: string
      readonly stream: string | null
      readonly outageMs: number
    }
  /** Alarm: nothing moves until a probe succeeds; nothing is lost (I8). */
  | {
      readonly type: 'drain.held'
      readonly sink: string
      readonly stream: string | null
      readonly reason: HoldReason
      readonly status: WrittenCode
      readonly detail: string
    }
  | {
      readonly type: 'drain.hold-ended'
      readonly sink: string
      readonly stream: string | null
      readonly reason: HoldReason
      readonly heldMs: number
    }
  /**
   * The sink refused a record, which is parked until it accepts a later one. `tooLarge`: this
   * record alone was.
   */
  | {
      readonly type: 'drain.parked'
      readonly sink: string
      readonly stream: string
      readonly spoolId: string
      readonly seq: number
      readonly status: WrittenCode
      readonly reason: string
      readonly tooLarge: boolean
    }
  /** Alarm: refused for good; kept whole, listed, can be requeued (I9). */
  | {
      readonly type: 'drain.dead-lettered'
      readonly sink: string
      readonly stream: string
      readonly records: number
      readonly firstSeq: number
      readonly lastSeq: number
    }
  /** A hold began: the refused records went back to their place. */
  | {
      readonly type: 'drain.parked-returned'
      readonly sink: string
      readonly stream: string
      readonly records: number
    }
  /**
   * Batches for this sink hold at most so many uncompressed bytes from now on. `too-large`: the
   * sink said so; `refused`: a batch was, and none of its pieces; `timed-out`: again and again.
   */
  | {
      readonly type: 'drain.batch-limit-learned'
      readonly sink: string
      readonly stream: string
      readonly why: 'too-large' | 'refused' | 'timed-out'
      readonly bytes: number
    }
  /** A start found a batch in flight: it is sent again first (I4). */
  | {
      readonly type: 'drain.batch-resumed'
      readonly sink: string
      readonly stream: string
      readonly spoolId: string
      readonly firstSeq: number
      readonly lastSeq: number
    }
  /**
   * A pinned block was damaged: its batch is made anew from what is left; the spool reports the
   * gap.
   */
  | {
      readonly type: 'drain.batch-dissolved'
      readonly sink: string
      readonly stream: string
      readonly spoolId: string
      readonly firstSeq: number
      readonly lastSeq: number
    }
  /** The spool could not read or note something; the drain tries again. */
  | {
      readonly type: 'drain.queue-failed'
      readonly sink: string
      readonly stream: string | null
      readonly detail: string
    }

export type EmitDrainEvent = (event: DrainEvent) => void
