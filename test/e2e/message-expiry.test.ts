/**
 * `messageExpiry: honor` over an outage: a real gateway, a real client of MQTT 5, and a sink that
 * is not there until readings are of no use any more.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectAsync } from 'mqtt'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { freePort } from '../../device-sim/free-ports.ts'
import { assertBalanced, GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses } from '../support/process.ts'
import { ScriptedSink } from '../support/scripted-sink.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-expiry-'))
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

const EXPIRY_SECONDS = 1
const READINGS = 30

test('I8, I9: what expired while the link was down is not sent, but counted and reported', async () => {
  const port = await freePort()
  const gateway = await GatewayProcess.start({
    folder,
    sinkUrl: `http://127.0.0.1:${port}/ingest`,
    sections: {
      streams: {
        short: { topics: ['short/#'], messageExpiry: 'honor' },
        kept: { topics: ['kept/#'] },
      },
    },
  })
  const device = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
    protocolVersion: 5,
    clientId: 'press-7',
  })
  const publish = async (n: number): Promise<void> => {
    // Every third is of use for long.
    const properties = n % 3 === 0 ? {} : { messageExpiryInterval: EXPIRY_SECONDS }
    for (const stream of ['short', 'kept'])
      await device.publishAsync(`${stream}/press-7`, `{"n":${n}}`, { qos: 1, properties })
  }
  for (let n = 0; n < READINGS; n += 1) await publish(n)
  // They are in a batch that was tried, and never left.
  await gateway.untilStatus('tried', ({ sinks }) =>
    sinks.some(({ requests }) => (requests['retry'] ?? 0) > 0),
  )
  await sleep(EXPIRY_SECONDS * 1000)
  const sink = await ScriptedSink.start({ port })
  try {
    await fetch(`${gateway.adminUrl}/api/sinks/cloud/retry`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    })
    await gateway.untilStatus('all gone', ({ streams }) =>
      streams.every(({ counters }) => counters.pending === 0),
    )
    // The next batch tells of the gaps.
    await publish(READINGS * 3)
    const status = await gateway.untilStatus('all delivered', ({ streams }) =>
      streams.every(({ counters }) => counters.pending === 0),
    )
    assertBalanced(status)
    const numbers = (stream: string): number[] =>
      sink.stored
        .filter(({ headers }) => headers['sluice-stream'] === stream)
        .flatMap(({ lines }) =>
          lines.map((line) => (JSON.parse(line) as { payload: { n: number } }).payload.n),
        )
    const all = [...Array.from({ length: READINGS }, (_, n) => n), READINGS * 3]
    expect(numbers('kept')).toEqual(all)
    expect(numbers('short')).toEqual(all.filter((n) => n % 3 === 0))
    const expired = status.streams.map(({ counters }) => counters.dropped['expired-by-device'])
    expect(expired).toEqual([READINGS * (2 / 3), 0])
    const gaps = sink.stored.map(({ headers }) => headers['sluice-gap']).join()
    // Seqs begin at 1: of each three the first stays.
    expect(gaps).toContain('2-3;reason=expired-by-device, 5-6;reason=expired-by-device')
  } finally {
    await device.endAsync(true)
    await sink.close()
  }
})
