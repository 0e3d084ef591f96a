/** What can be said of a thrown value, whatever it is. */

/** `code` of a system error, or null. */
export function errorCode(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : null
}

export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
