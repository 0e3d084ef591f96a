/** SIGHUP to a real gateway whose configuration file was written anew, for better and for worse. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Status } from '../../gateway/ports/status.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses } from '../support/process.ts'
import { packet, RawMqtt } from '../support/raw-mqtt.ts'

type Written = Readonly<Record<string, Readonly<Record<string, unknown>>>>

let folder: string
let gateway: GatewayProcess
let device: RawMqtt

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-reload-'))
  gateway = await GatewayProcess.start({
    folder,
    sinkUrl: 'http://127.0.0.1:9/ingest',
    sections: {
      streams: { telemetry: { topics: ['plant/#'] } },
      log: { level: 'info', format: 'json' },
    },
  })
  device = await RawMqtt.connect(gateway.mqttPort, { clientId: 'press-7' })
})

afterEach(async () => {
  device.cut()
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

async function publish(topic: string, id: number): Promise<void> {
  device.send(packet.publish(topic, '{"v":1}', { qos: 1, id }))
  expect(await device.acks(1)).toEqual([id])
}

/** Writes the file with these sections in place of its own. */
function rewrite(sections: Written): void {
  const former = JSON.parse(readFileSync(gateway.configPath, 'utf8')) as Written
  writeFileSync(gateway.configPath, JSON.stringify({ ...former, ...sections }))
}

function receivedOf({ streams }: Status): number | undefined {
  return streams.find(({ name }) => name === 'telemetry')?.counters.received
}

async function effective(): Promise<unknown> {
  const response = await fetch(`${gateway.adminUrl}/api/config`)
  return ((await response.json()) as { effective: unknown }).effective
}

test('a topic filter and the level of the log change under a device that stays connected', async () => {
  await publish('plant/press-7', 1)
  await publish('office/press-7', 2)
  expect(receivedOf(await gateway.status())).toBe(1)
  expect(gateway.events.filter(({ level }) => level === 'debug')).toEqual([])
  rewrite({
    streams: { telemetry: { topics: ['office/#'] } },
    log: { level: 'debug', format: 'json' },
  })
  gateway.process.kill('SIGHUP')
  const { msg } = await gateway.event('config.applied')
  expect(msg).toContain('streams.telemetry.topics')
  expect(msg).toContain('log.level')
  await publish('office/press-7', 3)
  await publish('plant/press-7', 4)
  expect(receivedOf(await gateway.status())).toBe(2)
  // Nobody answers where the sink is; each try is a line of this level.
  await gateway.event('sink.not-acked')
  expect(device.isClosed).toBe(false)
})

test('a broken file changes nothing, and the log says why', async () => {
  const before = await effective()
  rewrite({ streams: { telemetry: { topics: ['office/#'], priorty: 2 } } })
  gateway.process.kill('SIGHUP')
  const refused = await gateway.event('config.refused')
  expect(refused).toMatchObject({ level: 'warn' })
  expect(refused.msg).toContain('streams.telemetry.priorty')
  writeFileSync(gateway.configPath, 'streams: { telemetry: [')
  gateway.process.kill('SIGHUP')
  await gateway.process.waitForLine(() => gateway.countOf('config.refused') === 2)
  expect(gateway.events.at(-1)?.msg).toContain('sluice.yaml')
  await publish('plant/press-7', 1)
  await publish('office/press-7', 2)
  expect(receivedOf(await gateway.status())).toBe(1)
  expect(await effective()).toEqual(before)
  expect(device.isClosed).toBe(false)
})
