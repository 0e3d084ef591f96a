/**
 * What an operator can do to a gateway. One interface, three implementations: in the process that
 * runs (operator.ts, which the admin server serves), over HTTP to it (cli/http-operator.ts), and on
 * the folder of a gateway that is stopped (offline.ts). A command works on whichever it finds.
 *
 * Each action is durable when its promise resolves. What the operator can put right is refused with
 * an {@link OperatorError}.
 */

import type { WrittenCode } from '../shared/text/answer-code.ts'
import type { DevicePage, DeviceQuery } from './devices.ts'
import type { DeliveryState, Status } from './status.ts'

/** What can be asked of a gateway whether it runs or not. */
export interface Operator {
  status(): Promise<Status>
  /** A page of the table of devices. */
  devices(query: DeviceQuery): Promise<DevicePage>
  readonly deadLetters: DeadLetterOperator
  readonly streams: StreamOperator
  /**
   * New records are numbered under a fresh spool id, which is returned; older ones drain first
   * under theirs.
   */
  newSpoolId(): Promise<string>
  /** The bytes of a backup of the spool, as it is when they are asked for. */
  backup(): AsyncIterable<Uint8Array>
  /** Reads every pending block and checks it; one such look at a time. */
  verify(): Promise<VerifyReport>
}

export interface RunningOperator extends Operator {
  /**
   * Probes a held or retrying sink now, with one full round of halving. Returns how it stood: the
   * worst of the sink and its streams.
   */
  retrySink(name: string): Promise<DeliveryState>
  /**
   * Takes the gateway out of service until its next start: not ready, no new connections, devices
   * are sent away; delivery goes on. Resolves when that has begun. A second time changes nothing.
   */
  leave(): Promise<void>
  /** What is in effect, and what the configuration file says now. */
  config(): Promise<ConfigReport>
  /** Reads the configuration file and applies it, all of it or nothing. */
  reload(options: ReloadOptions): Promise<ReloadOutcome>
  /**
   * A device that is gone for good: it leaves the table, and no stream waits for it any more. Refuses
   * one that is connected or not known.
   */
  forgetDevice(id: string): Promise<void>
  /** Until the next reload that changes `log.level`, or a restart. */
  setLogLevel(level: WrittenLevel): Promise<void>
}

/** The levels that `log.level` can have. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const
export type WrittenLevel = (typeof LOG_LEVELS)[number]

/** How long a reload is on probation where nobody says otherwise, ms. */
export const PROBATION_MS = 30_000

export interface ReloadOptions {
  /** The plan alone: nothing is changed. */
  readonly dryRun: boolean
  /**
   * So long, ms, the former configuration comes back by itself if a listener fails or a sink that
   * was fine is held; 0: it never does.
   */
  readonly probationMs: number
}

/** One key that differs. */
export interface ReloadChange {
  /** `streams.telemetry.maxAge`, `mqtt.listeners[0].port`. */
  readonly key: string
  /** As `sluice check` shows it, secrets hidden; null: there is no such key. */
  readonly from: unknown
  readonly to: unknown
  /**
   * `live`: in force at once; `replaced`: its sink or listener is replaced by one of the new
   * configuration; `restart`: it has to wait for a start.
   */
  readonly effect: 'live' | 'replaced' | 'restart'
}

export interface ReloadPlan {
  readonly changes: readonly ReloadChange[]
  /** Keys because of which nothing is applied. */
  readonly refused: readonly { readonly key: string; readonly why: string }[]
}

export interface ReloadOutcome {
  readonly applied: boolean
  readonly plan: ReloadPlan
  /** Why the file cannot be used, a sentence each; then nothing is applied. */
  readonly problems: readonly string[]
  /** What works of the file, but hardly as it was meant, as `sluice check` says it. */
  readonly warnings: readonly string[]
}

export interface ConfigReport {
  /** Absolute; null: the gateway has no file, but defaults and its environment. */
  readonly path: string | null
  /** As `sluice check` shows it, secrets hidden. */
  readonly effective: unknown
  /** When it was put into effect, ms since the epoch. */
  readonly loadedAtMs: number
  readonly file: { readonly readable: boolean; readonly problems: readonly string[] }
  /** What a reload would do now. */
  readonly plan: ReloadPlan
  /** Since when it is on probation and until when, ms since the epoch; null: it is not. */
  readonly probation: { readonly sinceMs: number; readonly untilMs: number } | null
  /** The last reload failed, and the former configuration came back by itself; null: it did not. */
  readonly wentBack: { readonly atMs: number; readonly why: string } | null
}

