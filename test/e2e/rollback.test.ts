/**
 * A disk that was rolled back under a stopped gateway, so that nothing on the box can tell: only
 * the sink sees other records under numbers that it has. A real gateway and the reference cloud.
 */
import {
  cpSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { Cloud } from '../../device-sim/cloud/cloud.ts'
import { readStore } from '../../device-sim/cloud/store/store.ts'
import type { Status } from '../../gateway/ports/status.ts'
import type { Place } from '../../gateway/spool/disk/place.ts'
import { assertBalanced, GatewayProcess } from '../support/gateway-process.ts'
import { builtProgram, reapProcesses, runToEnd } from '../support/process.ts'
import { packet, RawMqtt } from '../support/raw-mqtt.ts'

/** Publishes the readings, and waits for their acks. */
async function publish(gateway: GatewayProcess, from: number, to: number): Promise<void> {
  const client = await RawMqtt.connect(gateway.mqttPort, { clientId: 'press-7' })
  for (let n = from; n <= to; n++) {
    client.send(packet.publish('plant/press-7', `{"n":${n}}`, { qos: 1, id: n }))
  }
  await client.acks(to - from + 1)
  client.cut()
}

/** What a rolled-back volume says of its files: that all of them are the ones that were written. */
function keepPlace(dataDir: string): void {
  const path = join(dataDir, 'place')
  const mark = (name: string): { inode: string; birth: string } => {
    const { ino, birthtimeNs } = statSync(join(dataDir, name), { bigint: true })
    return { inode: String(ino), birth: String(birthtimeNs) }
  }
  const place = JSON.parse(readFileSync(path, 'utf8')) as Place
  writeFileSync(
    path,
    JSON.stringify({ ...place, files: { place: mark('place'), lease: mark('seq-lease') } }),
  )
}

it('I4: a rollback that the box cannot see holds the stream, and a new spool id ends that without a loss', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-rollback-'))
  const store = join(folder, 'cloud')
  const cloud = await Cloud.start({ dir: store })
  try {
    const gateway = await GatewayProcess.start({ folder, sinkUrl: cloud.url })
    const { dataDir } = gateway
    const drained = ({ streams }: Status): boolean =>
      streams.every(({ counters, delivery }) => counters.pending === 0 && delivery.state === 'ok')
    await publish(gateway, 1, 5)
    await gateway.untilStatus('1 to 5 are delivered', drained)
    await gateway.stop()
    cpSync(dataDir, `${dataDir}.bak`, { recursive: true, preserveTimestamps: true })
    await gateway.start()
    await publish(gateway, 6, 10)
    await gateway.untilStatus('6 to 10 are delivered', drained)
    await gateway.stop()
    rmSync(dataDir, { recursive: true })
    renameSync(`${dataDir}.bak`, dataDir)
    keepPlace(dataDir)
    await gateway.start()
    expect(gateway.countOf('spool.identity-changed'), 'the box cannot tell').toBe(0)
    await publish(gateway, 11, 13)

    const held = await gateway.untilStatus('held', ({ streams }) =>
      streams.some((s) => s.delivery.state === 'held'),
    )
    expect(held.streams[0]?.delivery.why).toContain('sluice spool new-id')
    expect(held.streams[0]?.counters.pending).toBe(3)
    expect(cloud.stats.violationExamples[0]).toMatch(/^seq 6 of .* is stored with another record$/)

    const { exit } = await runToEnd(process.execPath, [
      builtProgram('gateway'),
      'spool',
      'new-id',
      '--config',
      gateway.configPath,
    ])
    expect(exit.code).toBe(0)
    const status = await gateway.untilStatus('delivered under the new id', drained)
    assertBalanced(status)
    expect(status.streams[0]?.counters).toMatchObject({ received: 8, delivered: 8 })
    const readings: number[] = []
    for await (const { line } of readStore(store)) {
      readings.push((JSON.parse(line.toString()) as { payload: { n: number } }).payload.n)
    }
    expect(readings.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 13 }, (_, i) => i + 1))
  } finally {
    await reapProcesses()
    await cloud.close()
    rmSync(folder, { recursive: true, force: true })
  }
})
