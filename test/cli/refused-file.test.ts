/**
 * A configuration file that was spoiled beside a gateway that runs: commands find it all the same,
 * and say what it goes on with.
 */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadSections } from '../../gateway/config/load.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { OneNumberSink } from '../support/one-number-sink.ts'
import { reapProcesses, runProgram } from '../support/process.ts'

let folder: string
let sink: OneNumberSink
let gateway: GatewayProcess

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-refused-'))
  sink = await OneNumberSink.start()
})
afterEach(async () => {
  await reapProcesses()
  await sink.close()
  rmSync(folder, { recursive: true, force: true })
})

const WARNING = /^warning: the configuration is refused, sluice check says why; .*\n$/

function spoil(how: (config: Record<string, object>) => void): void {
  const config = JSON.parse(readFileSync(gateway.configPath, 'utf8')) as Record<string, object>
  how(config)
  writeFileSync(gateway.configPath, JSON.stringify(config))
}

const run = (...args: string[]) => runProgram('gateway', [...args, '--config', gateway.configPath])

test('commands ask the gateway that runs, and the doctor names the fault', async () => {
  gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
  spoil((config) => Object.assign(config, { streems: {}, mqtt: { port: 'none' } }))
  for (const [command, ...args] of [['status'], ['devices'], ['streams', 'list']] as const) {
    const { exit, stdout, stderr } = await run(command, ...args)
    expect([command, exit.code, stderr]).toEqual([command, 0, expect.stringMatching(WARNING)])
    expect(stdout).not.toBe('')
  }
  const doctor = await run('doctor', '--json')
  expect(doctor.exit.code).toBe(1)
  const { diagnoses } = JSON.parse(doctor.stdout) as {
    diagnoses: { check: string; detail: string }[]
  }
  const fault = diagnoses.find(({ check }) => check === 'configuration')
  expect(fault?.detail).toMatch(/cannot be used, and what runs goes on: .*streems/)
  const reload = await run('reload')
  expect(reload.exit.code).toBe(1)
  expect(reload.stdout).toContain('streems')
  // The same fault, told once: that a reload was refused over it is no other one.
  const again = JSON.parse((await run('doctor', '--json')).stdout) as { diagnoses: object[] }
  const told = again.diagnoses.filter((one) => JSON.stringify(one).includes('streems'))
  expect(told).toHaveLength(1)
  const bundle = join(folder, 'bundle.tar.gz')
  const packed = await run('support-bundle', '--out', bundle)
  expect(packed.stdout).toMatch(/configuration-problems\.txt.*configuration\.yaml.*status\.json/)
  await gateway.stop()
  const stopped = await run('status')
  expect([stopped.exit.code, stopped.stdout]).toEqual([2, ''])
  expect(stopped.stderr).toContain('streems')
})

test('another gateway at the place that is left is not taken for the one of the file', async () => {
  gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
  const { port } = new URL(gateway.adminUrl)
  const other = join(folder, 'other.yaml')
  writeFileSync(other, `admin: { port: ${port} }\nstreems: {}\n`)
  const own = await runProgram('gateway', ['status', '--config', other])
  expect([own.exit.code, own.stdout]).toEqual([2, ''])
  const named = await runProgram('gateway', ['status', '-c', other, '--url', gateway.adminUrl])
  expect([named.exit.code, named.stderr]).toEqual([0, expect.stringMatching(WARNING)])
})

test('what answers there and is no gateway does not hide the refusal', async () => {
  const server = createServer((_, response) => {
    response.writeHead(404).end('not here')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const file = join(folder, 'sluice.yaml')
  writeFileSync(file, `admin: { port: ${port} }\nstreems: {}\n`)
  for (const command of ['status', 'reload', 'doctor']) {
    const { exit, stderr } = await runProgram('gateway', [command, '--config', file])
    expect([command, exit.code, stderr]).toEqual([command, 2, expect.stringContaining('streems')])
  }
  server.close()
})

test('in a file that is no YAML, what can be read is used', async () => {
  gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
  const { gateway: own } = JSON.parse(readFileSync(gateway.configPath, 'utf8')) as {
    gateway: object
  }
  writeFileSync(gateway.configPath, `gateway: ${JSON.stringify(own)}\nmqtt:\n\tport: 1\n`)
  const { exit, stderr } = await run('status')
  expect([exit.code, stderr]).toEqual([0, expect.stringMatching(WARNING)])
})

test.each([
  ['gateway: { dataDir: ./here, nix: 1, stopTimeout: long }\nmqtt: 7\n', 'here', 9464],
  ['gateway: { dataDir: ./here }\nadmin: { port: 70000 }\n', 'here', 9464],
  ['gateway: { dataDir: ./here }\nadmin: { port: 9000, host: 7 }\nstreams: [1]\n', 'here', 9000],
  ['- a list\n', 'data', 9464],
  ['gateway:\n  dataDir: "./here"\n  id: [\n', 'here', 9464],
])('of %j the place is %s and port %s', (text, data, port) => {
  const file = join(folder, 'sluice.yaml')
  writeFileSync(file, text)
  const names = new Set(['gateway', 'admin'])
  const place = loadSections(SCHEMA.root, { file, env: {}, cwd: folder }, names)
  expect([place.gateway.dataDir, place.admin.port]).toEqual([join(folder, data), port])
})
