/** An error as the command line prints it. Pure. */
import { errorCode, errorMessage } from '../../shared/errors.ts'

/** The table in gateway/cli/README.md explains the code. */
export function withCode(error: unknown): string {
  const code = errorCode(error) ?? (error instanceof Error ? errorCode(error.cause) : null)
  const message = errorMessage(error)
  return code === null || message.includes(code) ? message : `${message} [${code}]`
}
