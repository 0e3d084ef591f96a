/**
 * What an operator said about a full or an old stream holds through an outage, whatever a batch
 * covers: a real gateway, real devices, and a sink that is not there or does not answer.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { freePort } from '../../device-sim/free-ports.ts'
import type { StreamStatus } from '../../gateway/ports/status.ts'
import { assertBalanced, GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses } from '../support/process.ts'
import { Qos1Device } from '../support/qos1-device.ts'
import { packet, RawMqtt } from '../support/raw-mqtt.ts'
import { type Script, ScriptedSink } from '../support/scripted-sink.ts'

const KIB = 1024

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-retention-'))
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

async function streamOf(gateway: GatewayProcess, name: string): Promise<StreamStatus> {
  const stream = (await gateway.status()).streams.find((one) => one.name === name)
  if (!stream) throw new Error(`no stream ${name}`)
  return stream
}

/** The device publishes so many readings more, and each is acknowledged. @throws when acks stop */
async function publishes(device: Qos1Device, readings: number): Promise<void> {
  const until = device.acked.length + readings
  let [seen, seenMs] = [device.acked.length, performance.now()]
  while (device.acked.length < until) {
    device.check()
    if (device.acked.length > seen) [seen, seenMs] = [device.acked.length, performance.now()]
    if (performance.now() - seenMs > 10_000) throw new Error(`no ack for 10 s, behind ${seen}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

function readingsOf(sink: ScriptedSink, stream: string): number[] {
  return sink.stored
    .filter(({ headers }) => headers['sluice-stream'] === stream)
    .flatMap(({ lines }) =>
      lines.map((line) => (JSON.parse(line) as { payload: { n: number } }).payload.n),
    )
}

const DEAD: ReadonlyArray<readonly [name: string, kib: number, script: Script | null]> = [
  ['is not there', 256, null],
  ['takes requests and never answers', 1024, [{ halfOpen: true }]],
]

describe.each(DEAD)('a sink that %s', (_, kib, script) => {
  it('I6: a full stream drops its oldest and never withholds acks', async () => {
    const port = await freePort()
    const sink = script && (await ScriptedSink.start({ port, script }))
    const gateway = await GatewayProcess.start({
      folder,
      sinkUrl: `http://127.0.0.1:${port}/ingest`,
      sink: { timeout: '700ms' },
      sections: {
        streams: {
          a: { topics: ['a'] },
          old: { topics: ['plant/#'], maxBytes: `${kib}KiB`, whenFull: 'drop-oldest' },
        },
      },
    })
    const other = await RawMqtt.connect(gateway.mqttPort)
    other.send(packet.publish('a', '{"n":1}', { qos: 1, id: 1 }))
    await other.acks(1)
    const device = new Qos1Device('press-7')
    await device.connect(gateway.mqttPort)
    device.begin()
    try {
      // Enough to fill it before a batch is tried, and several times over behind it.
      await publishes(device, 2 * kib)
      // The other stream goes first, so that this one's batch is as large as it may be.
      await gateway.untilStatus('both were tried', ({ sinks }) =>
        sinks.some(({ requests }) => (requests['retry'] ?? 0) >= 3),
      )
      const before = await streamOf(gateway, 'old')
      await publishes(device, 6 * kib)
      device.pause()
      const after = await streamOf(gateway, 'old')
      const dropped = (of: StreamStatus): number => of.counters.dropped['dropped-oldest'] ?? 0
      expect(dropped(after)).toBeGreaterThan(dropped(before))
      expect(after.storedBytes).toBeLessThanOrEqual(kib * KIB)

      await device.close()
      await sink?.close()
      const alive = await ScriptedSink.start({ port })
      await fetch(`${gateway.adminUrl}/api/sinks/cloud/retry`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
      })
      const status = await gateway.untilStatus('all delivered', ({ streams }) =>
        streams.every(({ counters }) => counters.pending === 0),
      )
      assertBalanced(status)
      const arrived = readingsOf(alive, 'old')
      expect(arrived).toEqual(arrived.toSorted((a, b) => a - b))
      expect(arrived, 'the newest are what it kept').toContain(device.acked.at(-1))
      expect(readingsOf(alive, 'a')).toEqual([1])
      await alive.close()
    } finally {
      await device.close()
      await sink?.close()
    }
  })
})

it('I8: maxAge takes what waits in a batch that never left; one that may have arrived stays as it is', async () => {
  const [nobody, silent] = [
    await freePort(),
    await ScriptedSink.start({ script: [{ halfOpen: true }] }),
  ]
  const gateway = await GatewayProcess.start({
    folder,
    sinkUrl: silent.url,
    sink: { timeout: '300s' },
    sections: {
      sinks: {
        cloud: { url: silent.url, timeout: '300s', linger: '0s' },
        gone: { url: `http://127.0.0.1:${nobody}/ingest`, linger: '0s' },
      },
      streams: {
        unsent: { topics: ['unsent'], sink: 'gone', maxAge: '2s' },
        sent: { topics: ['sent'], maxAge: '2s' },
      },
    },
  })
  const client = await RawMqtt.connect(gateway.mqttPort)
  const publish = async (topic: string, n: number): Promise<void> => {
    client.send(packet.publish(topic, `{"n":${n}}`, { qos: 1, id: n }))
    await client.acks(1)
  }
  await publish('sent', 1)
  await silent.waitForRequests(1)
  await publish('sent', 2)
  await publish('unsent', 3)
  const status = await gateway.untilStatus('all that may expire has', ({ streams }) =>
    streams.every(({ counters }) => counters.dropped['expired'] === 1),
  )
  assertBalanced(status)
  expect(Object.fromEntries(status.streams.map((s) => [s.name, s.counters.pending]))).toEqual({
    sent: 1,
    unsent: 0,
  })
  await silent.close()
})
