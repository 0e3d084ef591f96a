/**
 * Devices of MQTT 5 that flood a stream which is full and blocks: what waits for its ack is bounded
 * by what they were granted (Receive Maximum), and so is the memory that it takes (I6).
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { memoryMb } from '../bench/processes.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses } from '../support/process.ts'
import { Qos1Device } from '../support/qos1-device.ts'
import { packet, RawMqtt, TYPE } from '../support/raw-mqtt.ts'

const DEVICES = 1000
/** Connections that are asked for at a time. */
const AT_A_TIME = 100
const PAYLOAD = `{"celsius":21.47,"note":"${'x'.repeat(170)}"}`
/**
 * Beside the payloads: packets, acks and garbage, of which Node 24 holds more: 22 to 42 MB where
 * Node 20 holds 17.
 */
const MAX_BESIDE_MB = Number.parseInt(process.versions.node, 10) < 24 ? 32 : 56
const MIB = 1024 * 1024
/** For one stream half of `mqtt.maxUnackedMessagesTotal`: behind it the network waits. */
const MAX_WAITING = 50_000
/** Nearly all of it has to wait, or the stream was not full. */
const MAX_ACKED_SHARE = 0.05

type Device = Awaited<ReturnType<typeof RawMqtt.connect>>

let folder: string
let devices: Device[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-flood-'))
  devices = []
})

afterEach(async () => {
  for (const device of devices) device.cut()
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

async function connectAll(port: number): Promise<void> {
  while (devices.length < DEVICES) {
    const connecting = Array.from({ length: AT_A_TIME }, (_, i) =>
      RawMqtt.connect(port, { clientId: `press-${devices.length + i}`, level: 5 }),
    )
    devices.push(...(await Promise.all(connecting)))
  }
}

async function fill(gateway: GatewayProcess): Promise<void> {
  const device = new Qos1Device('filler')
  await device.connect(gateway.mqttPort)
  device.begin()
  await gateway.event('spool.stream-full')
  await device.close()
  await gateway.untilStatus('nothing waits', ({ broker }) => broker?.unackedMessages === 0)
}

const granted = (): number =>
  devices.reduce((sum, device) => sum + (device.granted.receiveMaximum ?? Number.NaN), 0)

/** Each device sends what it may. */
function flood(): void {
  for (const [i, device] of devices.entries()) {
    const count = device.granted.receiveMaximum ?? 0
    const topic = `plant/press-${i}/temp`
    const packets = Array.from({ length: count }, (_, n) =>
      packet.publish(topic, PAYLOAD, { qos: 1, id: n + 1, properties: {} }),
    )
    device.send(...packets)
  }
}

for (const isFullBefore of [true, false]) {
  const when = isFullBefore ? 'was full when they came' : 'was filled behind their CONNACKs'
  test(`I6: 1,000 devices of MQTT 5 flood a stream that ${when}: memory stays within their grants and ${MAX_BESIDE_MB} MB`, async () => {
    const sections = {
      streams: { telemetry: { topics: ['#'], maxBytes: '1MiB', whenFull: 'block' } },
    }
    const gateway = await GatewayProcess.start({
      folder,
      sinkUrl: 'http://127.0.0.1:9/ingest',
      sections,
      // As unit, image and `npm start` have it: Node 24's default holds 30 MB more of young objects.
      env: { NODE_OPTIONS: '--max-semi-space-size=8' },
    })
    const rssAnonMb = (): number => memoryMb(gateway.process.pid ?? 0).rssAnon
    if (isFullBefore) await fill(gateway)
    await connectAll(gateway.mqttPort)
    if (!isFullBefore) await fill(gateway)
    const grants = granted()
    expect(grants).toBeGreaterThanOrEqual(10 * DEVICES)
    if (isFullBefore) expect(grants).toBe(10 * DEVICES)
    else expect(grants).toBeGreaterThan(50 * DEVICES)
    const readable = Math.min(grants, MAX_WAITING)
    const idle = rssAnonMb()
    let peak = 0
    flood()
    // Into what room there is left for readings smaller than those of the filler.
    const acked = (): number => devices.reduce((sum, { inbox }) => sum + inbox.length, 0)
    await gateway.untilStatus('all of it was read', ({ broker }) => {
      peak = Math.max(peak, rssAnonMb())
      return (broker?.unackedMessages ?? 0) + acked() >= readable
    })
    expect(acked()).toBeLessThan(readable * MAX_ACKED_SHARE)
    expect(peak - idle).toBeLessThanOrEqual((grants * PAYLOAD.length) / MIB + MAX_BESIDE_MB)
    expect(devices.filter(({ isClosed }) => isClosed)).toEqual([])
    expect(devices.flatMap(({ inbox }) => inbox).every(({ type }) => type === TYPE.PUBACK)).toBe(
      true,
    )
  })
}
