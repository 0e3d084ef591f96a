/** What the admin server refuses, and the HTTP status of each refusal. */
import { OperatorError, type OperatorErrorCode } from '../ports/operator.ts'

type AdminErrorCode =
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
  | 'ADMIN_LISTEN'

const STATUS: Readonly<Record<AdminErrorCode | OperatorErrorCode, number>> = {
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

  constructor(code: AdminErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

export interface AdminRefusal {
  readonly status: number
  readonly code: AdminErrorCode | OperatorErrorCode | 'ADMIN_INTERNAL'
  readonly message: string
}

/** The answer to an error. An unforeseen one is answered without its details, which the log has. */
export function refusalOf(error: Error): AdminRefusal {
  if (error instanceof AdminError || error instanceof OperatorError)
    return { status: STATUS[error.code], code: error.code, message: error.message }
  return { status: 500, code: 'ADMIN_INTERNAL', message: 'that failed; the log says why' }
}
