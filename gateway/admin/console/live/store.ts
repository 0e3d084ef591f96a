/**
 * What the page knows: signals that feed.ts and session.ts write and the views read. Nothing else
 * is shared between views.
 */
import { computed, signal } from '@preact/signals'
import type { ConsoleSession, ConsoleSnapshot, WarningLine } from './answers.ts'
import { ConsoleHistory, type Rates } from './history.ts'

/** null: not known yet, or nobody is logged in. */
export const session = signal<ConsoleSession | null>(null)

/** By which ways one has to log in; null: no login is asked for. */
export const loginWays = signal<readonly string[] | null>(null)

/** Somebody was logged in here, and is not any more: a session ends unused, or with its user. */
export const hasEnded = signal(false)

/** null: none came yet. */
export const snapshot = signal<ConsoleSnapshot | null>(null)

/** Since when the gateway does not answer, by this machine's clock; null: it does. */
export const lostSinceMs = signal<number | null>(null)

/** What a view asks for once is asked again when this is true again, and not while it is false. */
export const isConnected = computed(() => lostSinceMs.value === null)

/** Why it cannot be asked, in words; null: it can, or it is simply gone. */
export const lostWhy = signal<string | null>(null)

/** Newest first. */
export const warnings = signal<readonly WarningLine[]>([])

export const rates = signal<Rates | null>(null)

export const history = new ConsoleHistory()

/** The clock by which "3 min ago" is said: the gateway's, while it answers. */
export const nowMs = signal(Date.now())

const MAX_WARNINGS = 50

export function noteSnapshot(next: ConsoleSnapshot): void {
  history.add(next)
  rates.value = history.rates()
  nowMs.value = next.atMs
  snapshot.value = next
}

export function noteWarning(line: WarningLine): void {
  warnings.value = [line, ...warnings.value].slice(0, MAX_WARNINGS)
}

/** May the person act, or only look? */
export function mayAct(): boolean {
  return session.value?.role === 'operator'
}
