/**
 * What an operator can do through the admin server, as the narrow interfaces that the composition
 * root fills in. Every action is durable when its promise resolves. Refusals that the operator can
 * mend are {@link AdminError}s.
 */

export interface AdminActions {
  /**
   * Probes a held or retrying sink now, with one full round of halving. False: there is no sink of
   * that name.
   */
  retrySink(name: string): Promise<boolean>
  /**
   * New records are numbered under a fresh spool id, which is returned; older ones drain first
   * under theirs.
   */
  newSpoolId(): Promise<string>
  /** The bytes of a backup of the spool, as it is when they are asked for. */
  backup(): AsyncIterable<Uint8Array>
  readonly deadLetters: DeadLetterAdmin
  readonly streams: StreamAdmin
}

export interface StreamAdmin {
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
  /** Records of this page that are damaged and cannot be read. */
  readonly unreadable: number
  /** null: this was the last page. */
  readonly next: string | null
}

export interface DeadLetterAdmin {
  /**
   * Oldest first, those refused at ingest before those that the sink refused. The stream is known
   * to exist.
   */
  list(query: DeadLetterQuery): Promise<DeadLetterPage>
  /** Puts them back as new records of their stream. I5: in one commit with the removal. */
  requeue(selection: DeadLetterSelection): Promise<DeadLetterChange>
  /** Removes them for good; counted as removed{purged}. */
  purge(selection: DeadLetterSelection): Promise<DeadLetterChange>
}

export interface DeadLetterQuery {
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
  /** The sink's status, null if it gave none or for `ingest`. */
  readonly status: number | null
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

export type AdminErrorCode =
  | 'ADMIN_BAD_HOST'
  | 'ADMIN_CROSS_SITE'
  | 'ADMIN_TOKEN_REQUIRED'
  | 'ADMIN_TOKEN_UNREADABLE'
  | 'ADMIN_UNAUTHORIZED'
  | 'ADMIN_NOT_FOUND'
  | 'ADMIN_METHOD'
  | 'ADMIN_CONTENT_TYPE'
  | 'ADMIN_BODY_TOO_LARGE'
  | 'ADMIN_BAD_REQUEST'
  | 'ADMIN_INTERNAL'
  | 'ADMIN_LISTEN'
  | 'SLUICE_NOT_NEXT'
  | 'SLUICE_NOT_ORPHANED'

const STATUS: Readonly<Record<AdminErrorCode, number>> = {
  ADMIN_BAD_HOST: 421,
  ADMIN_CROSS_SITE: 403,
  ADMIN_TOKEN_REQUIRED: 403,
  ADMIN_TOKEN_UNREADABLE: 503,
  ADMIN_UNAUTHORIZED: 401,
  ADMIN_NOT_FOUND: 404,
  ADMIN_METHOD: 405,
  ADMIN_CONTENT_TYPE: 415,
  ADMIN_BODY_TOO_LARGE: 413,
  ADMIN_BAD_REQUEST: 400,
  ADMIN_INTERNAL: 500,
  ADMIN_LISTEN: 500,
  SLUICE_NOT_NEXT: 409,
  SLUICE_NOT_ORPHANED: 409,
}

/**
 * A request that cannot be fulfilled, with what to do about it. Its message is shown to the caller.
 */
export class AdminError extends Error {
  override readonly name = 'AdminError'
  readonly code: AdminErrorCode
  /** HTTP status of the answer. */
  readonly status: number

  constructor(code: AdminErrorCode, message: string) {
    super(message)
    this.code = code
    this.status = STATUS[code]
  }
}
