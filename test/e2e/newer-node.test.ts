/**
 * The gateway under a newer long-term Node than the one that runs the tests: it starts, takes
 * readings, delivers them over a kill, and tells how it stands. The suite itself is for the older.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { errorMessage } from '../../gateway/shared/errors.ts'
import { newerNodeProgram } from '../sink/kafka/newer-node.ts'
import { assertBalanced, GatewayProcess } from '../support/gateway-process.ts'
import { builtProgram, reapProcesses, runToEnd } from '../support/process.ts'
import { packet, RawMqtt } from '../support/raw-mqtt.ts'
import { ScriptedSink } from '../support/scripted-sink.ts'
import { toolsAreRequired } from '../support/tools.ts'

const READINGS = 500

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-newer-'))
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

function program(): string | Error {
  try {
    return newerNodeProgram()
  } catch (error) {
    if (toolsAreRequired()) throw error
    return error instanceof Error ? error : new Error(errorMessage(error))
  }
}

test('I1, I5: start, publish, kill, drain, status and stop', async (context) => {
  const node = program()
  if (node instanceof Error) {
    context.skip(node.message.slice(0, 200))
    return
  }
  const version = (await runToEnd(node, ['--version'])).stdout
  expect(Number.parseInt(version.slice(1), 10)).toBeGreaterThanOrEqual(22)
  const sink = await ScriptedSink.start({ script: () => ({ status: 503 }) })
  const gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url, node })
  const device = await RawMqtt.connect(gateway.mqttPort, { clientId: 'plc-1' })
  for (let n = 1; n <= READINGS; n += 1)
    device.send(packet.publish('hall/x', `{"n":${n}}`, { qos: 1, id: n }))
  expect(await device.acks(READINGS)).toHaveLength(READINGS)
  await gateway.kill()
  sink.script = [{}]
  await gateway.start()
  const status = await gateway.untilStatus('all delivered', ({ streams }) =>
    streams.every(({ counters }) => counters.delivered === READINGS),
  )
  assertBalanced(status)
  expect(gateway.countOf('spool.damage')).toBe(0)
  const shown = await runToEnd(node, [
    builtProgram('gateway'),
    'devices',
    '--json',
    '--config',
    gateway.configPath,
  ])
  expect(shown.exit.code, shown.stderr).toBe(0)
  expect((await gateway.stop()).code).toBe(0)
  await sink.close()
}, 180_000)
