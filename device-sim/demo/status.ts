/**
 * The gateway's own account, as far as the demo needs it: GET /api/status, and its sums over all
 * streams.
 */

/** Counters of I5, summed over streams, reasons summed too. */
export interface Account {
  readonly received: number
  readonly requeued: number
  readonly delivered: number
  readonly deadLettered: number
  readonly dropped: number
  readonly pending: number
  /** Streams whose own counters do not balance. */
  readonly unbalanced: readonly string[]
}

interface StreamStatus {
  readonly name: string
  readonly counters: {
    readonly received: number
    readonly requeued: number
    readonly delivered: number
    readonly deadLettered: number
    readonly dropped: Readonly<Record<string, number>>
    readonly pending: number
  }
}

interface StatusDocument {
  readonly streams: readonly StreamStatus[]
}

const TIMEOUT_MS = 5000

/** Asks a running gateway. @throws when it does not answer, or answers something else */
export async function fetchAccount(adminUrl: string): Promise<Account> {
  const response = await fetch(`${adminUrl}/api/status`, {
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  if (!response.ok) throw new Error(`${adminUrl}/api/status answers ${response.status}`)
  return accountOf((await response.json()) as StatusDocument)
}

/** True when the gateway says that it is ready. */
export async function isReady(adminUrl: string): Promise<boolean> {
  try {
    const response = await fetch(`${adminUrl}/readyz`, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    await response.arrayBuffer()
    return response.ok
  } catch {
    return false
  }
}

/** Sums the streams; I5 is looked at stream by stream. */
export function accountOf(status: StatusDocument): Account {
  const sums = { received: 0, requeued: 0, delivered: 0, deadLettered: 0, dropped: 0, pending: 0 }
  const unbalanced: string[] = []
  for (const { name, counters } of status.streams) {
    const dropped = Object.values(counters.dropped).reduce((sum, value) => sum + value, 0)
    const { received, requeued, delivered, deadLettered, pending } = counters
    if (received + requeued !== delivered + deadLettered + dropped + pending) unbalanced.push(name)
    sums.received += received
    sums.requeued += requeued
    sums.delivered += delivered
    sums.deadLettered += deadLettered
    sums.dropped += dropped
    sums.pending += pending
  }
  return { ...sums, unbalanced }
}
