/**
 * Opens a spool on what a power cut has left, and says in words what is not as promised:
 *
 * - it opens, takes nothing for damage, and its books balance (I5, I7);
 * - every reading that was acknowledged is in it or at the sink: at QoS 2 once (I1, I3);
 * - the QoS 2 state is the one of the same commit: a stored reading whose PUBREL has not left has
 *   its packet id there, one that is not stored has not (else its repeat would be stored twice, or
 *   not at all) (I3);
 * - each device's readings are in their order (I2);
 * - an id means one record for ever: none that the sink has seen comes with other bytes, or is
 *   dealt again (I4).
 */

import { SessionTable } from '../../../gateway/broker/sessions/session-table.ts'
import type { Lane } from '../../../gateway/ports/appender.ts'
import { describeError } from '../../../gateway/spool/disk/disk-errors.ts'
import type { SpoolQueue } from '../../../gateway/spool/queue/queue.ts'
import type { Spool } from '../../../gateway/spool/spool.ts'
import { pendingByCounters } from '../../../gateway/spool/stream/counters.ts'
import {
  durable,
  ENCODER,
  lanes,
  linesOf,
  message,
  openSpool,
  pinNext,
  queueOf,
  settleAll,
} from '../../support/spool-fixture.ts'
import { recordOf, type SinkRecord } from './power-sink.ts'
import type { DeviceState, World } from './world.ts'

const BATCH_RECORDS = 5_000
/** Only tests: nobody fills this disk. */
const BALLAST_BYTES = 4096

export async function checkSpool(
  dataDir: string,
  world: World,
  atSink: readonly SinkRecord[],
  options: { readonly isDiskFaulty?: boolean } = {},
): Promise<string[]> {
  let opened: Awaited<ReturnType<typeof openSpool>>
  try {
    opened = await openSpool(dataDir, { ballastBytes: BALLAST_BYTES })
  } catch (error) {
    return [`I7: it does not open: ${describeError(error)}`]
  }
  const { spool, events } = opened
  const faults: string[] = []
  try {
    // LevelDB does not sync the very first MANIFEST of a new database; and a disk that failed did
    // damage something.
    const isNew = [...world.devices.values()].every(({ acked }) => acked.size === 0)
    for (const event of events) {
      if (event.type !== 'spool.damage' || isNew || options.isDiskFaulty) continue
      faults.push(`I7: taken for damage: ${event.what}`)
    }
    const sessions = new SessionTable({ maxSessions: 100, sessionExpiry: 1e12 }, () => 0)
    const unread = sessions.recover(spool.appender.attach(sessions))
    if (unread !== null) faults.push(`I3: the sessions cannot be read: ${unread}`)
    const stream = spool.streams.get('telemetry')
    if (!stream) return ['I7: the stream is gone']
    const pending = pendingByCounters(stream.state.counters)
    const there = await readAll(queueOf(spool))
    if (there === null) faults.push('I1: a block is damaged')
    const records = there ?? []
    if (records.length !== pending)
      faults.push(`I5: ${pending} pending by the counters, ${records.length} there`)
    if (stream.state.counters.dropped.corrupt > 0) faults.push('I5: records are counted as corrupt')
    const all = union(atSink, records, faults)
    for (const device of world.devices.values()) {
      const counts = countsOf(device, all)
      faults.push(...readingFaults(device, counts))
      if (device.qos === 2) faults.push(...sessionFaults(device, counts, sessions))
    }
    faults.push(...(await numberingFaults(spool, all)))
    const verified = events.find((event) => event.type === 'spool.verified')
    if (verified?.type === 'spool.verified' && verified.missing > 0)
      faults.push(`I1: ${verified.missing} blocks are missing`)
  } finally {
    await spool.stop()
  }
  return faults
}

/** Everything that is pending, in order; null: something could not be read. */
async function readAll(queue: SpoolQueue): Promise<SinkRecord[] | null> {
  const records: SinkRecord[] = []
  for (;;) {
    const batch = queue.pin
      ? await queue.load(queue.pin, ENCODER)
      : await pinNext(queue, BATCH_RECORDS)
    if (batch === null) return queue.pendingRecords === 0 ? records : null
    for (const line of await linesOf(batch)) {
      const queueName = line.id.slice(0, line.id.lastIndexOf(':'))
      records.push(recordOf(JSON.stringify(line), line.seq, line.id, queueName))
    }
    await settleAll(queue, batch)
  }
}

