/** What the admin server refuses, and the HTTP status of each refusal. */
import { OperatorError, type OperatorErrorCode } from '../ports/operator.ts'

type AdminErrorCode =
  | 'ADMIN_BAD_HOST'
  | 'ADMIN_CROSS_SITE'
  | 'ADMIN_TOKEN_REQUIRED'
  | 'ADMIN_TOKEN_UNREADABLE'
  | 'ADMIN_UNAUTHORIZED'
  | 'ADMIN_LOGIN_REQUIRED'
  | 'ADMIN_TRY_LATER'
  | 'ADMIN_USERS_UNREADABLE'
  | 'ADMIN_ROLE'
  | 'ADMIN_NOT_FOUND'
  | 'ADMIN_METHOD'
  | 'ADMIN_CONTENT_TYPE'
  | 'ADMIN_BODY_TOO_LARGE'
  | 'ADMIN_BAD_REQUEST'
  | 'ADMIN_TOO_MANY_STREAMS'
  | 'ADMIN_LISTEN'

const STATUS: Readonly<Record<AdminErrorCode | OperatorErrorCode, number>> = {
  ADMIN_BAD_HOST: 421,
  ADMIN_CROSS_SITE: 403,
  ADMIN_TOKEN_REQUIRED: 403,
  ADMIN_TOKEN_UNREADABLE: 503,
  ADMIN_UNAUTHORIZED: 401,
  ADMIN_LOGIN_REQUIRED: 401,
  ADMIN_TRY_LATER: 429,
  ADMIN_USERS_UNREADABLE: 503,
  ADMIN_ROLE: 403,
  ADMIN_NOT_FOUND: 404,
  ADMIN_METHOD: 405,
  ADMIN_CONTENT_TYPE: 415,
  ADMIN_BODY_TOO_LARGE: 413,
  ADMIN_BAD_REQUEST: 400,
  ADMIN_TOO_MANY_STREAMS: 503,
  ADMIN_LISTEN: 500,
  SLUICE_BUSY: 429,
  SLUICE_DEVICE_CONNECTED: 409,
  SLUICE_INTAKE_CLOSED: 503,
  SLUICE_NOT_NEXT: 409,
  SLUICE_NOT_ORPHANED: 409,
}

/**
 * A request that cannot be fulfilled, with what to do about it. Its message is shown to the caller.
 */
export class AdminError extends Error {
  override readonly name = 'AdminError'
  readonly code: AdminErrorCode
  /** What the answer says beside code and message. */
  readonly details: Readonly<Record<string, unknown>>

  constructor(
    code: AdminErrorCode,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
  ) {
    super(message)
    this.code = code
    this.details = details
  }
}

export interface AdminRefusal {
  readonly status: number
  readonly code: AdminErrorCode | OperatorErrorCode | 'ADMIN_INTERNAL'
  readonly message: string
  readonly details?: Readonly<Record<string, unknown>>
}

/** The answer to an error. An unforeseen one is answered without its details, which the log has. */
export function refusalOf(error: Error): AdminRefusal {
  if (error instanceof AdminError || error instanceof OperatorError) {
    const details = error instanceof AdminError ? error.details : {}
    return { status: STATUS[error.code], code: error.code, message: error.message, details }
  }
  return { status: 500, code: 'ADMIN_INTERNAL', message: 'that failed; the log says why' }
}
