/**
 * What went wrong between here and the database, and what it means: tried again, held for somebody
 * to see to, or a record's fault. I8: what is not known is held, never taken for a record's fault.
 */
import type { Scope } from '../../../ports/sink.ts'
import { errorCode, errorMessage } from '../../../shared/errors.ts'
import { networkHint } from '../../http/client/network-error.ts'

/**
 * `retry` passes by itself; `hold` does not; `record`: the database does not take what a record
 * holds; `too-large`: less of it may pass.
 */
export interface Fault {
  readonly kind: 'retry' | 'hold' | 'record' | 'too-large'
  readonly scope: Scope
  /** SQLSTATE, or the system's name; null: none. */
  readonly code: string | null
  readonly detail: string
  /** The database said so itself. */
  readonly answered: boolean
}

/** Something that an operator has to see to, found before anything was sent. */
export class UnfitError extends Error {
  override readonly name = 'UnfitError'
  /** The SQLSTATE that the database would have answered; null: none. */
  readonly code: string | null

  constructor(message: string, code: string | null = null) {
    super(message)
    this.code = code
  }
}

/** The table was changed since the connection was opened. */
export class ChangedTableError extends Error {
  override readonly name = 'ChangedTableError'
}

/** The database takes no writes now: a standby, or one that is about to be one. */
export class ReadOnlyError extends Error {
  override readonly name = 'ReadOnlyError'
}

/** Nobody waits for it any more. */
export class GivenUpError extends Error {
  override readonly name = 'GivenUpError'
  readonly timedOut: boolean

  constructor(message: string, timedOut: boolean) {
    super(message)
    this.timedOut = timedOut
  }
}

/** What to do, of what does not pass by itself. By SQLSTATE, or its class. */
const HINTS: ReadonlyMap<string, string> = new Map([
  ['28P01', 'check user and password'],
  ['28', 'look at pg_hba.conf of the database, and at user, password and sslMode'],
  ['3D', 'create the database, or correct url'],
  ['3F', 'create the schema, or correct the name of the table'],
  ['42P01', 'create the table: `sluice sinks ddl` prints it'],
  ['42703', 'add the column, or correct columns'],
  ['42501', 'grant the user what `sluice sinks ddl` prints'],
  ['0A', 'the table cannot be written in this way'],
])

/** What of a class means something else than the class. */
const CODES: ReadonlyMap<string, Fault['kind']> = new Map([
  // A standby: the connection is given up, and the next one finds who takes writes.
  ['25006', 'retry'],
  ['25P03', 'retry'],
  ['53200', 'too-large'],
  ['55006', 'retry'],
  ['55P03', 'retry'],
])

/** Not here: unknown to this list. Held. */
const CLASSES: ReadonlyMap<string, Fault['kind']> = new Map([
  ['08', 'retry'],
  ['22', 'record'],
  ['23', 'record'],
  ['40', 'retry'],
  ['44', 'record'],
  ['53', 'retry'],
  ['54', 'record'],
  ['57', 'retry'],
  ['58', 'retry'],
])

/** Of the connection, the login, or the database as a whole: every stream fares the same. */
const OF_THE_SINK = ['08', '28', '3D', '3F', '42', '25', '53', '57', '58', '0A']

export function faultOf(error: unknown): Fault {
  if (error instanceof UnfitError) return unfit(error.code, error.message)
  if (error instanceof ReadOnlyError)
    return { kind: 'retry', scope: 'sink', code: '25006', detail: error.message, answered: true }
  if (error instanceof ChangedTableError)
    return { kind: 'retry', scope: 'stream', code: null, detail: error.message, answered: true }
  const state = sqlState(error)
  if (state !== null)
    return isWithoutPartition(state, error)
      ? { ...judged(state, `${errorMessage(error)}; attach one that takes it`), kind: 'hold' }
      : judged(state, errorMessage(error))
  const detail = errorMessage(error)
  // The client's own words: the server answered "no" to the request for TLS.
  if (detail.includes('does not support SSL'))
    return unfit(null, `${detail}; set sslMode to disable, or enable TLS in the database`)
  const code = errorCode(error)
  const hint = networkHint(code)
  const said = hint === null ? detail : `${detail}: ${hint}`
  return { kind: 'retry', scope: 'sink', code, detail: said, answered: false }
}

function judged(code: string, message: string): Fault {
  const group = code.slice(0, 2)
  const kind = CODES.get(code) ?? CLASSES.get(group) ?? 'hold'
  const scope = OF_THE_SINK.includes(group) ? 'sink' : 'stream'
  const hint = kind === 'hold' ? (HINTS.get(code) ?? HINTS.get(group)) : undefined
  const detail = hint === undefined ? `${code}: ${message}` : `${code}: ${message}; ${hint}`
  return { kind, scope, code, detail, answered: true }
}

/**
 * A `check` that is not met has its name. Partitions are an operator's to make: where the one of the
 * new month is late, no record has a place, and none is to blame (I8).
 */
function isWithoutPartition(state: string, error: unknown): boolean {
  return state === '23514' && (error as { readonly constraint?: string }).constraint === undefined
}

function unfit(code: string | null, detail: string): Fault {
  return { kind: 'hold', scope: 'sink', code, detail, answered: true }
}

/** null: it is no answer of a database. */
function sqlState(error: unknown): string | null {
  if (!(error instanceof Error) || !('severity' in error)) return null
  const code = errorCode(error)
  return code !== null && /^[0-9A-Z]{5}$/.test(code) ? code : null
}
