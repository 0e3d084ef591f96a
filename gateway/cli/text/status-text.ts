/**
 * The status document as text for a person. Pure. Text that came from outside is made harmless
 * for terminals.
 */
import type { DeliveryStatus, SinkStatus, Status, StreamStatus } from '../../ports/status.ts'
import { bytes, count, counted, hours, plainLine, span, table } from '../../shared/text/words.ts'

/** Ends with a line feed. */
export function statusText(status: Status): string {
  const parts = [heading(status), spoolText(status), streamsText(status)]
  if (status.sinks.length > 0) parts.push(sinksText(status))
  if (status.broker !== null) parts.push(brokerText(status))
  if (status.devices.count > 0) parts.push(devicesText(status))
  const attention = attentionText(status)
  if (attention !== null) parts.push(attention)
  return `${parts.join('\n\n')}\n`
}

function heading({ gateway, version, uptimeSeconds, clockSet, ...status }: Status): string {
  const { accepting, leaving } = status
  const messages = accepting ? 'accepting messages' : 'NOT accepting messages'
  const state =
    uptimeSeconds === null
      ? 'stopped'
      : `up ${span(uptimeSeconds)}, ${messages}${leaving ? ': it LEAVES, devices are sent away' : ''}`
  return `gateway ${gateway} (sluice ${version}): ${state}${clockSet ? '' : ', clock not set'}`
}

function spoolText({ spool }: Status): string {
  const state = spool.why === null ? spool.state : `${spool.state} (${plainLine(spool.why)})`
  const verified = spool.verified === null ? '' : spool.verified ? ', verified' : ', DAMAGED'
  const fills = spool.hoursUntilFull === null ? '' : `, full in ${hours(spool.hoursUntilFull)}`
  const { writtenBytesPerDay: written } = spool
  const wear = written === null ? '' : `; ${bytes(written)} written a day`
  return `spool ${spool.id}: ${state}${verified}; ${bytes(spool.bytes)} on disk, ${bytes(spool.freeBytes)} free${fills}${wear}`
}

function streamsText(status: Status): string {
  const header = [
    'STREAM',
    'BACKLOG',
    'OLDEST',
    'STORED',
    'OF',
    'FULL IN',
    'RECEIVED',
    'REQUEUED',
    'DELIVERED',
    'DROPPED',
    'DEAD',
    'KEPT',
    'DELIVERY',
  ]
  const rows = status.streams.map((stream) => [
    stream.name,
    count(stream.backlogRecords),
    stream.oldestAgeSeconds === null ? '-' : span(stream.oldestAgeSeconds),
    bytes(stream.storedBytes),
    percent(stream.storedBytes, stream.maxBytes),
    stream.hoursUntilFull === null ? '-' : hours(stream.hoursUntilFull),
    count(stream.counters.received),
    count(stream.counters.requeued),
    count(stream.counters.delivered),
    count(sum(stream.counters.dropped)),
    // What was received or requeued is delivered, dropped, dead or in the backlog (I5); KEPT is how
    // many of the dead are still there.
    count(stream.counters.deadLettered),
    count(stream.deadLetters.kept),
    stream.orphaned ? 'orphaned' : status.uptimeSeconds === null ? '-' : stream.delivery.state,
  ])
  return table([header, ...rows])
}

function sinksText({ sinks }: Status): string {
  const header = ['SINK', 'STATE', 'LAST SUCCESS', 'SENT', 'DELIVERY', 'ACK MEANS', 'URL']
  const rows = sinks.map((sink) => [
    sink.name,
    sink.state,
    sink.lastSuccessAt ?? 'not since the start',
    bytes(sink.sentBytes),
    sink.promise.delivery,
    sink.promise.ack,
    plainLine(sink.url),
  ])
  return table([header, ...rows])
}

function brokerText({ broker }: Status): string {
  if (broker === null) return ''
  const { messages, mqtt5, neighbors, unrouted, unwanted } = broker
  const lines = [
    `devices: ${count(broker.connections)} connected, ${counted(broker.sessions, 'session')}, on ${broker.listeners.join(', ')}`,
    `messages since the start: ${count(messages.qos0)} QoS 0, ${count(messages.qos1)} QoS 1, ${count(messages.qos2)} QoS 2`,
  ]
  if (mqtt5.connections > 0)
    lines.push(
      `MQTT 5: ${counted(mqtt5.connections, 'connection')}, ${counted(mqtt5.grantedReceiveMaximum, 'message')} granted to be on their way (Receive Maximum)`,
    )
  if (sum(mqtt5.codesSent) + sum(mqtt5.codesReceived) > 0)
    lines.push(
      `reason codes: ${codesText('sent', mqtt5.codesSent)}${codesText('received', mqtt5.codesReceived)}`.trimEnd(),
    )
  if (neighbors !== null)
    lines.push(
      neighbors.isConnected
        ? `other gateways: told of ${counted(neighbors.told, 'connect')}, ${counted(neighbors.ended, 'connection')} ended here as the client went to one`
        : `other gateways: not told of clients that connect here: ${neighbors.why ?? 'not connected yet'}`,
    )
  if (unrouted.accepted + unrouted.refused > 0)
    lines.push(
      `unrouted: ${count(unrouted.accepted)} accepted, ${count(unrouted.refused)} refused (no stream takes them)`,
    )
  if (broker.sockets.undatedCertificates > 0)
    lines.push(
      `client certificates whose dates were not judged, as the clock is not set: ${count(broker.sockets.undatedCertificates)}`,
    )
  if (sum(unwanted) > 0)
    lines.push(
      `acknowledged and no record: ${Object.entries(unwanted)
        .filter(([, messages]) => messages > 0)
        .map(([reason, messages]) => `${count(messages)} ${reason}`)
        .join(', ')}`,
    )
  return lines.join('\n')
}