/** Owns the data folder until {@link close}. */
export interface OfflineOperator extends Operator {
  /** Stores that were moved aside, by name. */
  leftAside(): Promise<readonly LeftAsideReport[]>
  /** Puts the pending records of one back; returns how many. */
  restoreLeftAside(name: string): Promise<number>
  close(): Promise<void>
}

export interface StreamOperator {
  /**
   * Gives an orphaned stream to a sink, until it is empty; noted durably. Refuses a stream that is
   * configured, and a sink that is not.
   */
  drainTo(stream: string, sink: string): Promise<void>
  /** Sets the first record that waits aside, as if its sink had refused it. Refuses any other. */
  park(stream: string, seq: number): Promise<void>
  /**
   * What is pending, in order, for an export; `after`: `next` of the page before. Nothing is
   * settled.
   */
  records(stream: string, after: string | null): Promise<RecordPage>
}

export interface RecordPage {
  /** NDJSON lines, without their LF. */
  readonly records: readonly string[]
  /** Records of this page that are damaged and cannot be read: they will be a gap. */
  readonly unreadable: number
  /** null: this was the last page. */
  readonly next: string | null
}

export interface DeadLetterOperator {
  /** Oldest first, those refused at ingest before those that the sink refused. */
  list(query: DeadLetterQuery): Promise<DeadLetterPage>
  /** Puts them back as new records of their stream. I5: in one commit with the removal. */
  requeue(selection: DeadLetterSelection): Promise<DeadLetterChange>
  /** Removes them for good; counted as removed{purged}. */
  purge(selection: DeadLetterSelection): Promise<DeadLetterChange>
}

interface DeadLetterQuery {
  readonly stream: string
  /** `next` of the page before, `<origin>:<number>`; null: from the first. */
  readonly after: string | null
  /** 1 to 1,000. */
  readonly limit: number
}

export interface DeadLetterPage {
  readonly deadLetters: readonly DeadLetter[]
  /** For `after`; null: this was the last page. */
  readonly next: string | null
}

export interface DeadLetter {
  readonly id: string
  readonly stream: string
  /** Who refused it: the stream's own rules, or the sink. */
  readonly origin: 'ingest' | 'refused'
  /** The sink's code, an HTTP status for instance; null if it gave none or for `ingest`. */
  readonly status: WrittenCode
  readonly reason: string
  /** When it became a dead letter, ms since the epoch; null if that was not kept. */
  readonly deadLetteredAtMs: number | null
  readonly bytes: number
  /** Only its first KiB was kept, with length and hash: it cannot be requeued. */
  readonly truncated: boolean
  /** Its line, or the first KiB of what was refused. */
  readonly record: string
}

export interface DeadLetterSelection {
  readonly stream: string
  readonly ids: readonly string[] | 'all'
}

export interface DeadLetterChange {
  readonly changed: number
  /** Those that could not be: unknown ids, truncated ones. */
  readonly skipped: readonly { readonly id: string; readonly why: string }[]
}

export interface VerifyReport {
  readonly blocks: number
  /** Blocks between head and next seq that are not there or damaged. */
  readonly missing: number
  /** What was damaged and where it was kept, one sentence each (I7). */
  readonly damage: readonly string[]
}

export interface LeftAsideReport {
  readonly name: string
  readonly streams: ReadonlyArray<{ readonly name: string; readonly records: number }>
  /** Files that the disk cannot read. */
  readonly unreadable: readonly string[]
}

export type OperatorErrorCode =
  | 'ADMIN_NOT_FOUND'
  | 'ADMIN_BAD_REQUEST'
  | 'SLUICE_BUSY'
  | 'SLUICE_DEVICE_CONNECTED'
  | 'SLUICE_INTAKE_CLOSED'
  | 'SLUICE_NOT_NEXT'
  | 'SLUICE_NOT_ORPHANED'

/** A refusal that the operator can put right; its message says how. */
export class OperatorError extends Error {
  override readonly name = 'OperatorError'
  readonly code: OperatorErrorCode

  constructor(code: OperatorErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * The admin server also listens on this socket in the data folder, for the commands of the
 * gateway's own user on its own machine (or in its container). A user who may open it may read the
 * store itself: no token is asked for.
 */
export const ADMIN_SOCKET = 'admin.sock'
