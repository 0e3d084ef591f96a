/**
 * What a type of sink brings to the campaign: how its real receiver is started, configured, made to
 * fail and read back. types.ts lists the types; README.md says how to add one.
 */
import type { Random } from '../../../device-sim/random.ts'
import type { SinkPromise } from '../../../gateway/ports/sink.ts'

/**
 * How the judge sees what was taken for delivered and is not there: a reading, or a poison record
 * without its dead letter.
 */
export const TAKEN_FOR_DELIVERED =
  /I1: acknowledged to .* and not at the receiver|I8: \d+ dead letters of/

/** A record as the receiver has it. */
export interface StoredReading {
  /** Of the record: `gateway:spool:stream:seq`. */
  readonly id: string
  readonly device: string
  /** The member `n` of the payload. */
  readonly n: number
}

/** What can be done to a receiver. Those of the link are the campaign's own; see link.ts. */
export const RECEIVER_FAULTS = [
  /** Ended in its own way, and started again with all that it had. */
  'stopped',
  /** SIGKILL, and started again. */
  'killed',
  /** Its clients are not allowed in: wrong password, wrong key. */
  'locked-out',
  /** The table, stream, bucket or folder is not there, and is made. */
  'no-place',
  /** Says by its protocol that it cannot take anything now: 503, disk full, no quorum. */
  'busy',
  /** Its disk says that it failed. */
  'broken',
] as const
export type ReceiverFault = (typeof RECEIVER_FAULTS)[number]

export interface Trouble {
  begin(): Promise<void>
  end(): Promise<void>
  /** Only before anything was delivered: making it would take away what is there. */
  readonly onlyAtFirst?: true
}

/** A server that is ended, by its own way or by force, and started again with all that it had. */
export function endings(
  server: { end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> },
  again: () => Promise<void>,
): Record<'stopped' | 'killed', Trouble> {
  return {
    stopped: { begin: () => server.end('SIGTERM'), end: again },
    killed: { begin: () => server.end('SIGKILL'), end: again },
  }
}

/** A receiver that runs, for one episode. */
export interface TestedReceiver {
  /**
   * Where it listens, for the link through which the gateway reaches it; null: no link leads there
   * (a folder).
   */
  readonly port: number | null
  /** Of the gateway: what stands between it and a receiver to which no link leads. @default {} */
  readonly env?: Readonly<Record<string, string>>
  /**
   * The sink's part of the configuration, for the gateway's next life. `port`: of the link. What the
   * promise allows to change between two lives may be drawn.
   */
  sink(port: number, random: Random): Readonly<Record<string, unknown>>
  readonly troubles: Readonly<Partial<Record<ReceiverFault, Trouble>>>
  /** All that it has, in the order in which it got it (per queue), past the link. */
  read(): Promise<readonly StoredReading[]>
  /** Only for what it costs: ends it and removes what it wrote. Also when it is down. */
  close(): Promise<void>
}

/** A defect that a test plants, and how the campaign sees it. */
export interface Planted {
  /** Of `defects` or of defects.ts. */
  readonly defect: string
  /** Names of the actions that bring it to light. */
  readonly only: readonly string[]
  readonly seenAs: RegExp
}

export interface TestedType {
  readonly delivery: SinkPromise['delivery']
  /**
   * At least once: the most records of one queue that one fault can bring twice: a batch, or a
   * window.
   */
  readonly window?: number
  /**
   * At least once: how often a window may come again while the record in it that was refused is
   * looked for. @default 0
   */
  readonly repeatsARefusal?: number
  /** Programs that it needs, as tools.ts finds them. */
  readonly tools: readonly string[]
  /**
   * The Node that runs the gateway, if it is not the test's own. @throws where it cannot be had, in
   * words
   */
  readonly node?: () => { readonly path: string; readonly env: Readonly<Record<string, string>> }
  /** Its exchange has phases, and keeps notes between them. @default false */
  readonly keepsNotes?: boolean
  /** A payload that the receiver refuses for good, as JSON; absent: it refuses nothing. */
  readonly poison?: (n: number) => string
  /**
   * Defects of its own that a test plants into the gateway, by name; run in its process before the
   * first sink is made. Those of every type: defects.ts.
   */
  readonly defects?: Readonly<Record<string, () => void>>
  /** Each is a test of `npm test`. */
  readonly planted: readonly Planted[]
  /** `folder`: of this episode alone, empty. */
  open(folder: string): Promise<TestedReceiver>
}
