/**
 * Silence over kills: a gateway is killed as it tells of devices that fall silent and come back, and
 * each silence and each return is one record all the same. Real processes, a real spool.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { assertBalanced, GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses } from '../support/process.ts'
import { packet, RawMqtt } from '../support/raw-mqtt.ts'
import { ScriptedSink } from '../support/scripted-sink.ts'

const IDS = Array.from({ length: 20 }, (_, n) => `plc-${n}`)

let folder: string
let sink: ScriptedSink
let gateway: GatewayProcess

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-silence-'))
  sink = await ScriptedSink.start()
  gateway = await GatewayProcess.start({
    folder,
    sinkUrl: sink.url,
    sections: { streams: { telemetry: { silentAfter: '1s' } } },
  })
})
afterEach(async () => {
  await reapProcesses()
  await sink.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Each device connects and publishes; acknowledged, unless the gateway is killed before. */
async function publish(waitsForAcks = true): Promise<void> {
  await Promise.all(
    IDS.map(async (clientId) => {
      const device = await RawMqtt.connect(gateway.mqttPort, { clientId })
      device.send(packet.publish('hall/x', '{"n":1}', { qos: 1, id: 1 }))
      if (waitsForAcks) await device.acks(1)
    }),
  )
}

/** And the sink has been told of it. */
async function allSilent(): Promise<void> {
  await gateway.untilStatus('all are silent', ({ devices }) => devices.silent === IDS.length)
  await vi.waitFor(
    () => {
      const last = [...histories().values()].map((history) => history.at(-1))
      expect(last).toEqual(IDS.map(() => 'silent'))
    },
    { timeout: 10_000 },
  )
}

/** What the sink was told of each device, in order; what it was sent twice counts once. */
function histories(): Map<string, string[]> {
  const records = new Map<string, { topic: string; payload: { device: string; state: string } }>()
  for (const { lines } of sink.requests)
    for (const line of lines) {
      const record = JSON.parse(line) as {
        id: string
        topic: string
        payload: { device: string; state: string }
      }
      if (record.topic.startsWith('$sluice/')) records.set(record.id, record)
    }
  const found = new Map<string, string[]>()
  for (const { payload, topic } of records.values()) {
    expect(topic).toBe(`$sluice/devices/${payload.device}/${payload.state}`)
    found.set(payload.device, [...(found.get(payload.device) ?? []), payload.state])
  }
  return found
}

test('I1, I5: a kill while devices are told silent or back: each once', async () => {
  // Killed as the first is told silent: its record is not durable yet, or those of some are.
  for (let n = 0; n < 3; n += 1) {
    await publish()
    await gateway.event('devices.silent')
    await gateway.killAndRestart()
  }
  // Silent for good, over a kill and a stop: no second record.
  await allSilent()
  await gateway.killAndRestart()
  expect((await gateway.status()).devices).toMatchObject({ count: IDS.length, silent: IDS.length })
  await gateway.stop()
  await gateway.start()
  expect((await gateway.status()).devices.silent).toBe(IDS.length)
  // Killed as the first is told back: its message and its return are durable together, or neither.
  await publish(false)
  await gateway.event('devices.back')
  await gateway.killAndRestart()
  await publish()
  await allSilent()
  const status = await gateway.untilStatus('all delivered', ({ streams }) =>
    streams.every(({ counters }) => counters.pending === 0),
  )
  assertBalanced(status)

  const told = histories()
  expect([...told.keys()].toSorted()).toEqual(IDS.toSorted())
  for (const [id, history] of told) {
    const wanted = history.map((_, n) => (n % 2 === 0 ? 'silent' : 'back'))
    expect(history, id).toEqual(wanted)
    expect(history.at(-1), id).toBe('silent')
    expect(history.length, id).toBeGreaterThanOrEqual(3)
  }
}, 90_000)

test('a table of devices that is damaged never keeps a gateway from starting (I7)', async () => {
  await publish()
  await gateway.stop()
  writeFileSync(join(gateway.dataDir, 'devices'), 'no gzip')
  await gateway.start()
  expect(gateway.countOf('devices.table-discarded')).toBe(1)
  // The spool still knows who has published to the stream.
  expect((await gateway.status()).devices.count).toBe(IDS.length)
})