/** By id, those of the sink first. */
function union(
  atSink: readonly SinkRecord[],
  there: readonly SinkRecord[],
  faults: string[],
): SinkRecord[] {
  const byId = new Map<string, SinkRecord>()
  for (const record of [...atSink, ...there]) {
    const known = byId.get(record.id)
    if (!known) byId.set(record.id, record)
    else if (known.device !== record.device || known.n !== record.n)
      faults.push(`I4: ${record.id} is two records`)
  }
  return [...byId.values()]
}

/** Everything that was acknowledged is at the sink. */
export function booksFaults(world: World, atSink: readonly SinkRecord[]): string[] {
  return [...world.devices.values()].flatMap((device) =>
    readingFaults(device, countsOf(device, atSink)),
  )
}

/** How often each reading of the device is there, in the order of the first ones. */
function countsOf(device: DeviceState, all: readonly SinkRecord[]): Map<number, number> {
  const counts = new Map<number, number>()
  for (const one of all)
    if (one.device === device.name) counts.set(one.n, (counts.get(one.n) ?? 0) + 1)
  return counts
}

function readingFaults(
  { name, qos, acked }: DeviceState,
  counts: ReadonlyMap<number, number>,
): string[] {
  const faults: string[] = []
  const lost = [...acked].filter((n) => !counts.has(n))
  if (lost.length > 0) faults.push(`I1: ${name}: acknowledged and gone: ${brief(lost)}`)
  const order = [...counts.keys()]
  if (order.some((n, i) => n < (order[i - 1] ?? 0)))
    faults.push(`I2: ${name}: out of order: ${brief(order)}`)
  const twice = [...counts].filter(([, count]) => count > 1).map(([n]) => n)
  if (qos === 2 && twice.length > 0) faults.push(`I3: ${name}: stored twice: ${brief(twice)}`)
  return faults
}

function sessionFaults(
  { name, inFlight, completed }: DeviceState,
  counts: ReadonlyMap<number, number>,
  sessions: SessionTable,
): string[] {
  const faults: string[] = []
  const ids = sessions.find(name)?.ids
  for (const { n, id, released } of inFlight) {
    const isOpen = ids?.has(id) ?? false
    if (counts.has(n) && !released && !isOpen)
      faults.push(`I3: ${name}: ${n} is stored, packet id ${id} is not`)
    if (!counts.has(n) && isOpen) faults.push(`I3: ${name}: packet id ${id} is stored, ${n} is not`)
    if (isOpen && completed.has(n))
      faults.push(`I3: ${name}: PUBCOMP for ${id} left before its removal`)
  }
  const known = new Set(inFlight.map(({ id }) => id))
  const stale = [...(ids?.entries() ?? [])].map(([id]) => id).filter((id) => !known.has(id))
  if (stale.length > 0)
    faults.push(`I3: ${name}: packet ids of completed readings: ${brief(stale)}`)
  return faults
}

/** The next record of the stream gets an id that nobody has had. */
async function numberingFaults(spool: Spool, all: readonly SinkRecord[]): Promise<string[]> {
  const lane = lanes(spool, 'newcomer', 'plant/newcomer')[0] as Lane
  await durable(spool, spool.appender.append([lane], message('{"n":1}')))
  const next = (await readAll(queueOf(spool)))?.[0]
  if (!next) return ['I1: a new record is not there']
  const highest = all
    .filter(({ queue }) => queue === next.queue)
    .reduce((max, { seq }) => Math.max(max, seq), 0)
  return next.seq > highest ? [] : [`I4: seq ${next.seq} is dealt again, ${highest} was there`]
}

function brief(numbers: readonly number[]): string {
  const shown = numbers.slice(0, 10).join(' ')
  return numbers.length > 10 ? `${shown} … (${numbers.length})` : shown
}
