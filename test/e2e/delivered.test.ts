/**
 * `ack: delivered` with a real gateway: what a destroyed box takes with it, what a kill leaves of
 * QoS 2, what a refused record is answered. Beside it a stream with `ack: spooled`, which has to
 * lose what these tests look for, or they could not find it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { assertBalanced, GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses } from '../support/process.ts'
import { packet, RawMqtt, TYPE } from '../support/raw-mqtt.ts'
import { ScriptedSink } from '../support/scripted-sink.ts'

const STREAMS = {
  streams: {
    safe: { topics: ['safe/#'], ack: 'delivered' },
    plain: { topics: ['plain/#'] },
  },
}
const OUTAGE = [{ status: 503 }]
const UP = [{}]

let folder: string
let sink: ScriptedSink
let gateway: GatewayProcess

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-delivered-'))
  sink = await ScriptedSink.start()
  gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url, sections: STREAMS })
})
afterEach(async () => {
  await reapProcesses()
  await sink.close()
  rmSync(folder, { recursive: true, force: true })
})

function numbersAt(stream: string): number[] {
  return sink.stored
    .filter(({ headers }) => headers['sluice-stream'] === stream)
    .flatMap(({ lines }) => lines.map((line) => (JSON.parse(line) as { payload: number }).payload))
}

function publish(device: RawMqtt, topic: string, ids: readonly number[], dup = false): void {
  device.send(...ids.map((id) => packet.publish(topic, `${id}`, { qos: 1, id, dup })))
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)

async function received(stream: string, records: number): Promise<void> {
  await gateway.untilStatus(`${records} records in ${stream}`, ({ streams }) =>
    streams.some(({ name, counters }) => name === stream && counters.received >= records),
  )
}

async function retry(): Promise<void> {
  await fetch(`${gateway.adminUrl}/api/sinks/cloud/retry`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  })
}

test('a box that is destroyed takes nothing with it that was acknowledged', async () => {
  const half = upTo(20)
  const [rest, all] = [half.map((id) => id + 20), upTo(40)]
  const safe = await RawMqtt.connect(gateway.mqttPort, { clientId: 'safe' })
  const plain = await RawMqtt.connect(gateway.mqttPort, { clientId: 'plain' })
  publish(safe, 'safe/1', half)
  publish(plain, 'plain/1', half)
  expect(await safe.acks(20)).toEqual(half)
  expect(await plain.acks(20)).toEqual(half)
  sink.script = OUTAGE
  publish(safe, 'safe/1', rest)
  publish(plain, 'plain/1', rest)
  expect(await plain.acks(20)).toEqual(rest)
  await received('safe', 40)
  await safe.roundTrip()
  expect(safe.inbox, 'acks before the sink has the readings').toEqual([])

  await gateway.kill()
  rmSync(gateway.dataDir, { recursive: true })
  await gateway.start()
  sink.script = UP
  const again = await RawMqtt.connect(gateway.mqttPort, { clientId: 'safe' })
  publish(again, 'safe/1', rest, true)
  expect(await again.acks(20)).toEqual(rest)
  expect([...new Set(numbersAt('safe'))].toSorted((a, b) => a - b)).toEqual(all)
  // That it can be lost: acknowledged from the spool, and gone with it.
  const lost = rest.filter((id) => !numbersAt('plain').includes(id))
  expect(lost).toEqual(rest)
})

test('I3: over a kill a pending reading at QoS 2 is stored once, and its PUBREC waits for the sink', async () => {
  sink.script = OUTAGE
  const session = { clientId: 'press-7', clean: false }
  const device = await RawMqtt.connect(gateway.mqttPort, session)
  device.send(packet.publish('safe/1', '1', { qos: 2, id: 1 }))
  await received('safe', 1)
  await device.roundTrip()
  expect(device.inbox).toEqual([])
  await gateway.kill()
  await gateway.start()
  const again = await RawMqtt.connect(gateway.mqttPort, session)
  expect(again.sessionPresent).toBe(true)
  again.send(packet.publish('safe/1', '1', { qos: 2, id: 1, dup: true }))
  await again.roundTrip()
  expect(again.inbox).toEqual([])
  sink.script = UP
  await retry()
  expect(await again.acks(1, TYPE.PUBREC)).toEqual([1])
  again.send(packet.pubrel(1))
  expect(await again.acks(1, TYPE.PUBCOMP)).toEqual([1])
  const status = await gateway.status()
  expect(status.streams[0]?.counters).toMatchObject({ received: 1, delivered: 1 })
  assertBalanced(status)
})

test('I8: devices whose every reading is refused get their acks once the sink takes them', async () => {
  sink.script = () => ({ status: 422 })
  const device = await RawMqtt.connect(gateway.mqttPort, { clientId: 'safe' })
  publish(device, 'safe/1', upTo(3))
  const { streams } = await gateway.untilStatus('all are kept aside', (status) =>
    status.streams.some(({ name, parked }) => name === 'safe' && parked === 3),
  )
  const safe = streams.find(({ name }) => name === 'safe')
  expect(safe?.delivery).toMatchObject({
    state: 'retrying',
    why: expect.stringContaining('devices wait for their acks') as string,
  })
  await device.roundTrip()
  expect(device.inbox).toEqual([])
  // Nothing more comes from it: nothing that is accepted shows whose fault it was.
  sink.script = UP
  await retry()
  expect(await device.acks(3)).toEqual(upTo(3))
  expect(numbersAt('safe')).toEqual(upTo(3))
  assertBalanced(await gateway.status())
})

test('I8: a refused record is acknowledged once it is a dead letter, which is kept', async () => {
  sink.script = ({ lines }) => (lines.some((line) => line.includes('666')) ? { status: 422 } : {})
  const device = await RawMqtt.connect(gateway.mqttPort, { clientId: 'press-7' })
  publish(device, 'safe/1', [666])
  await received('safe', 1)
  publish(device, 'safe/1', [7])
  // The refusal is believed when a later record was taken.
  expect(await device.acks(2)).toEqual([666, 7])
  const status = await gateway.status()
  expect(status.streams[0]?.counters).toMatchObject({ received: 2, delivered: 1, deadLettered: 1 })
})

test('I6: through an outage devices stay connected, and nothing is acknowledged', async () => {
  sink.script = OUTAGE
  const keepaliveSeconds = 1
  const device = await RawMqtt.connect(gateway.mqttPort, {
    clientId: 'press-7',
    keepAlive: keepaliveSeconds,
  })
  // More than may be unacknowledged, with payloads that fill what is held back as well.
  const filling = '1'.padEnd(4096)
  for (let id = 1; id <= 2_000; id += 1)
    device.send(packet.publish('safe/1', filling, { qos: 1, id }))
  const beganMs = performance.now()
  while (performance.now() - beganMs < 4_000 * keepaliveSeconds) {
    device.send(packet.pingreq())
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  // PINGRESPs stand between them.
  const acked = (): number[] =>
    device.inbox.flatMap(({ type, body }) => (type === TYPE.PUBACK ? [body.readUInt16BE(0)] : []))
  expect(device.isClosed).toBe(false)
  expect(acked()).toEqual([])
  sink.script = UP
  await retry()
  await device.until(() => acked().length >= 2_000)
  expect(acked()).toEqual(upTo(2_000))
})