function devicesText({ devices: { connected, evicted, silent, ...devices } }: Status): string {
  const gone = evicted === 0 ? '' : `; ${count(evicted)} gave way to others (devices.maxDevices)`
  return `table of devices: ${count(devices.count)} known, ${count(connected)} connected, ${count(silent)} silent${gone}`
}

function codesText(direction: string, codes: Readonly<Record<string, number>>): string {
  const entries = Object.entries(codes)
  if (entries.length === 0) return ''
  return `${direction} ${entries.map(([code, times]) => `${code} ${count(times)} x`).join(', ')} `
}

/** Everything that needs attention; null: nothing does. */
function attentionText(status: Status): string | null {
  const lines = [
    ...troubleOfTopics(status),
    ...status.spool.damage.map((text) => `damage: ${plainLine(text)}`),
    ...(status.spool.noticesRestore
      ? []
      : [
          'this file system does not tell files apart: a data folder that was restored or copied is not noticed here; ' +
            'run `sluice spool new-id` after one',
        ]),
    ...troubleOfDevices(status),
    ...status.sinks.flatMap((sink) => troubleOfSink(sink)),
    ...status.streams.flatMap((stream) => troubleOfStream(stream, status.spool.state)),
  ]
  return lines.length === 0 ? null : lines.map((line) => `! ${line}`).join('\n')
}

function troubleOfDevices({ devices: { silent } }: Status): string[] {
  if (silent === 0) return []
  return [
    `${counted(silent, 'device')} silent for longer than silentAfter of the stream: \`sluice devices --silent\` names them`,
  ]
}

/**
 * Readings that were acknowledged and are stored nowhere (I9): most often a mistyped filter or
 * topic.
 */
function troubleOfTopics({ broker }: Status): string[] {
  if (broker === null) return []
  const { unrouted, lastUnrouted: last } = broker
  const lines: string[] = []
  if (unrouted.accepted > 0)
    lines.push(
      `no stream takes the topics of ${counted(unrouted.accepted, 'message')}: acknowledged and not kept`,
    )
  if (unrouted.refused > 0)
    lines.push(
      `no stream takes the topics of ${counted(unrouted.refused, 'message')}: their connections were closed`,
    )
  if (lines.length === 0 || !last) return lines
  const near =
    last.nearest === null
      ? ''
      : `; closest filter: ${plainLine(last.nearest.filter)} of stream ${last.nearest.stream}`
  return [
    `${lines.join('; ')}; the last: ${plainLine(last.topic)} of ${plainLine(last.clientId)}${near}`,
  ]
}

const wait = (things: number): string => (things === 1 ? 'waits' : 'wait')

function troubleOfSink(sink: SinkStatus): string[] {
  const { name, state, notConnected } = sink
  const lines = state === 'ok' ? [] : [`sink ${name} ${deliveryText(sink)}`]
  if (notConnected === undefined) return lines
  const why = notConnected.why === null ? '' : `: ${plainLine(notConnected.why)}`
  return [...lines, `sink ${name} is not connected${why}`]
}

function troubleOfStream(stream: StreamStatus, spool: Status['spool']['state']): string[] {
  const { name, counters, delivery } = stream
  const lines: string[] = []
  if (delivery.state !== 'ok') lines.push(`stream ${name} ${deliveryText(delivery)}`)
  if (stream.orphaned && stream.backlogRecords > 0)
    lines.push(
      `stream ${name} is orphaned: no configuration names it, ${counted(stream.backlogRecords, 'record')} ${wait(stream.backlogRecords)}`,
    )
  if (stream.waitingMessages > 0)
    lines.push(
      spool === 'ok'
        ? `stream ${name} is full: ${counted(stream.waitingMessages, 'message')} ${wait(stream.waitingMessages)} for room`
        : `stream ${name}: ${counted(stream.waitingMessages, 'message')} ${wait(stream.waitingMessages)} until the spool, which is ${spool}, takes messages again`,
    )
  if (stream.parked > 0)
    lines.push(
      `stream ${name}: ${counted(stream.parked, 'record')} kept aside (parked), refused by the sink or an operator`,
    )
  if (stream.deadLetters.kept > 0)
    lines.push(
      `stream ${name}: ${counted(stream.deadLetters.kept, 'dead letter')} (sluice dead-letters list --stream ${name})`,
    )
  const dropped = Object.entries(counters.dropped).filter(([, records]) => records > 0)
  if (dropped.length > 0)
    lines.push(
      `stream ${name} dropped ${dropped.map(([reason, records]) => `${count(records)} ${reason}`).join(', ')}`,
    )
  return lines
}

function deliveryText({ state, since, why, nextTryAt }: DeliveryStatus): string {
  const parts = [`is ${state}${since === null ? '' : ` since ${since}`}`]
  if (why !== null) parts.push(plainLine(why))
  if (nextTryAt !== null) parts.push(`next try ${nextTryAt}`)
  return parts.join('; ')
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '-' : `${Math.round((100 * part) / whole)} %`
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, one) => total + one, 0)
}
