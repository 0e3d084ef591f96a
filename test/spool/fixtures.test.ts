/**
 * Spool folders that earlier versions left behind: each opens, is delivered and balances. See
 * test/fixtures/spools/README.md.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SpoolFixture } from '../fixtures/spools/fixture.ts'
import { assertBalanced, GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses } from '../support/process.ts'
import { packet, RawMqtt, TYPE } from '../support/raw-mqtt.ts'
import { type ScriptedRequest, ScriptedSink } from '../support/scripted-sink.ts'
import { sourcePath } from '../support/source-path.ts'

const FOLDER = new URL('../fixtures/spools/', import.meta.url).pathname
const names = readdirSync(FOLDER).flatMap((name) => /^(.+)\.tar\.gz$/.exec(name)?.[1] ?? [])

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-fixture-'))
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

function readingsOf(requests: readonly ScriptedRequest[], stream: string): number[] {
  return requests
    .filter(({ headers }) => headers['sluice-stream'] === stream)
    .flatMap(({ lines }) =>
      lines.map((line) => (JSON.parse(line) as { payload: { n: number } }).payload.n),
    )
}

it('there are fixtures of every version that is out', () => {
  const changelog = readFileSync(sourcePath('CHANGELOG.md'), 'utf8')
  const versions = [...changelog.matchAll(/^## (\d+\.\d+\.\d+)/gm)].map(([, version]) => version)
  expect(versions.length).toBeGreaterThan(1)
  expect(names).toEqual(
    versions.flatMap((version) => [`${version}-killed`, `${version}-stopped`]).toSorted(),
  )
})

describe.each(names)('the spool folder %s', (name) => {
  it('I3, I4, I5: opens, is delivered in order, and balances', async () => {
    const fixture = JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8')) as SpoolFixture
    const dataDir = join(folder, 'data')
    mkdirSync(dataDir)
    execFileSync('tar', ['-C', dataDir, '-xzf', join(FOLDER, `${name}.tar.gz`)])
    const sink = await ScriptedSink.start()
    try {
      const { sections } = fixture
      const gateway = await GatewayProcess.start({ folder, dataDir, sinkUrl: sink.url, sections })
      const status = await gateway.untilStatus('all delivered', ({ streams }) =>
        streams.every(({ counters, parked }) => counters.pending === 0 && parked === 0),
      )
      assertBalanced(status)
      expect(gateway.countOf('spool.damage')).toBe(0)
      const kept = Object.fromEntries(status.streams.map((s) => [s.name, s.deadLetters.kept]))
      expect(kept).toEqual(fixture.deadLetters)

      const resumed = sink.requests.find(
        ({ headers }) => headers['idempotency-key'] === fixture.inFlight.key,
      )
      expect(resumed && createHash('sha256').update(resumed.rawBody).digest('hex')).toBe(
        fixture.inFlight.sha256,
      )
      for (const [stream, owed] of Object.entries(fixture.owed)) {
        expect(readingsOf(sink.requests, stream)).toEqual(owed)
      }
      if (fixture.openPacket) await finishPacket(gateway, fixture.openPacket)
      const received = (one: typeof status): number =>
        one.streams.reduce((n, s) => n + s.counters.received, 0)
      expect(received(await gateway.status())).toBe(received(status))
    } finally {
      await sink.close()
    }
  })
})

/**
 * The device repeats its PUBLISH: it was stored, so it gets a PUBREC and nothing is stored twice.
 */
async function finishPacket(
  gateway: GatewayProcess,
  { clientId, id, topic, payload }: NonNullable<SpoolFixture['openPacket']>,
): Promise<void> {
  const client = await RawMqtt.connect(gateway.mqttPort, { clientId, clean: false })
  expect(client.sessionPresent).toBe(true)
  client.send(packet.publish(topic, payload, { qos: 2, id, dup: true }))
  expect(await client.acks(1, TYPE.PUBREC)).toEqual([id])
  client.send(packet.pubrel(id))
  expect(await client.acks(1, TYPE.PUBCOMP)).toEqual([id])
  client.cut()
}
