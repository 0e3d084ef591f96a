/** What can be said of a thrown value, whatever it is. */
import { constants } from 'node:os'

/** `code` of a system error, or null. */
export function errorCode(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : null
}

export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Numbers that libuv has no names for (ENOLCK, ESTALE): `Unknown system error -116`. */
const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
)

/** The system's name for what went wrong, `ENOSPC`; null: it is no error of the system. */
export function systemCode(error: unknown): string | null {
  const code = errorCode(error)
  if (code !== null && /^E[A-Z0-9]+$/.test(code)) return code
  if (!(error instanceof Error) || !('errno' in error)) return null
  if (typeof error.errno !== 'number') return null
  return NAMES.get(Math.abs(error.errno)) ?? `errno ${Math.abs(error.errno)}`
}
