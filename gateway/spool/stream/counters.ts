/**
 * The conservation counters of one stream (I5): received + requeued = delivered + dead-lettered +
 * dropped + pending, and dead-lettered = kept + requeued from here + removed. They ride in the
 * state record of each commit, so they can never disagree with the data that they count.
 */

export type DropReason =
  | 'expired'
  | 'expired-by-device'
  | 'dropped-oldest'
  | 'drop-newest'
  | 'full-qos0'
  | 'corrupt'
  | 'purged'

/** corrupt: not readable any more, or gone with damaged files. */
export type RemovalReason = 'expired' | 'quota' | 'purged' | 'corrupt'

export interface StreamCounters {
  readonly received: number
  readonly requeued: number
  readonly delivered: number
  readonly deadLettered: number
  readonly dropped: Readonly<Record<DropReason, number>>
  readonly deadLettersRequeued: number
  readonly deadLettersRemoved: Readonly<Record<RemovalReason, number>>
}

export function zeroCounters(): StreamCounters {
  return {
    received: 0,
    requeued: 0,
    delivered: 0,
    deadLettered: 0,
    dropped: {
      expired: 0,
      'expired-by-device': 0,
      'dropped-oldest': 0,
      'drop-newest': 0,
      'full-qos0': 0,
      corrupt: 0,
      purged: 0,
    },
    deadLettersRequeued: 0,
    deadLettersRemoved: { expired: 0, quota: 0, purged: 0, corrupt: 0 },
  }
}

export function copyCounters(counters: StreamCounters): StreamCounters {
  return {
    ...counters,
    dropped: { ...counters.dropped },
    deadLettersRemoved: { ...counters.deadLettersRemoved },
  }
}

function sum(values: Readonly<Record<string, number>>): number {
  let total = 0
  for (const key in values) total += values[key] ?? 0
  return total
}

export function droppedTotal(counters: StreamCounters): number {
  return sum(counters.dropped)
}

/** I5, first equation: what must be pending. */
export function pendingByCounters(counters: StreamCounters): number {
  return (
    counters.received +
    counters.requeued -
    counters.delivered -
    counters.deadLettered -
    droppedTotal(counters)
  )
}

/** I5, second equation: dead letters that must be kept. */
export function keptByCounters(counters: StreamCounters): number {
  return counters.deadLettered - counters.deadLettersRequeued - sum(counters.deadLettersRemoved)
}
