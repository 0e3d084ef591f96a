/** What a version makes of a spool folder that another one left behind. */
import { createHash } from 'node:crypto'
import { expect } from 'vitest'
import type { SpoolFixture } from '../fixtures/spools/fixture.ts'
import { assertBalanced, type GatewayOptions, GatewayProcess } from '../support/gateway-process.ts'
import { packet, RawMqtt, TYPE } from '../support/raw-mqtt.ts'
import { type ScriptedRequest, ScriptedSink } from '../support/scripted-sink.ts'

function readingsOf(requests: readonly ScriptedRequest[], stream: string): number[] {
  return requests
    .filter(({ headers }) => headers['sluice-stream'] === stream)
    .flatMap(({ lines }) =>
      lines.map((line) => (JSON.parse(line) as { payload: { n: number } }).payload.n),
    )
}

/** I3, I4, I5: it opens without damage, all that was owed is delivered in order, and it balances. */
export async function judgeFolder(
  fixture: SpoolFixture,
  place: Omit<GatewayOptions, 'sections' | 'sinkUrl'>,
): Promise<void> {
  const sink = await ScriptedSink.start()
  try {
    const { sections } = fixture
    const gateway = await GatewayProcess.start({ ...place, sinkUrl: sink.url, sections })
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
}

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
