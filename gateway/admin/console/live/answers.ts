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
