/**
 * One session with every kind of packet, in two segments, cut at every byte boundary: what comes of
 * it is always the same.
 */
import { packet } from '../../support/raw-mqtt.ts'
import { FrameTaker } from './frame-taker.ts'
import type { FuzzedGate, Transport } from './fuzzed-gate.ts'
import { BYSTANDER } from './fuzzed-gate.ts'

/** Topics and payloads of the session: long enough for a remaining length of two bytes. */
function sessionBytes(): Buffer {
  const long = 'x'.repeat(150)
  return Buffer.concat([
    packet.connect({
      clientId: 'cut',
      will: { topic: 't/w', payload: 'will', qos: 1 },
      username: 'u',
      password: 'p',
    }),
    packet.publish('t/1', `0 ${long}`),
    packet.subscribe(1, [
      ['live/+', 1],
      ['live/#', 0],
    ]),
    packet.publish('t/1', `1 ${long}`, { qos: 1, id: 1 }),
    packet.pingreq(),
    packet.publish('both/2', '2', { qos: 2, id: 2 }),
    packet.publish('both/2', '2', { qos: 2, id: 2, dup: true }),
    packet.pubrel(2),
    packet.pubrel(2),
    packet.ack(0x40, 9),
    packet.unsubscribe(3, ['live/#']),
    packet.publish('nobody', '3', { qos: 1, id: 3 }),
    packet.disconnect(),
  ])
}

/** Number of boundaries. @throws where a cut makes a difference */
export async function cutEverywhere(gate: FuzzedGate, transport: Transport): Promise<number> {
  const bytes = sessionBytes()
  for (let at = 1; at < bytes.length; at += 1) {
    gate.appender.records.length = 0
    const before = gate.broker.stats.connectionsClosed['client-disconnect']
    const { end } = await gate.connect(transport)
    const taker = new FrameTaker(end)
    end.write(bytes.subarray(0, at))
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    end.write(bytes.subarray(at))
    await taker.until('the end', () => taker.isClosed, true)
    await turns(gate, before)
    const seen = gate.appender.records
      .filter(({ device }) => device !== BYSTANDER)
      .map(({ stream, payload, qos }) => `${stream} ${payload[0]} ${qos}`)
    const wanted = 'telemetry 0 0,telemetry 1 1,alarms 2 2,audit 2 2'
    if (seen.join() !== wanted) throw new Error(`cut at byte ${at}: ${seen.join()}`)
    if (taker.fault !== null) throw taker.fault
    // DISCONNECT may overtake the last commit: acks are there from the first one on.
    const acks = ['40 1', '50 2', '50 2', '40 3'].slice(0, taker.acks.length)
    if (taker.acks.join() !== acks.join())
      throw new Error(`cut at byte ${at}: acks ${taker.acks.join()}`)
  }
  gate.appender.records.length = 0
  return bytes.length - 1
}

async function turns(gate: FuzzedGate, closedBefore: number): Promise<void> {
  const { stats } = gate.broker
  for (let left = 1_000; left > 0; left -= 1) {
    if (
      stats.connectionsClosed['client-disconnect'] > closedBefore &&
      gate.appender.records.length >= 4
    )
      break
    await new Promise((resolve) => {
      setTimeout(resolve, 1)
    })
  }
}
