/**
 * `sluice support-bundle`: what is in it, of a gateway that runs, of one that does not, and of a
 * configuration that is refused. That no secret is in it: test/e2e/secrets.test.ts.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parse } from 'yaml'
import { tar } from '../../gateway/cli/bundle/tar.ts'
import type { DoctorReport } from '../../gateway/cli/doctor/report.ts'
import type { Status } from '../../gateway/ports/status.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses, runProgram } from '../support/process.ts'
import { ScriptedSink } from '../support/scripted-sink.ts'

let folder: string
let receiver: ScriptedSink
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-bundle-'))
  receiver = await ScriptedSink.start()
})
afterEach(async () => {
  await reapProcesses()
  await receiver.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Manifest {
  readonly parts: readonly string[]
  readonly missing: ReadonlyArray<{ readonly name: string; readonly why: string }>
}

interface Bundle {
  readonly manifest: Manifest
  readonly text: (name: string) => string
  readonly json: (name: string) => unknown
}

/** Unpacked by the system's tar. */
function unpack(path: string): Bundle {
  const names = execFileSync('tar', ['-tzf', path]).toString().trim().split('\n')
  const [top] = new Set(names.map((name) => name.split('/')[0]))
  execFileSync('tar', ['-xzf', path, '-C', folder])
  const text = (name: string) => readFileSync(join(folder, String(top), name), 'utf8')
  const json = (name: string): unknown => JSON.parse(text(name))
  const manifest = json('manifest.json') as Manifest
  expect(names).toEqual(['manifest.json', ...manifest.parts].map((name) => `${top}/${name}`))
  return { manifest, text, json }
}

async function bundle(...args: readonly string[]): Promise<Bundle> {
  const out = join(folder, 'bundle.tar.gz')
  const { exit, stdout } = await runProgram('gateway', ['support-bundle', '-o', out, ...args])
  expect(exit.code).toBe(0)
  expect(stdout).toContain(`${out}: `)
  expect(statSync(out).mode & 0o777).toBe(0o600)
  return unpack(out)
}

const WHOLE = [
  'machine.json',
  'recent-log.ndjson',
  'configuration.yaml',
  'warnings.txt',
  'status.json',
  'doctor.txt',
  'doctor.json',
  'metrics.txt',
  'data-folder.json',
]

test('of a gateway that runs, with a reading: everything but the reading', async () => {
  const token = 'spelled-out-token'
  const gateway = await GatewayProcess.start({
    folder,
    sinkUrl: receiver.url,
    sink: { bearerToken: token, allowInsecure: true },
    sections: { streams: { telemetry: { sink: 'cloud', maxBytes: '900000GiB' } } },
  })
  const device = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`)
  await device.publishAsync('plant/press-7/temp', '{"celsius":21.4375}', { qos: 1 })
  await device.endAsync()
  const { manifest, text, json } = await bundle('-c', gateway.configPath)
  expect(manifest).toMatchObject({ parts: WHOLE, missing: [] })
  expect((json('status.json') as Status).streams[0]?.counters.received).toBe(1)
  expect(text('metrics.txt')).toMatch(/^sluice_spool_received_records_total\{.*\} 1$/m)
  expect(text('warnings.txt')).toContain('exceeds the free disk')
  expect((json('doctor.json') as DoctorReport).running).toBe(true)
  expect(text('doctor.txt')).toMatch(/\(the gateway runs\)$/m)
  expect(parse(text('configuration.yaml'))).toMatchObject({
    sinks: { cloud: { bearerToken: '(hidden)' } },
  })
  const lines = text('recent-log.ndjson').trimEnd().split('\n')
  const events = lines.map((line) => (JSON.parse(line) as { event?: string }).event)
  expect(events).toContain('broker.started')
  const { entries } = json('data-folder.json') as { entries: Array<{ path: string }> }
  expect(entries.map(({ path }) => path)).toContain('owner.json')
  expect(json('machine.json')).toMatchObject({ node: process.versions.node })
  const everything = manifest.parts.map(text).join('\n')
  expect(everything).not.toContain(token)
  expect(everything).not.toContain('21.4375')
})

test('of a gateway that does not run: the status of its folder, its log by its file', async () => {
  const gateway = await GatewayProcess.start({ folder, sinkUrl: receiver.url })
  await gateway.stop()
  const log = join(folder, 'sluice.log')
  writeFileSync(log, `${'x'.repeat(2 * 1024 * 1024)}\n{"msg":"the last"}\n`)
  const { manifest, text, json } = await bundle('-c', gateway.configPath, '--log', log)
  expect(manifest.missing).toEqual([
    { name: 'metrics.txt', why: 'the gateway does not run, or was not found' },
  ])
  expect(json('status.json')).toMatchObject({ uptimeSeconds: null, gateway: 'edge-01' })
  expect(text('recent-log.ndjson')).toBe('{"msg":"the last"}\n')
})

test('of a configuration that is refused: why, and what there is without one', async () => {
  const file = join(folder, 'sluice.yaml')
  writeFileSync(file, 'admin: { token: spelled-out-token }\ngatway: {}\n')
  const { manifest, text } = await bundle('-c', file)
  expect(manifest.parts).toEqual(['machine.json', 'configuration-problems.txt'])
  expect(text('configuration-problems.txt')).toMatch(/sluice\.yaml:2: gatway: .*write gateway/)
})

test('goes over no file that is there, and leaves no torn one', async () => {
  const file = join(folder, 'sluice.yaml')
  writeFileSync(file, 'gatway: {}\n')
  const there = await runProgram('gateway', ['support-bundle', '-c', file, '-o', file])
  expect(there.exit.code).toBe(1)
  expect(there.stderr).toContain(`${file} cannot be written: it exists already`)
  const full = await runProgram('gateway', [
    'support-bundle',
    '-c',
    file,
    '-o',
    '/no/such/b.tar.gz',
  ])
  expect(full.exit.code).toBe(1)
  expect(full.stderr).toContain(
    '/no/such/b.tar.gz cannot be written: its folder is not there; make it, or name another (ENOENT)',
  )
})

test('the archive is what tar makes of texts of any length', () => {
  const entries = [0, 1, 511, 512, 513, 100_000].map((length) => ({
    name: `folder/${length}.txt`,
    content: 'ä'.repeat(length),
  }))
  const path = join(folder, 'texts.tar')
  writeFileSync(path, tar(entries, Date.UTC(2026, 0, 2)))
  for (const { name, content } of entries)
    expect(execFileSync('tar', ['-xOf', path, name]).toString()).toBe(content)
  expect(execFileSync('tar', ['-tvf', path], { env: { TZ: 'UTC' } }).toString()).toContain(
    '2026-01-02 00:00',
  )
})
