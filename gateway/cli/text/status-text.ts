/**
 * The status document as text for a person. Pure. Text that came from outside is made harmless
 * for terminals.
 */
import { findingsOf } from '../../ports/findings.ts'
import type { Status } from '../../ports/status.ts'
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
  const lines = findingsOf(status).map(
    ({ text, command }) => `! ${text}${command === null ? '' : ` (${command})`}`,
  )
  return lines.length === 0 ? null : lines.join('\n')
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '-' : `${Math.round((100 * part) / whole)} %`
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, one) => total + one, 0)
}
