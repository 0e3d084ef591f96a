/** Signals to a real gateway: what each is for, and that none does harm. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses, runProgram } from '../support/process.ts'
import { packet, RawMqtt } from '../support/raw-mqtt.ts'

let folder: string
let gateway: GatewayProcess

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-signals-'))
  const passwords = join(folder, 'passwords')
  await runProgram('gateway', ['passwd', '--file', passwords, 'press-7'], { input: 'hunter2\n' })
  gateway = await GatewayProcess.prepare({
    folder,
    sinkUrl: 'http://127.0.0.1:9/ingest',
    sections: { mqtt: { auth: { passwordFile: passwords } } },
  })
  await gateway.start()
})

afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

async function acknowledges(id: number): Promise<void> {
  const login = { clientId: 'press-7', username: 'press-7', password: 'hunter2' }
  const device = await RawMqtt.connect(gateway.mqttPort, login)
  device.send(packet.publish('a/b', '{"v":1}', { qos: 1, id }))
  expect(await device.acks(1)).toEqual([id])
  device.cut()
}

test('SIGHUP reads files anew; SIGUSR1 opens no debugger, SIGUSR2 and others do nothing; a Ctrl-C that comes twice is one', async () => {
  const { process: child } = gateway
  expect(gateway.countOf('broker.credentials-loaded')).toBe(1)
  child.kill('SIGHUP')
  await child.waitForLine('SIGHUP: nothing differs from what is in force')
  await child.waitForLine(() => gateway.countOf('broker.credentials-loaded') === 2)
  for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGPIPE'] as const) {
    child.kill(signal)
    if (signal !== 'SIGPIPE') await child.waitForLine(`${signal} does nothing here`)
  }
  await acknowledges(7)
  expect(child.lines.filter(({ text }) => text.includes('Debugger'))).toEqual([])
  child.kill('SIGINT')
  await child.waitForLine('sluice: stopping')
  child.kill('SIGINT')
  expect(await child.waitForExit(15_000)).toEqual({ code: 0, signal: null })
  // The next start finds what an orderly stop leaves behind.
  await gateway.start()
  const status = await gateway.status()
  expect(status.streams[0]?.counters.pending).toBe(1)
  expect(await gateway.event('spool.opened')).toMatchObject({ clean: true })
})
