/**
 * Everything that needs attention, one sentence each, as `sluice status` says it, and the view
 * where something can be done about it. Pure.
 */
import type { SinkStatus, Status, StreamStatus } from '../../../ports/status.ts'
import { counted, plainLine } from '../../../shared/text/words.ts'
import { reasonsText } from './balance.ts'
import { DELIVERY_TONE, deliveryText, type Tone } from './states.ts'

interface Attention {
  readonly tone: Tone
  readonly text: string
  /** Path of the view that helps; null: none does. */
  readonly view: string | null
}

/** The worst first; empty: nothing does. */
export function attentionOf(status: Status, nowMs: number): readonly Attention[] {
  const { spool, sinks, streams, clockSet } = status
  const found: Attention[] = [
    ...(clockSet
      ? []
      : [{ tone: 'wait' as const, text: 'The clock of this box is not set', view: null }]),
    ...ofTopics(status),
    ...spool.damage.map((text) => act(`Damage: ${plainLine(text)}`, 'spool')),
    ...(spool.noticesRestore
      ? []
      : [
          {
            tone: 'wait' as const,
            text: 'A data folder that is restored or copied is not noticed on this file system: run `sluice spool new-id` after one',
            view: 'spool',
          },
        ]),
    ...ofDevices(status),
    ...sinks.flatMap((sink) => ofSink(sink, nowMs)),
    ...streams.flatMap((stream) => ofStream(stream, status, nowMs)),
  ]
  return [...found.filter(isUrgent), ...found.filter((each) => !isUrgent(each))]
}

const isUrgent = ({ tone }: Attention): boolean => tone === 'act'

function act(text: string, view: string | null): Attention {
  return { tone: 'act', text, view }
}

/** Acknowledged and stored nowhere, or refused (I9): most often a mistyped filter or topic. */
function ofTopics({ broker }: Status): readonly Attention[] {
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
  return [act(`No stream takes the topics of ${lines.join('; ')}${example}`, 'configuration')]
}

function ofDevices({ devices: { silent } }: Status): readonly Attention[] {
  if (silent === 0) return []
  const text = `${counted(silent, 'device')} silent for longer than silentAfter of the stream`
  return [{ tone: 'wait', text, view: 'devices' }]
}

function ofSink(sink: SinkStatus, nowMs: number): readonly Attention[] {
  const { name, state, notConnected } = sink
  const found: Attention[] = []
  if (state !== 'ok')
    found.push({
      tone: DELIVERY_TONE[state],
      text: `Sink ${name} is ${deliveryText(sink, nowMs)}`,
      view: 'sinks',
    })
  if (notConnected !== undefined) {
    const why = notConnected.why === null ? '' : `: ${plainLine(notConnected.why)}`
    found.push({ tone: 'wait', text: `Sink ${name} is not connected${why}`, view: 'sinks' })
  }
  return found
}

function ofStream(
  stream: StreamStatus,
  { sinks, spool }: Pick<Status, 'sinks' | 'spool'>,
  nowMs: number,
): readonly Attention[] {
  const { name, counters, delivery, backlogRecords, waitingMessages, parked, deadLetters } = stream
  const found: Attention[] = []
  // What its sink says of all its streams is said once.
  const isOfSink = sinks.some((sink) => sink.name === stream.sink && sink.state === delivery.state)
  if (delivery.state !== 'ok' && !isOfSink)
    found.push({
      tone: DELIVERY_TONE[delivery.state],
      text: `Stream ${name} is ${deliveryText(delivery, nowMs)}`,
      view: 'sinks',
    })
  if (stream.orphaned && backlogRecords > 0)
    found.push(
      act(
        `Stream ${name} is orphaned: no configuration names it; waiting: ${counted(backlogRecords, 'record')}`,
        'configuration',
      ),
    )
  if (waitingMessages > 0)
    found.push(
      act(
        spool.state === 'ok'
          ? `Stream ${name} is full; waiting for room: ${counted(waitingMessages, 'message')}`
          : `Stream ${name}: ${counted(waitingMessages, 'message')} waiting until the spool, which is ${spool.state}, takes messages again`,
        'spool',
      ),
    )
  if (parked > 0)
    found.push({
      tone: 'wait',
      text: `Stream ${name}: ${counted(parked, 'record')} kept aside (parked), refused by the sink or an operator`,
      view: 'sinks',
    })
  if (deadLetters.kept > 0)
    found.push({
      tone: 'wait',
      text: `Stream ${name}: ${counted(deadLetters.kept, 'dead letter')} to look at`,
      view: 'dead-letters',
    })
  const dropped = reasonsText(counters.dropped)
  if (dropped !== null)
    found.push({ tone: 'wait', text: `Stream ${name} dropped ${dropped}`, view: 'spool' })
  return found
}
