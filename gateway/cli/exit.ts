/** How commands end. */
import { errorMessage } from '../shared/errors.ts'

/**
 * 0: done. 1: it failed, or was cut short. 2: wrong usage or configuration; running it again
 * without a change gives the same. Documented in gateway/cli/README.md and in `sluice --help`.
 */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** What a command calls when it is done. */
export type Done = (code: ExitCode) => void

/** Ends the command with a message for a person that says what to do. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly exitCode: ExitCode

  constructor(exitCode: ExitCode, message: string, cause?: unknown) {
    super(message, { cause })
    this.exitCode = exitCode
  }
}

/** A file that a command writes: nothing half written is left of it. */
export function unwritten(path: string, error: unknown): CliError {
  return new CliError(
    EXIT.failed,
    `${path} cannot be written whole, and was removed: ${errorMessage(error)}`,
    error,
  )
}
