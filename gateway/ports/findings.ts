/**
 * What of a status needs somebody, a sentence each: one list for `sluice status`, the doctor and the
 * console, which runs it in the browser. Pure. Text that came from outside is made harmless. Not
 * here: what a view adds (colors, links), and what the doctor finds out by itself.
 */
import { bytesOf, counted, plainLine, reasonsText, span } from '../shared/text/words.ts'
import type {
  DeadLetterCounters,
  DeliveryStatus,
  SinkStatus,
  Status,
  StreamStatus,
} from './status.ts'

export interface Finding {
  readonly about:
    | 'configuration'
    | 'spool'
    | 'damage'
    | 'restore'
    | 'clock'
    | 'topics'
    | 'devices'
    | 'silence'
    | 'sink'
    | 'orphan'
    | 'room'
    | 'parked'
    | 'dead-letters'
    | 'dropped'
  /** It waits for a person; else it goes on by itself, or is only to be known. */
  readonly isUrgent: boolean
  /** One sentence without its full stop, which begins with a small letter. */
  readonly text: string
  /** What to type to see more or to mend it; null: nothing. */
  readonly command: string | null
}

/** How a point in time is written for the reader; each is given RFC 3339. */
export interface TimeWords {
  /** `at 14:02`. */
  readonly at: (at: string) => string
  /** `since 14:02 (38 min)`. */
  readonly since: (at: string) => string
  /** `next try in 22 s`. */
  readonly next: (at: string) => string
}

/** As the document has them. */
const PLAIN_TIMES: TimeWords = {
  at: (at) => `at ${at}`,
  since: (at) => `since ${at}`,
  next: (at) => `next try ${at}`,
}

/** The urgent ones first; empty: nothing needs anybody. */
export function findingsOf(status: Status, times: TimeWords = PLAIN_TIMES): readonly Finding[] {
  const found = [
    ...ofConfiguration(status, times),
    ...ofSpool(status, times),
    ...(status.clockSet ? [] : [known('clock', 'the clock of this box is not set')]),
    ...ofTopics(status),
    ...ofDevices(status),
    ...status.sinks.flatMap((sink) => ofSink(sink, times)),
    ...status.streams.flatMap((stream) => ofStream(stream, status, times)),
  ]
  return [...found.filter(({ isUrgent }) => isUrgent), ...found.filter((one) => !one.isUrgent)]
}

/** `held since 14:02 (38 min): 401, check the token file; next try in 22 s`. */
export function deliveryText(delivery: DeliveryStatus, times: TimeWords): string {
  const { state, since, why, nextTryAt } = delivery
  const head = `${state}${since === null ? '' : ` ${times.since(since)}`}`
  const reason = why === null ? '' : `: ${plainLine(why)}`
  return `${head}${reason}${nextTryAt === null ? '' : `; ${times.next(nextTryAt)}`}`
}

interface LetterRoom {
  readonly by: 'the sink' | 'the stream'
  /** `12.0 of 64.0 MiB`. */
  readonly used: string
  /** Bytes. */
  readonly part: number
  readonly whole: number
  /** What happens then; begins with a small letter, without a full stop. */
  readonly whenFull: string
}

/**
 * The room of a stream's dead letters, which those of its sink and its own have each. Empty: an
 * orphaned stream takes none, and a gateway of an older version does not say.
 */
export function letterRooms({
  bytesBy,
  maxBytes,
  whenFull,
}: DeadLetterCounters): readonly LetterRoom[] {
  if (bytesBy === undefined || whenFull === null) return []
  const room = (by: LetterRoom['by'], part: number, held: string): LetterRoom => ({
    by,
    used: bytesOf(part, maxBytes),
    part,
    whole: maxBytes,
    whenFull:
      whenFull === 'hold'
        ? `${held} until some are requeued, purged or too old`
        : 'the oldest are removed, counted',
  })
  return [
    room('the sink', bytesBy.refused, 'delivery of the stream is held'),
    room('the stream', bytesBy.ingest, 'what the stream refuses waits, unacknowledged,'),
  ]
}

/** From this share on it is said what happens when it is full. */
const NEARLY_FULL = 0.8

/** `; refused by the sink: 60.0 of 64.0 MiB (when full, …)`. */
function letterRoomText(deadLetters: DeadLetterCounters): string {
  return letterRooms(deadLetters)
    .filter(({ part }) => part > 0)
    .map(({ by, used, part, whole, whenFull }) => {
      const soon = part >= whole * NEARLY_FULL ? ` (when full, ${whenFull})` : ''
      return `; refused by ${by}: ${used}${soon}`
    })
    .join('')
}

type About = Finding['about']

function urgent(about: About, text: string, command: string | null = null): Finding {
  return { about, isUrgent: true, text, command }
}

function known(about: About, text: string, command: string | null = null): Finding {
  return { about, isUrgent: false, text, command }
}

/** A gateway of an older version says nothing of it. */
function ofConfiguration({ configuration }: Status, times: TimeWords): readonly Finding[] {
  const failed = configuration?.failedReload ?? null
  if (failed === null) return []
  const at = times.at(failed.at)
  const why = plainLine(failed.why)
  const text = {
    refused: `the configuration file was refused ${at}, and nothing changed: ${why}; correct it, then reload`,
    'went-back': `the reload failed within its probation and the former configuration is in force again, ${at}: ${why}; correct the file, then reload`,
    stuck: `the reload failed within its probation, and the former configuration could not come back, ${at}: ${why}; correct the file, then reload, or restart the gateway`,
  }[failed.outcome]
  return [urgent('configuration', text, 'sluice reload')]
}

