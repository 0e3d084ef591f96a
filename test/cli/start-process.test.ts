/**
 * `sluice start` as a real process: a gateway that a person can follow from the first line to the
 * last.
 */
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Status } from '../../gateway/ports/status.ts'
import {
  builtProgram,
  type RunningProcess,
  reapProcesses,
  runProgram,
  runToEnd,
  startProgram,
} from '../support/process.ts'
import { testWithTool } from '../support/tool-tests.ts'

const modules = fileURLToPath(new URL('../../node_modules/.bin', import.meta.url))

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-started-'))
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

/** Free ports; a sink that nobody listens at, so that readings stay in the spool. */
const ENV = {
  SLUICE__MQTT__LISTENERS__0__PORT: '0',
  SLUICE__ADMIN__PORT: '0',
  SLUICE__SPOOL__MIN_FREE_BYTES: '1MiB',
  UV_THREADPOOL_SIZE: '8',
}

/** Resolves when the whole hint is there. */
async function start(): Promise<{ readonly gateway: RunningProcess; readonly adminUrl: string }> {
  const gateway = startProgram('gateway', ['start'], { cwd: folder, env: ENV })
  await gateway.waitForLine('Ctrl-C stops it.', 20_000)
  const adminUrl = /(http:\/\/127\.0\.0\.1:\d+)\/metrics/.exec(gateway.stderr)?.[1] ?? ''
  return { gateway, adminUrl }
}

async function status(...args: string[]): Promise<Status> {
  const { exit, stdout, stderr } = await runProgram('gateway', ['status', '--json', ...args], {
    cwd: folder,
    env: ENV,
  })
  expect(exit.code, stderr).toBe(0)
  return JSON.parse(stdout) as Status
}

/** Runs a command of the hint as a person would. */
async function follow(gateway: RunningProcess, program: RegExp): Promise<void> {
  const command =
    gateway.lines.map(({ text }) => text.trim()).find((text) => program.test(text)) ?? 'false'
  const PATH = `${modules}${delimiter}${process.env['PATH'] ?? ''}`
  const { exit, stderr } = await runToEnd('/bin/sh', ['-c', command.replace(/^npx /, '')], {
    env: { PATH },
  })
  expect(exit.code, `${command}\n${stderr}`).toBe(0)
}

test('the hint works as printed: the reading is in the spool, status shows it running and stopped', async () => {
  const { gateway, adminUrl } = await start()
  await follow(gateway, /^npx mqtt pub /)
  const running = await status('--url', adminUrl)
  expect(running.streams[0]?.counters).toMatchObject({ received: 1, pending: 1 })
  expect(running.accepting).toBe(true)
  // Its own addresses are no fault.
  const tried = await runProgram('gateway', ['check', '--try'], { cwd: folder, env: ENV })
  expect(tried.stdout).toMatch(/^# addresses: not tried, process \d+ owns the data folder/m)
  const advice = gateway.lines
    .map(({ text }) => text.trim())
    .find((text) => text.endsWith(' status'))
  expect(advice).toBe(`node ${builtProgram('gateway').replace('main.js', 'sluice.cjs')} status`)
  gateway.kill('SIGTERM')
  expect(await gateway.waitForExit(25_000)).toEqual({ code: 0, signal: null })
  expect(gateway.stderr).toContain('sluice: stopping; a second signal stops at once')
  const stopped = await status()
  expect(stopped).toMatchObject({ uptimeSeconds: null, broker: null, sinks: [] })
  expect(stopped.streams[0]?.counters).toEqual(running.streams[0]?.counters)
  const verified = await runProgram('gateway', ['spool', 'verify'], { cwd: folder, env: ENV })
  expect(verified).toMatchObject({ exit: { code: 0 }, stdout: '1 block checked: all there\n' })
})

testWithTool('mosquitto_pub', 'the hint for mosquitto works as printed, too', async () => {
  const { gateway, adminUrl } = await start()
  await follow(gateway, /^mosquitto_pub /)
  expect((await status('--url', adminUrl)).streams[0]?.counters.received).toBe(1)
})

test('only one process can own a data folder; the second one, and a command for stopped ones, say who does', async () => {
  const { gateway } = await start()
  for (const args of [['start'], ['spool', 'restore-aside']]) {
    const { exit, stderr } = await runProgram('gateway', args, { cwd: folder, env: ENV })
    expect(exit.code).toBe(1)
    expect(stderr).toContain(`in use by process ${gateway.pid}`)
    // A command that only looks does not tell its user to end what runs.
    expect(stderr.includes('(kill ')).toBe(args[0] === 'start')
  }
})

test('a command beside it needs neither address nor token: the socket in its data folder is for its own user', async () => {
  const env = { ...ENV, SLUICE__ADMIN__HOST: '0.0.0.0', SLUICE__MQTT__ALLOW_ANONYMOUS: 'true' }
  const gateway = startProgram('gateway', ['start'], { cwd: folder, env })
  await gateway.waitForLine('Ctrl-C stops it.', 20_000)
  const socket = join(folder, 'data/admin.sock')
  expect(statSync(socket).mode & 0o777).toBe(0o600)
  // As in a container: the configuration says 0.0.0.0 without a token, which over the network
  // serves metrics alone.
  expect((await status()).accepting).toBe(true)
  await gateway.reap()
  expect(existsSync(socket)).toBe(true)
  expect((await status()).accepting).toBe(false)
})

test('I1: a kill without a stop loses no acknowledged reading; the next start has it', async () => {
  const first = await start()
  await follow(first.gateway, /^npx mqtt pub /)
  await first.gateway.reap()
  const second = await start()
  expect((await status('--url', second.adminUrl)).streams[0]?.counters).toMatchObject({
    received: 1,
    pending: 1,
  })
})
