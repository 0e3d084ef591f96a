/**
 * What the admin server answers and no port has, as the console reads it: routes/ makes it. Units are in the names.
 */
import type { Status } from '../../../ports/status.ts'

/** Who looks, and what he may. */
export interface ConsoleSession {
  /** null: nobody logged in by name. */
  readonly user: string | null
  /** A viewer reads; an operator does everything. */
  readonly role: 'viewer' | 'operator'
  readonly via: 'loopback' | 'token' | 'login' | 'socket'
}

/** One a second. */
export interface ConsoleSnapshot {
  readonly atMs: number
  readonly status: Status
  /** null: the gateway keeps no device table. */
  readonly devices: DeviceCounts | null
}

interface DeviceCounts {
  readonly count: number
  readonly silent: number
}

/** A line of the log, warnings and above. */
export interface WarningLine {
  readonly level: string
  readonly msg: string
  readonly time?: string | number
  readonly event?: string
}

/** What a reload would do, or did. */
export interface PlanOfReload {
  readonly changes: ReadonlyArray<{
    readonly key: string
    readonly from: unknown
    readonly to: unknown
    readonly effect: 'live' | 'replaced' | 'restart'
  }>
  /** Keys because of which nothing is applied. */
  readonly refused: ReadonlyArray<{ readonly key: string; readonly why: string }>
}

export interface ConfigView {
  readonly path: string | null
  /** Secrets are hidden in it. */
  readonly effective: unknown
  readonly loadedAtMs: number
  readonly file: { readonly readable: boolean; readonly problems: readonly string[] }
  readonly plan: PlanOfReload
  /** While the former configuration comes back by itself if something fails; null: it does not. */
  readonly probation: { readonly sinceMs: number; readonly untilMs: number } | null
  /** The last time that it did. */
  readonly wentBack: { readonly atMs: number; readonly why: string } | null
}

export interface ReloadAnswer {
  readonly applied: boolean
  readonly plan: PlanOfReload
  readonly problems: readonly string[]
}
