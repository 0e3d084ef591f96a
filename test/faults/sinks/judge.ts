/**
 * Does a receiver have what its type promises? Pure: what devices know to be acknowledged against
 * what the receiver has. Exactly once: none missing, none twice, in order. At least once: none
 * missing, first arrivals in order, and of each fault at most a window that came again.
 */
import type { SinkPromise } from '../../../gateway/ports/sink.ts'
import type { StoredReading } from './receiver.ts'

export interface KnownDevice {
  readonly clientId: string
  /** Numbers of its acknowledged readings. */
  readonly acked: readonly number[]
}

export interface Expectation {
  readonly delivery: SinkPromise['delivery']
  readonly window: number
  /** Faults and kills that there were up to now, each of which may bring a window again. */
  readonly disturbances: number
}

/** Records of one queue and device that came again without one between that was new. */
export interface Repeat {
  readonly queue: string
  readonly device: string
  readonly seqs: readonly number[]
}

/** What was not as promised; empty: all is well. */
export function judge(
  { delivery, window, disturbances }: Expectation,
  stored: readonly StoredReading[],
  devices: readonly KnownDevice[],
): string[] {
  const faults: string[] = []
  const known = new Map<string, StoredReading>()
  for (const reading of stored) {
    const before = known.get(reading.id)
    if (before === undefined) known.set(reading.id, reading)
    else if (before.device !== reading.device || before.n !== reading.n)
      faults.push(`I4: ${reading.id} is ${nameOf(before)} and ${nameOf(reading)}`)
  }
  for (const { clientId, acked } of devices) {
    const there = [...known.values()].filter(({ device }) => device === clientId)
    const numbers = new Set(there.map(({ n }) => n))
    const missing = acked.filter((n) => !numbers.has(n))
    if (missing.length > 0)
      faults.push(`I1: acknowledged to ${clientId}, and not at the receiver: ${missing.join()}`)
    const wrong = there.findIndex(({ n }, index) => n !== index + 1)
    if (wrong >= 0)
      faults.push(`I2: of ${clientId} number ${there[wrong]?.n} stands at place ${wrong + 1}`)
  }
  const repeats = repeatsIn(stored)
  if (delivery !== 'at least once' && repeats.length > 0)
    faults.push(`I4: there more than once: ${repeats.map(wordsOf).join('; ')}`)
  const long = repeats.filter(({ seqs }) => seqs.length > window)
  if (long.length > 0)
    faults.push(`more than a window of ${window} came again: ${long.map(wordsOf).join('; ')}`)
  const perQueue = new Map<string, number>()
  for (const { queue } of repeats) perQueue.set(queue, (perQueue.get(queue) ?? 0) + 1)
  for (const [queue, times] of perQueue) {
    if (times > disturbances)
      faults.push(`${queue}: ${times} repeats, and ${disturbances} faults that could cause one`)
  }
  return faults
}

export function repeatsIn(stored: readonly StoredReading[]): Repeat[] {
  const repeats: Repeat[] = []
  const highest = new Map<string, number>()
  const open = new Map<string, { queue: string; device: string; seqs: number[] }>()
  for (const { id, device } of stored) {
    const at = id.lastIndexOf(':')
    const queue = id.slice(0, at)
    const seq = Number(id.slice(at + 1))
    const key = `${queue} ${device}`
    if (seq > (highest.get(key) ?? 0)) {
      highest.set(key, seq)
      open.delete(key)
      continue
    }
    const run = open.get(key)
    // Once more from an earlier one: that is another repeat.
    if (run !== undefined && seq > (run.seqs.at(-1) ?? 0)) run.seqs.push(seq)
    else {
      const begun = { queue, device, seqs: [seq] }
      open.set(key, begun)
      repeats.push(begun)
    }
  }
  return repeats
}

function nameOf({ device, n }: StoredReading): string {
  return `${n} of ${device}`
}

function wordsOf({ queue, device, seqs }: Repeat): string {
  return `${queue} of ${device} ${seqs[0]} to ${seqs.at(-1)}`
}
