/**
 * One step down: the version before this one, built from its own source (test/fixtures/versions/),
 * opens a folder that this one leaves behind, delivers what it holds and balances.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { VERSION } from '../../gateway/version.ts'
import { leave, SECTIONS } from '../fixtures/spools/leave.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses } from '../support/process.ts'
import { packet, RawMqtt } from '../support/raw-mqtt.ts'
import { ScriptedSink } from '../support/scripted-sink.ts'
import { sourcePath } from '../support/source-path.ts'
import { judgeFolder } from './fixture-judge.ts'

const VERSIONS = new URL('../fixtures/versions/', import.meta.url).pathname
const kept = readdirSync(VERSIONS).flatMap((name) => /^(.+)\.tar\.gz$/.exec(name)?.[1] ?? [])

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-step-down-'))
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

/** The program of a kept version; its packages are those of today. */
function unpack(version: string): string {
  const target = join(folder, version)
  mkdirSync(target)
  execFileSync('tar', ['-C', target, '-xzf', join(VERSIONS, `${version}.tar.gz`)])
  symlinkSync(sourcePath('node_modules'), join(target, 'node_modules'))
  return join(target, 'dist', 'gateway', 'main.js')
}

it('the version before this one is kept', () => {
  const changelog = readFileSync(sourcePath('CHANGELOG.md'), 'utf8')
  const versions = [...changelog.matchAll(/^## (\d+\.\d+\.\d+)/gm)].map(([, version]) => version)
  const before = versions.filter((version) => version !== VERSION)
  // Until the entry of this version is written, the last one that is out has its number.
  expect([before[0], versions[0]]).toContain(kept[0])
  expect(kept).toHaveLength(1)
})

describe.each(kept)('%s', (version) => {
  it.each(['stopped', 'killed'] as const)(
    'opens a folder of this version, %s, and delivers it',
    async (how) => {
      const sink = await ScriptedSink.start()
      // Devices are watched, so that their values are in the folder, too.
      const { telemetry, alarms } = SECTIONS.streams
      const sections = { streams: { telemetry: { ...telemetry, silentAfter: '1h' }, alarms } }
      const gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url, sections })
      const fixture = await leave(how, VERSION, gateway, sink)
      await sink.close()
      await judgeFolder(fixture, { folder, dataDir: gateway.dataDir, program: unpack(version) })
    },
    60_000,
  )

  it('and this one goes on behind it', async () => {
    const sink = await ScriptedSink.start()
    const options = { folder, sinkUrl: sink.url, sections: { streams: { telemetry: {} } } }
    const before = await GatewayProcess.start(options)
    await publish(before)
    await before.stop()
    const older = await GatewayProcess.start({ ...options, program: unpack(version) })
    expect((await older.status()).version).toBe(version)
    await publish(older)
    await older.stop()
    const again = await GatewayProcess.start(options)
    await publish(again)
    const { streams } = await again.untilStatus('all delivered', (status) =>
      status.streams.every(({ counters }) => counters.delivered === 3),
    )
    expect(streams[0]?.counters.received).toBe(3)
    expect(again.countOf('spool.damage')).toBe(0)
    await sink.close()
  }, 60_000)
})

async function publish({ mqttPort }: GatewayProcess): Promise<void> {
  const device = await RawMqtt.connect(mqttPort, { clientId: 'plc-1' })
  device.send(packet.publish('hall/x', '{"n":1}', { qos: 1, id: 1 }))
  await device.acks(1)
  device.cut()
}
