/**
 * A backup beside a running gateway, and its restore: real processes, real files, the reference
 * cloud.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { assertBalanced, GatewayProcess } from '../support/gateway-process.ts'
import { builtProgram, reapProcesses, runToEnd } from '../support/process.ts'
import { packet, RawMqtt } from '../support/raw-mqtt.ts'
import { ScriptedSink } from '../support/scripted-sink.ts'

let folder: string
let sink: ScriptedSink
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-backup-'))
  sink = await ScriptedSink.start({ script: [{ status: 503 }] })
})
afterEach(async () => {
  await reapProcesses()
  await sink.close()
  rmSync(folder, { recursive: true, force: true })
})

async function publish(gateway: GatewayProcess, from: number, to: number): Promise<void> {
  const client = await RawMqtt.connect(gateway.mqttPort, { clientId: 'press-7' })
  for (let n = from; n <= to; n++) client.send(packet.publish('t', `{"n":${n}}`, { qos: 1, id: n }))
  await client.acks(to - from + 1)
  client.cut()
}

async function sluice(
  gateway: GatewayProcess,
  ...args: string[]
): Promise<{ code: number | null; text: string }> {
  const { exit, stdout, stderr } = await runToEnd(process.execPath, [
    builtProgram('gateway'),
    'spool',
    ...args,
    '--config',
    gateway.configPath,
  ])
  return { code: exit.code, text: stdout + stderr }
}

it('a copy that the disk does not take whole is named, and nothing half written is left', async () => {
  const gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
  await publish(gateway, 1, 40)
  const file = join(folder, 'copy')
  const [stream] = (await gateway.status()).streams
  for (const words of [`spool backup ${file}`, `streams export ${stream?.name} --out ${file}`]) {
    // A file has at most 1 KiB here.
    const command = `ulimit -f 1; exec ${process.execPath} ${builtProgram('gateway')} ${words} --config ${gateway.configPath}`
    const { exit, stderr } = await runToEnd('/bin/bash', ['-c', command])
    expect(exit.code).toBe(1)
    expect(stderr).toMatch(
      new RegExp(`^sluice: ${file} cannot be written whole, and was removed: EFBIG`),
    )
    expect(existsSync(file)).toBe(false)
  }
  await gateway.stop()
})

it('I4: what was backed up beside a running gateway comes back, under a fresh spool id, and nothing is overwritten', async () => {
  const gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
  const file = join(folder, 'spool.backup')
  await publish(gateway, 1, 40)
  const made = await sluice(gateway, 'backup', file)
  expect(made).toMatchObject({
    code: 0,
    text: expect.stringContaining('40 pending records') as string,
  })
  expect((await sluice(gateway, 'backup', file)).text).toContain('exists already')
  await publish(gateway, 41, 50)
  const before = await gateway.status()
  expect((await sluice(gateway, 'restore', file)).code, 'while it runs').not.toBe(0)
  await gateway.stop()

  const refused = await sluice(gateway, 'restore', file)
  expect(refused.code).not.toBe(0)
  expect(refused.text).toContain('holds a spool already')
  const restored = await sluice(gateway, 'restore', file, '--replace')
  expect(restored).toMatchObject({
    code: 0,
    text: expect.stringContaining('40 pending records') as string,
  })
  expect(restored.text).toContain('before-restore-')

  sink.script = [{}]
  await gateway.start()
  await publish(gateway, 51, 53)
  const status = await gateway.untilStatus('all delivered', ({ streams }) =>
    streams.every(({ counters }) => counters.pending === 0),
  )
  assertBalanced(status)
  expect(status.spool.id).not.toBe(before.spool.id)
  expect(gateway.countOf('spool.damage')).toBe(0)
  const lines = sink.stored.flatMap((request) => request.lines)
  const records = lines.map((line) => JSON.parse(line) as { id: string; payload: { n: number } })
  expect(records.map(({ payload }) => payload.n)).toEqual([
    ...Array.from({ length: 40 }, (_, i) => i + 1),
    51,
    52,
    53,
  ])
  expect(records.filter(({ id }) => id.includes(before.spool.id))).toHaveLength(40)
})

it('a backup that is cut or changed anywhere is refused, and the folder stays as it is', async () => {
  const gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
  await publish(gateway, 1, 5)
  await gateway.stop()
  const file = join(folder, 'spool.backup')
  expect((await sluice(gateway, 'backup', file)).code, 'of a stopped one').toBe(0)
  const whole = readFileSync(file)
  const middle = Buffer.from(whole)
  middle[whole.length >> 1] = (middle[whole.length >> 1] ?? 0) ^ 1
  for (const bytes of [
    whole.subarray(0, -1),
    whole.subarray(0, whole.length >> 1),
    middle,
    Buffer.from('no backup'),
  ]) {
    writeFileSync(file, bytes)
    expect((await sluice(gateway, 'restore', file, '--replace')).code).not.toBe(0)
  }
  sink.script = [{}]
  await gateway.start()
  await gateway.untilStatus('all delivered', ({ streams }) =>
    streams.every((s) => s.counters.delivered === 5),
  )
})
