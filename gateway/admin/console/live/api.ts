/**
 * Requests to the admin server that the page came from. Paths are relative to the page, which may
 * lie below a prefix of a proxy. The browser sends the cookie of the login; errors are the server's
 * own words. Not here: the live events (feed.ts).
 */

/** An answer other than success, or none. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  /** As in the command line's table of error codes; `NO_ANSWER` if nothing came. */
  readonly code: string
  /** By which ways one can log in, if that is what is missing. */
  readonly login: readonly string[]

  constructor(code: string, message: string, login: readonly string[] = []) {
    super(message)
    this.code = code
    this.login = login
  }
}

const TIMEOUT_MS = 15_000
/** Batches in flight may end first, each after the time-out of its sink. */
export const RELOAD_MS = 120_000
/** The receiver is tried as a delivery is, and may be slow. */
export const TRIAL_MS = 600_000
/** All dead letters of a stream. */
export const CHANGE_MS = 600_000
/** All of a spool is read, a few blocks at a time: an hour for some hundred GiB. */
export const VERIFY_MS = 14_400_000

/** @throws ApiError; `signal`: when the answer is not wanted any more */
export async function get<Answer>(path: string, signal: AbortSignal): Promise<Answer> {
  return await ask<Answer>(path, {}, AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), signal]))
}

/** @throws ApiError */
export async function post<Answer>(
  path: string,
  body: object = {},
  timeoutMs = TIMEOUT_MS,
): Promise<Answer> {
  const init = {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  }
  return await ask<Answer>(path, init, AbortSignal.timeout(timeoutMs))
}

/** @throws ApiError */
export async function remove<Answer>(path: string): Promise<Answer> {
  return await ask<Answer>(path, { method: 'DELETE' }, AbortSignal.timeout(TIMEOUT_MS))
}

async function ask<Answer>(path: string, init: RequestInit, signal: AbortSignal): Promise<Answer> {
  const response = await fetch(path, { ...init, signal, cache: 'no-store' }).catch(noAnswer)
  if (response.ok) return (await response.json().catch(noAnswer)) as Answer
  throw refusal(response.status, await response.json().catch(() => null))
}

function noAnswer(error: unknown): never {
  if (error instanceof DOMException && error.name === 'TimeoutError')
    throw new ApiError(
      'NO_ANSWER',
      'the gateway has not answered in time; what was asked for may still be done: look again',
    )
  throw new ApiError('NO_ANSWER', 'the gateway does not answer: is it running, is the network up?')
}

function refusal(status: number, answer: unknown): ApiError {
  const error = (
    answer as { error?: Partial<Record<'code' | 'message' | 'login', unknown>> } | null
  )?.error
  const login = Array.isArray(error?.login) ? error.login.map(String) : []
  return new ApiError(
    typeof error?.code === 'string' ? error.code : `HTTP_${status}`,
    typeof error?.message === 'string' ? error.message : `the gateway answered ${status}`,
    login,
  )
}

/** In words, with the code that the documents explain. */
export function errorText(error: unknown): string {
  if (error instanceof ApiError) return `${error.message} [${error.code}]`
  return error instanceof Error ? error.message : String(error)
}