function ofSpool({ spool }: Status, times: TimeWords): readonly Finding[] {
  const { damage, noticesRestore, since, state, why } = spool
  const found = damage.map((text) => urgent('damage', `damage: ${plainLine(text)}`))
  if (state === 'read-only' || state === 'storage-failed')
    found.unshift(
      urgent(
        'spool',
        `spool ${state}${since === null ? '' : ` ${times.since(since)}`}${why === null ? '' : `: ${plainLine(why)}`}; devices keep what they cannot publish`,
        'sluice doctor',
      ),
    )
  if (!noticesRestore)
    found.push(
      known(
        'restore',
        'a data folder that is restored or copied is not noticed on this file system: run `sluice spool new-id` after one',
      ),
    )
  return found
}

/** Acknowledged and stored nowhere, or refused (I9): most often a mistyped filter or topic. */
function ofTopics({ broker }: Status): readonly Finding[] {
  if (broker === null) return []
  const { accepted, refused } = broker.unrouted
  const lines = [
    ...(accepted > 0 ? [`${counted(accepted, 'message')}: acknowledged and not kept`] : []),
    ...(refused > 0 ? [`${counted(refused, 'message')}: their connections were closed`] : []),
  ]
  if (lines.length === 0) return []
  const last = broker.lastUnrouted
  const near =
    last?.nearest == null
      ? ''
      : `; closest filter: ${plainLine(last.nearest.filter)} of stream ${last.nearest.stream}`
  const example =
    last === null
      ? ''
      : `; the last: ${plainLine(last.topic)} of ${plainLine(last.clientId)}${near}`
  return [urgent('topics', `no stream takes the topics of ${lines.join('; ')}${example}`)]
}

/** A device can be silent on several streams. */
function ofDevices({ devices, uptimeSeconds }: Status): readonly Finding[] {
  // A gateway of an older version says nothing of it.
  const silence = devices.silence ?? []
  const silent = silence
    .filter((stream) => stream.silent > 0)
    .map(({ stream, silent, silentAfterSeconds }) =>
      known(
        'devices',
        `stream ${stream}: ${counted(silent, 'device')} silent for longer than its silentAfter, ${span(silentAfterSeconds)}`,
        'sluice devices --silent',
      ),
    )
  const deaf = uptimeSeconds === null ? [] : silence.filter(({ judged }) => !judged)
  if (deaf.length === 0) return silent
  return [
    ...silent,
    known(
      'silence',
      `silence is not judged while intake is closed: nobody can be heard on ${deaf.map(({ stream }) => stream).join(', ')}`,
    ),
  ]
}

function ofSink(sink: SinkStatus, times: TimeWords): readonly Finding[] {
  const { name, state, notConnected } = sink
  const found: Finding[] = []
  if (state !== 'ok')
    found.push({
      about: 'sink',
      isUrgent: state === 'held',
      text: `sink ${name} is ${deliveryText(sink, times)}`,
      command: state === 'held' ? `sluice sinks retry ${name}` : null,
    })
  if (notConnected !== undefined) {
    const why = notConnected.why === null ? '' : `: ${plainLine(notConnected.why)}`
    found.push(known('sink', `sink ${name} is not connected${why}`))
  }
  return found
}

function ofStream(
  stream: StreamStatus,
  { sinks, spool }: Pick<Status, 'sinks' | 'spool'>,
  times: TimeWords,
): readonly Finding[] {
  const { name, counters, delivery, backlogRecords, waitingMessages, parked, deadLetters } = stream
  const found: Finding[] = []
  // What its sink says of all its streams is said once.
  const isOfSink = sinks.some((sink) => sink.name === stream.sink && sink.state === delivery.state)
  if (delivery.state !== 'ok' && !isOfSink)
    found.push({
      about: 'sink',
      isUrgent: delivery.state === 'held',
      text: `stream ${name} is ${deliveryText(delivery, times)}`,
      command: null,
    })
  if (stream.orphaned && backlogRecords > 0)
    found.push(
      urgent(
        'orphan',
        `stream ${name} is orphaned: no configuration names it; waiting: ${counted(backlogRecords, 'record')}`,
        `sluice streams drain ${name} --sink NAME`,
      ),
    )
  if (waitingMessages > 0)
    found.push(
      urgent(
        'room',
        spool.state === 'ok'
          ? `stream ${name} is full; waiting for room: ${counted(waitingMessages, 'message')}`
          : `stream ${name}: ${counted(waitingMessages, 'message')} waiting until the spool, which is ${spool.state}, takes messages again`,
      ),
    )
  if (parked > 0)
    found.push(
      known(
        'parked',
        `stream ${name}: ${counted(parked, 'record')} kept aside (parked), refused by the sink or an operator`,
      ),
    )
  if (deadLetters.kept > 0)
    found.push(
      known(
        'dead-letters',
        `stream ${name}: ${counted(deadLetters.kept, 'dead letter')} to look at${letterRoomText(deadLetters)}`,
        `sluice dead-letters list --stream ${name}`,
      ),
    )
  const dropped = reasonsText(counters.dropped)
  if (dropped !== null) found.push(known('dropped', `stream ${name} dropped ${dropped}`))
  return found
}
