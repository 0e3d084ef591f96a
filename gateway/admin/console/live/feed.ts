/**
 * The live connection: server-sent events of the gateway into the store. Notices when it is gone
 * (closed, or silent) and comes back by itself. Not here: who may (session.ts).
 */

import type { ConsoleSession, ConsoleSnapshot, WarningLine } from './answers.ts'
import { ApiError, errorText, get } from './api.ts'
import {
  hasEnded,
  loginWays,
  lostSinceMs,
  lostWhy,
  noteSnapshot,
  noteWarning,
  nowMs,
  session,
} from './store.ts'

/** A snapshot comes each second; after so many without one the connection is dead. */
const SILENCE_MS = 5_000
const RETRY_MS = 2_000

let source: EventSource | null = null
let silence: ReturnType<typeof setTimeout> | undefined
let retry: ReturnType<typeof setTimeout> | undefined

/** Asks who is looking, and follows the gateway from then on. Again: begins anew. */
export async function follow(): Promise<void> {
  stopFollowing()
  try {
    session.value = await get<ConsoleSession>('api/session', new AbortController().signal)
  } catch (error) {
    refused(error)
    return
  }
  loginWays.value = null
  hasEnded.value = false
  lostWhy.value = null
  listen()
}

/** Ends the connection; nothing is tried again. */
export function stopFollowing(): void {
  clearTimeout(silence)
  clearTimeout(retry)
  source?.close()
  source = null
}

function listen(): void {
  source = new EventSource('api/events')
  source.addEventListener('snapshot', ({ data }: MessageEvent<string>) => {
    lostSinceMs.value = null
    watch()
    noteSnapshot(JSON.parse(data) as ConsoleSnapshot)
  })
  source.addEventListener('log', ({ data }: MessageEvent<string>) => {
    noteWarning(JSON.parse(data) as WarningLine)
  })
  source.addEventListener('error', lost)
  watch()
}

function watch(): void {
  clearTimeout(silence)
  silence = setTimeout(lost, SILENCE_MS)
}

function lost(): void {
  stopFollowing()
  lostSinceMs.value ??= Date.now()
  retry = setTimeout(() => void follow(), RETRY_MS)
}

/** No session: either nobody is logged in, or there is nobody to ask. */
function refused(error: unknown): void {
  if (error instanceof ApiError && error.login.length > 0) {
    hasEnded.value ||= session.value !== null
    session.value = null
    loginWays.value = error.login
    lostSinceMs.value = null
    return
  }
  lostWhy.value = error instanceof ApiError && error.code === 'NO_ANSWER' ? null : errorText(error)
  lost()
}

/** While nothing comes, times go on by this machine's clock. */
export function keepTime(): void {
  setInterval(() => {
    if (lostSinceMs.value !== null) nowMs.value = Date.now()
  }, 1_000)
}

/** What a browser notices by itself is tried at once. */
export function watchNetwork(): void {
  const now = (): void => {
    if (lostSinceMs.value !== null && document.visibilityState === 'visible') void follow()
  }
  addEventListener('online', now)
  document.addEventListener('visibilitychange', now)
}
