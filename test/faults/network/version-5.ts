/**
 * Fault 8, devices of MQTT 5: they come back over a connection that still lives, stay away for
 * shorter or longer than their session was to live, and flood beyond what they were granted. Each
 * hears the reason that the standard has for it, nothing acknowledged is lost, QoS 2 is stored
 * once, and a device beside them is acknowledged in order.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { REASON, readAck, readDisconnect, reasonText } from '../../support/mqtt-answers.ts'
import type { Properties } from '../../support/mqtt-properties.ts'
import { lastingSession, packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { FuzzedGate } from '../fuzz/fuzzed-gate.ts'

export interface Version5Report {
  readonly kind: string
  readonly devices: number
}

const EXPIRY_SECONDS = 30
const TURN_MS = 1_000
/** The gate looks for sessions that have expired in between. */
const LOOK_MS = 20
const MAX_TAKEOVERS = 8

function connect(
  gate: FuzzedGate,
  clientId: string,
  sessionExpiryInterval: number,
): Promise<RawMqtt & { sessionPresent: boolean; granted: Properties }> {
  const { port } = gate.broker.addresses[0]!
  return RawMqtt.connect(port, { clientId, ...lastingSession(5, sessionExpiryInterval) })
}

function publish(id: number, payload: string, dup = false): Buffer {
  return packet.publish('t/five', payload, { qos: 2, id, dup, level: 5 })
}

/** @throws unless the gate says farewell with this reason, as its last word, and closes */
async function expectFarewell(client: RawMqtt, code: number): Promise<void> {
  await client.closed()
  const last = client.inbox.at(-1)
  if (last === undefined) throw new Error(`closed without DISCONNECT ${reasonText(code)}`)
  const said = readDisconnect(last).code
  if (said !== code) throw new Error(`DISCONNECT ${reasonText(said)}, not ${reasonText(code)}`)
}

async function inGate(
  kind: string,
  devices: number,
  run: (gate: FuzzedGate, n: number) => Promise<void>,
): Promise<Version5Report> {
  const gate = await FuzzedGate.start()
  try {
    await Promise.all([
      ...Array.from({ length: devices }, (_, n) => run(gate, n)),
      gate.bystander.publish(devices),
    ])
    const faults = gate.takeFaults()
    if (faults.length > 0) throw new Error(faults.join('\n'))
    return { kind, devices }
  } finally {
    await gate.stop()
  }
}

/**
 * Each connection publishes, and is taken over before it may have heard of it; the next one repeats
 * under the same id. At the end each reading is stored once (I3).
 */
export async function takeovers(devices: number): Promise<Version5Report> {
  return await inGate('taken over', devices, async (gate, n) => {
    const clientId = `taken-${n}`
    let former: RawMqtt | null = null
    for (let turn = 0; turn < MAX_TAKEOVERS; turn += 1) {
      const client = await connect(gate, clientId, EXPIRY_SECONDS)
      if (client.sessionPresent !== turn > 0) throw new Error(`${clientId}: the session is lost`)
      if (former !== null) await expectFarewell(former, REASON.SESSION_TAKEN_OVER)
      client.send(publish(1, clientId, turn > 0))
      former = client
    }
    if (former === null) throw new Error('nobody is left')
    const received = readAck(await former.next(TYPE.PUBREC), 5)
    if (received.code !== 0) throw new Error(`PUBREC ${reasonText(received.code)}`)
    former.send(packet.pubrel(1))
    const completed = readAck(await former.next(TYPE.PUBCOMP), 5)
    if (completed.code !== 0) throw new Error(`PUBCOMP ${reasonText(completed.code)}`)
    const copies = gate.appender.records.filter(({ payload }) => payload === clientId).length
    if (copies !== 1) throw new Error(`I3: ${clientId} is stored ${copies} times`)
    former.cut()
  })
}

/** Half of the devices are away for shorter than their session was to live, half for longer. */
export async function absences(devices: number): Promise<Version5Report> {
  const gate = await FuzzedGate.start()
  try {
    const names = Array.from({ length: devices }, (_, n) => `away-${n}`)
    const isLong = (n: number): boolean => n % 2 === 1
    for (const [n, clientId] of names.entries()) {
      const client = await connect(gate, clientId, isLong(n) ? EXPIRY_SECONDS : 4 * EXPIRY_SECONDS)
      client.send(publish(1, clientId))
      await client.next(TYPE.PUBREC)
      client.cut()
    }
    // The gate knows that they are gone.
    while (gate.broker.connections() > 2) await sleep(LOOK_MS)
    for (let passedMs = 0; passedMs < 2 * EXPIRY_SECONDS * 1_000; passedMs += TURN_MS) {
      gate.turnClock(TURN_MS)
      await sleep(LOOK_MS)
    }
    for (const [n, clientId] of names.entries()) {
      const client = await connect(gate, clientId, EXPIRY_SECONDS)
      if (client.sessionPresent === isLong(n))
        throw new Error(`${clientId}: Session Present ${client.sessionPresent} [MQTT-3.1.2-23]`)
      client.send(packet.pubrel(1))
      const { code } = readAck(await client.next(TYPE.PUBCOMP), 5)
      const expected = isLong(n) ? REASON.PACKET_ID_NOT_FOUND : REASON.SUCCESS
      if (code !== expected) throw new Error(`${clientId}: PUBCOMP ${reasonText(code)}`)
      client.cut()
    }
    await gate.bystander.publish(5)
    const faults = gate.takeFaults()
    if (faults.length > 0) throw new Error(faults.join('\n'))
    return { kind: 'away for shorter and longer', devices }
  } finally {
    await gate.stop()
  }
}

/** Acks are withheld; a device that keeps to its grant stays, one that sends one more is ended. */
export async function floods(devices: number): Promise<Version5Report> {
  const gate = await FuzzedGate.start()
  try {
    gate.appender.hold()
    const clients = await Promise.all(
      Array.from({ length: devices }, (_, n) => connect(gate, `flood-${n}`, 0)),
    )
    const ended: RawMqtt[] = []
    const kept: Array<{ readonly client: RawMqtt; readonly granted: number }> = []
    for (const [n, client] of clients.entries()) {
      const { receiveMaximum: granted = 65_535 } = client.granted
      const beyond = n % 2
      const frames = Array.from({ length: granted + beyond }, (_, i) =>
        packet.publish('t/five', `${n} ${i}`, { qos: 1, id: i + 1, level: 5 }),
      )
      client.send(...frames)
      if (beyond > 0) ended.push(client)
      else kept.push({ client, granted })
    }
    for (const client of ended) await expectFarewell(client, REASON.RECEIVE_MAXIMUM_EXCEEDED)
    gate.appender.release()
    for (const { client, granted } of kept) {
      const ids = await client.acks(granted)
      if (ids.some((id, place) => id !== place + 1)) throw new Error('I2: acks out of order')
      await client.end()
    }
    await gate.bystander.publish(5)
    const { 'receive-maximum': counted } = gate.broker.stats.connectionsClosed
    if (counted !== ended.length) throw new Error(`${counted} of ${ended.length} were counted`)
    const faults = gate.takeFaults()
    if (faults.length > 0) throw new Error(faults.join('\n'))
    return { kind: 'beyond their grant', devices }
  } finally {
    await gate.stop()
  }
}
