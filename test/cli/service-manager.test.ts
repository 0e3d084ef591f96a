/**
 * What a service manager is told by a gateway that runs, at a real datagram socket: python's, as
 * systemd does not run where tests do.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { serviceManager } from '../../gateway/cli/service-manager.ts'
import { builtFile, type RunningProcess, reapProcesses, startProcess } from '../support/process.ts'
import { describeWithTool } from '../support/tool-tests.ts'

/** Prints each message, and `quiet` when none came for `quietSeconds`. */
const RECEIVER = `
import os, select, socket, sys
path, quiet_seconds = sys.argv[1], float(sys.argv[2])
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind(path)
print("listening", flush=True)
while True:
    if not select.select([receiver], [], [], quiet_seconds)[0]:
        print("quiet", flush=True)
        continue
    message, barriers, _, _ = socket.recv_fds(receiver, 4096, 8)
    for barrier in barriers: os.close(barrier)
    if not barriers: print(message.decode(), flush=True)
`

const PATIENCE_MS = 300
const QUIET_SECONDS = 2

let folder: string
let socket: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-notify-'))
  socket = join(folder, 'notify')
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

async function startReceiver(): Promise<RunningProcess> {
  const receiver = startProcess('python3', ['-c', RECEIVER, socket, String(QUIET_SECONDS)])
  await receiver.waitForLine('listening')
  return receiver
}

/** The next line behind the last `after`-th that says `text`. */
async function nextLine(receiver: RunningProcess, text: string, after: number): Promise<number> {
  await receiver.waitForLine((line) => {
    return line.text === text && receiver.lines.indexOf(line) >= after
  }, 20_000)
  return receiver.lines.length
}

const ENV = {
  SLUICE__MQTT__LISTENERS__0__PORT: '0',
  SLUICE__ADMIN__PORT: '0',
  SLUICE__SPOOL__MIN_FREE_BYTES: '1MiB',
  WATCHDOG_USEC: String(PATIENCE_MS * 1_000),
}

describeWithTool(['python3', 'systemd-notify'], 'a service manager', () => {
  test('hears that devices are served, that the gateway lives while its event loop turns, and that it stops', async () => {
    const receiver = await startReceiver()
    // The pid is the gateway's: exec keeps it, as the unit's /usr/bin/env does.
    const shell = `WATCHDOG_PID=$$ exec '${process.execPath}' '${builtFile('gateway/sluice.cjs')}' start`
    const gateway = startProcess('sh', ['-c', shell], {
      cwd: folder,
      env: { ...ENV, NOTIFY_SOCKET: socket },
    })
    await gateway.waitForLine('Ctrl-C stops it.', 20_000)
    await nextLine(receiver, 'READY=1', 0)
    await receiver.waitForLine(/^STATUS=Serves devices as /)
    const alive = await nextLine(receiver, 'WATCHDOG=1', 0)

    gateway.kill('SIGSTOP')
    const quiet = await nextLine(receiver, 'quiet', alive)
    gateway.kill('SIGCONT')
    await nextLine(receiver, 'WATCHDOG=1', quiet)

    const asked = receiver.lines.length
    gateway.kill('SIGHUP')
    const ready = await nextLine(receiver, 'READY=1', asked)
    const since = receiver.lines.slice(asked).map(({ text }) => text)
    const begun = since.indexOf('RELOADING=1')
    expect(begun).toBeGreaterThanOrEqual(0)
    expect(begun).toBeLessThan(since.indexOf('READY=1'))
    // Of the same message: the time by which the manager tells reloads apart.
    expect(since[begun + 1]).toMatch(/^MONOTONIC_USEC=\d+$/)

    gateway.kill('SIGTERM')
    expect(await gateway.waitForExit(20_000)).toMatchObject({ code: 0 })
    await nextLine(receiver, 'STOPPING=1', ready)
    expect(receiver.lines.filter(({ text }) => text === 'READY=1')).toHaveLength(2)
    expect(gateway.stderr).not.toContain('service manager')
  })

  test('hears no beat while only a restart would help, and why; and beats again afterwards', async () => {
    const receiver = await startReceiver()
    const said: string[] = []
    let health = { ok: true, reasons: [] as string[] }
    const env = { ...process.env, NOTIFY_SOCKET: socket, WATCHDOG_USEC: '300000' }
    const manager = serviceManager(env, (line) => said.push(line))
    manager.ready('Serves', () => health)
    const alive = await nextLine(receiver, 'WATCHDOG=1', 0)
    health = { ok: false, reasons: ['a commit has been running for 121 s'] }
    const why = await nextLine(
      receiver,
      'STATUS=Not alive: a commit has been running for 121 s',
      alive,
    )
    const quiet = await nextLine(receiver, 'quiet', why)
    const lines = receiver.lines.slice(why, quiet).map(({ text }) => text)
    expect(lines).not.toContain('WATCHDOG=1')
    health = { ok: true, reasons: [] }
    await nextLine(receiver, 'WATCHDOG=1', quiet)
    manager.stopping()
    await nextLine(receiver, 'STOPPING=1', quiet)
    expect(said).toEqual([])
  })

  test('hears the beats again after systemd-notify failed, which is said once', async () => {
    const said: string[] = []
    let saidFirst: () => void = () => undefined
    const first = new Promise<void>((resolve) => {
      saidFirst = resolve
    })
    const env = { ...process.env, NOTIFY_SOCKET: socket, WATCHDOG_USEC: '300000' }
    const manager = serviceManager(env, (line) => {
      said.push(line)
      saidFirst()
    })
    // Nobody listens there yet.
    manager.ready('Serves', () => ({ ok: true, reasons: [] }))
    await first
    const receiver = await startReceiver()
    await nextLine(receiver, 'WATCHDOG=1', 0)
    manager.stopping()
    await nextLine(receiver, 'STOPPING=1', 0)
    expect(said).toHaveLength(1)
    expect(said[0]).toContain('Type=exec')
  })

  test('that does not ask, or asks another process, gets no beat', async () => {
    const receiver = await startReceiver()
    const env = {
      ...process.env,
      NOTIFY_SOCKET: socket,
      WATCHDOG_USEC: '300000',
      WATCHDOG_PID: '1',
    }
    const manager = serviceManager(env, () => undefined)
    manager.ready('Serves', () => ({ ok: true, reasons: [] }))
    await nextLine(receiver, 'READY=1', 0)
    await nextLine(receiver, 'quiet', 0)
    expect(receiver.lines.map(({ text }) => text)).not.toContain('WATCHDOG=1')
    manager.stopping()
  })
})
