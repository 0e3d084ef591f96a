/**
 * What must be true of a gateway behind any fault, as pure functions over what the driver saw: what
 * devices published and had acknowledged, what the sink stored, and the gateway's own status. Each
 * returns sentences; none: all is well.
 */
import type { Status } from '../../../gateway/ports/status.ts'

/**
 * One device since the last check, at a moment when nothing is under way any more. Readings are
 * numbered from 1.
 */
export interface DeviceStory {
  readonly device: string
  readonly qos: 1 | 2
  /** Its stream may drop readings, counted and reported (a retention limit of the operator). */
  readonly lossy: boolean
  /** The first reading since the last check. */
  readonly first: number
  readonly published: number
  /** Those with a PUBACK or PUBREC. */
  readonly acked: readonly number[]
  /** Sent once, and answered with a reason code that says that they are not taken. */
  readonly refused: readonly number[]
  /** Given up without an ack, as their session had expired: stored, or not. */
  readonly abandoned: readonly number[]
  /** The reading that each reconnection sent first, again. */
  readonly resumedFrom: readonly number[]
  /** In the order in which the sink stored them. */
  readonly stored: readonly number[]
}

/** How many are named in a sentence. */
const NAMED = 8

/** I1: every acknowledged reading is at the sink. */
export function lostReadings(story: DeviceStory): string[] {
  if (story.lossy) return []
  const stored = new Set(story.stored)
  const lost = story.acked.filter((n) => !stored.has(n))
  return told(story, 'I1: acknowledged, and not at the sink', lost)
}

/** I3: at QoS 2 a reading is stored once. */
export function doubledReadings(story: DeviceStory): string[] {
  if (story.qos !== 2) return []
  const seen = new Set<number>()
  const doubled = story.stored.filter((n) => seen.size === seen.add(n).size)
  return told(story, 'I3: stored more than once', doubled)
}

/** What was refused is not stored: the device was told so, and may have acted on it. */
export function refusedReadings(story: DeviceStory): string[] {
  const stored = new Set(story.stored)
  const both = story.refused.filter((n) => stored.has(n))
  return told(story, 'I9: refused with a reason code, and stored', both)
}

/**
 * Nothing is stored that was not published since the last check; earlier readings were settled, and
 * are not sent again.
 */
export function strangeReadings(story: DeviceStory): string[] {
  const strange = story.stored.filter((n) => n < story.first || n > story.published)
  return told(story, `I4: stored, but published were ${story.first} to ${story.published}`, strange)
}

/**
 * I2: readings are stored in the order of their arrival. Each connection sends consecutive numbers,
 * of which the gateway has taken a beginning: so the order goes back only to where a reconnection
 * began again, and skips none that was not given up.
 */
export function orderFaults(story: DeviceStory): string[] {
  const { qos, lossy, stored } = story
  const resumes = [...story.resumedFrom]
  const abandoned = new Set(story.abandoned)
  const wrong: number[] = []
  let previous = story.first - 1
  let highest = previous
  for (const n of stored) {
    let next = previous + 1
    while (next < n && abandoned.has(next)) next++
    const goesOn = lossy ? n > previous : n === next
    if (!goesOn) {
      // A connection of which nothing was taken leaves no trace: its resumption is passed over.
      const at = resumes.findIndex((from) => (lossy ? from <= n : from === n))
      if (qos === 2 || at < 0 || n > highest + 1) wrong.push(n)
      else resumes.splice(0, at + 1)
    }
    previous = n
    highest = Math.max(highest, n)
  }
  return told(story, 'I2: stored out of their order', wrong)
}

export function deviceFaults(story: DeviceStory): string[] {
  return [lostReadings, doubledReadings, refusedReadings, strangeReadings, orderFaults].flatMap(
    (check) => check(story),
  )
}

/** What the sink knows of one stream, under all its spool ids. */
export interface StreamTotals {
  /** Distinct records. */
  readonly stored: number
  /** Seqs in reported gaps, by reason. */
  readonly gaps: Readonly<Record<string, number>>
}

/** Drops that took a seq: their gaps say how many. */
const DROPS_WITH_SEQ = ['expired', 'expired-by-device', 'dropped-oldest', 'corrupt', 'purged']

/**
 * I5 to the record, at a moment when nothing is pending: what the gateway counts is what the sink
 * has and was told. Status derives `pending` from the other counters, so that only the outside can
 * tell a wrong one.
 */
export function balanceFaults(
  streams: Status['streams'],
  totals: ReadonlyMap<string, StreamTotals>,
): string[] {
  return streams.flatMap(({ name, counters, deadLetters }) => {
    const { received, requeued, delivered, deadLettered, pending } = counters
    const { stored, gaps } = totals.get(name) ?? { stored: 0, gaps: {} }
    const dropped: Readonly<Record<string, number>> = counters.dropped
    const lines: string[] = []
    const expectSame = (what: string, counted: number, seen: number): void => {
      if (counted !== seen)
        lines.push(`${name}: I5: ${what}: the gateway counts ${counted}, it were ${seen}`)
    }
    expectSame('pending', pending, 0)
    expectSame('delivered', delivered, stored)
    for (const reason of DROPS_WITH_SEQ) expectSame(reason, dropped[reason] ?? 0, gaps[reason] ?? 0)
    expectSame(
      'received and requeued',
      received + requeued,
      delivered + deadLettered + sum(dropped) + pending,
    )
    const left = deadLetters.kept + deadLetters.requeued + sum(deadLetters.removed)
    expectSame('dead letters', deadLettered, left)
    return lines
  })
}

/** I5: every counter but `pending` only rises, across restarts, too. */
export function monotonyFaults(before: Status['streams'], after: Status['streams']): string[] {
  const flat = ({ counters, deadLetters }: Status['streams'][number]): Map<string, number> =>
    new Map<string, number>([
      ...(['received', 'requeued', 'delivered', 'deadLettered'] as const).map(
        (key) => [key, counters[key]] as const,
      ),
      ...Object.entries(counters.dropped).map(([key, count]) => [`dropped ${key}`, count] as const),
      ['dead letters requeued', deadLetters.requeued],
      ...Object.entries(deadLetters.removed).map(
        ([key, count]) => [`removed ${key}`, count] as const,
      ),
    ])
  return after.flatMap((stream) => {
    const earlier = before.find(({ name }) => name === stream.name)
    if (earlier === undefined) return []
    const now = flat(stream)
    return [...flat(earlier)].flatMap(([key, count]) => {
      const later = now.get(key) ?? 0
      return later < count ? [`${stream.name}: I5: ${key} fell from ${count} to ${later}`] : []
    })
  })
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((all, one) => all + one, 0)
}

function told({ device, qos }: DeviceStory, what: string, readings: readonly number[]): string[] {
  if (readings.length === 0) return []
  const more = readings.length > NAMED ? `, … (${readings.length})` : ''
  return [`${device} (QoS ${qos}): ${what}: ${readings.slice(0, NAMED).join(', ')}${more}`]
}
