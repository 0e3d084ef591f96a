/**
 * Whatever becomes of standard output and standard error, the gateway lives, acknowledges and stops
 * in order (I1, I6): a full disk, a reader that is gone or reads nothing, descriptors that are
 * closed, a terminal that went away.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { GatewayProcess } from '../support/gateway-process.ts'
import {
  builtFile,
  builtProgram,
  type RunningProcess,
  reapProcesses,
  runToEnd,
  startProcess,
} from '../support/process.ts'
import { packet, RawMqtt, TYPE } from '../support/raw-mqtt.ts'
import { testWithTool } from '../support/tool-tests.ts'

let folder: string
let gateway: GatewayProcess

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-outlets-'))
  gateway = await GatewayProcess.prepare({ folder, sinkUrl: 'http://127.0.0.1:9/ingest' })
})

afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

/** `wiring`: what the shell does to the standard descriptors of the gateway that it becomes. */
function startWired(wiring: string): RunningProcess {
  const command = `exec ${process.execPath} ${builtProgram('gateway')} start --config ${gateway.configPath} ${wiring}`
  return startProcess('/bin/sh', ['-c', command], { env: { UV_THREADPOOL_SIZE: '8' } })
}

/** @throws with what the shell said if it has ended */
async function untilReady(child: RunningProcess): Promise<void> {
  let hasEnded = false
  void child.waitForExit(60_000).then(
    () => (hasEnded = true),
    () => undefined,
  )
  for (;;) {
    if (hasEnded) throw new Error(`the gateway has ended: ${child.stderr}`)
    const answer = await fetch(`${gateway.adminUrl}/readyz`).catch(() => null)
    if (answer?.ok === true) return
    await sleep(20)
  }
}

/**
 * Connections that are refused, each with a line of its own in the log; then one reading that is
 * acknowledged.
 */
async function acknowledges(): Promise<void> {
  const device = await RawMqtt.connect(gateway.mqttPort, { clientId: 'press-7' })
  device.send(packet.publish('a/b', '{"v":1}', { qos: 1, id: 7 }))
  const ack = await device.next(TYPE.PUBACK)
  expect(ack.body.readUInt16BE(0)).toBe(7)
  device.cut()
}

async function stops(child: RunningProcess): Promise<void> {
  child.kill('SIGTERM')
  expect(await child.waitForExit(15_000)).toEqual({ code: 0, signal: null })
}

describe('the gateway lives and stops in order', () => {
  test.each([
    ['on a disk that is full', '>/dev/full 2>/dev/full'],
    ['with descriptors that are closed', '<&- >&- 2>&-'],
    ['with a pipe that nobody reads any more', '| true'],
  ])('%s', async (_, wiring) => {
    const child = startWired(wiring)
    if (wiring !== '| true') {
      await untilReady(child)
      await acknowledges()
      await stops(child)
      return
    }
    // The shell waits for both ends; the gateway itself is known by its folder.
    await untilReady(child)
    await acknowledges()
    process.kill(ownerPid(), 'SIGTERM')
    expect(await child.waitForExit(15_000)).toEqual({ code: 0, signal: null })
  })

  test('I6: behind readers that have stopped, with their pipes full', async () => {
    const [out, err] = [join(folder, 'out'), join(folder, 'err')]
    execFileSync('mkfifo', [out, err])
    const readers = [out, err].map((path) =>
      openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
    )
    // Both pipes are filled first: whatever it says, nothing of it is taken.
    // However large the system makes them.
    const fill = [out, err]
      .map((pipe) => `dd if=/dev/zero of=${pipe} bs=4096 oflag=nonblock 2>/dev/null;`)
      .join(' ')
    const child = startProcess(
      '/bin/sh',
      [
        '-c',
        `${fill} exec ${process.execPath} ${builtProgram('gateway')} start --config ${gateway.configPath} >${out} 2>${err}`,
      ],
      { env: { UV_THREADPOOL_SIZE: '8' } },
    )
    await untilReady(child)
    await acknowledges()
    await stops(child)
    const buffer = Buffer.alloc(2 ** 20, 1)
    for (const fd of readers) {
      const read = buffer.subarray(0, readSync(fd, buffer))
      expect(read.length).toBeGreaterThanOrEqual(4096)
      expect(read.every((byte) => byte === 0)).toBe(true)
      closeSync(fd)
    }
  })

  testWithTool('script', 'when its terminal is gone, and SIGHUP stops it no more', async () => {
    const code = join(folder, 'code')
    // The shell is deaf to SIGHUP and reports how the gateway ended, which is not deaf: Node sets
    // signals back.
    const inner = `trap '' HUP; ${process.execPath} ${builtProgram('gateway')} start --config ${gateway.configPath}; echo $? >${code}`
    const terminal = startProcess('script', ['-qec', inner, '/dev/null'], {
      env: { UV_THREADPOOL_SIZE: '8', SHELL: '/bin/sh' },
    })
    await terminal.waitForLine('Ctrl-C stops it.', 20_000)
    const pid = ownerPid()
    await terminal.reap()
    await acknowledges()
    process.kill(pid, 'SIGHUP')
    await acknowledges()
    process.kill(pid, 'SIGTERM')
    while (!existsSync(code) || readFileSync(code, 'utf8') === '') await sleep(20)
    expect(readFileSync(code, 'utf8')).toBe('0\n')
  })
})

test('I9: lines that a full disk cost are counted, and said once it takes lines again', async () => {
  const log = join(folder, 'log')
  const script = `
    import { openSync, truncateSync, statSync } from 'node:fs'
    import { LineWriter, MAX_BUFFERED_BYTES } from ${JSON.stringify(builtFile('gateway/shared/output/line-writer.js'))}
    const lines = new LineWriter(openSync(${JSON.stringify(log)}, 'a'), { retryMs: 10 })
    const said = []
    lines.onLost = (count, why) => said.push({ count, why })
    const line = 'x'.repeat(1023) + '\\n'
    for (let i = 0; i < 9; i++) lines.write(line)
    await new Promise((resolve) => setTimeout(resolve, 100))
    const count = MAX_BUFFERED_BYTES / line.length - 1 + 100
    for (let i = 0; i < count; i++) lines.write(line)
    await new Promise((resolve) => setTimeout(resolve, 100))
    const before = { size: statSync(${JSON.stringify(log)}).size, said: said.length, dropped: lines.droppedLines }
    // Room again, a file of the allowed size at a time.
    const room = setInterval(() => truncateSync(${JSON.stringify(log)}, 0), 5)
    while (said.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    clearInterval(room)
    console.log(JSON.stringify({ before, said, dropped: lines.droppedLines }))
    process.exit(0)`
  // A file may have 8 blocks of 1,024 bytes: what is beyond fails with EFBIG as on a disk that is
  // full.
  const { stdout, stderr } = await runToEnd('bash', [
    '-c',
    `ulimit -f 8; exec ${process.execPath} --input-type=module -e "$0"`,
    script,
  ])
  assert.equal(stderr, '')
  const result = JSON.parse(stdout) as {
    before: unknown
    said: Array<{ count: number; why: string }>
    dropped: number
  }
  expect(result.before).toEqual({ size: 8_192, said: 0, dropped: 100 })
  expect(result.said).toEqual([{ count: 100, why: expect.stringContaining('EFBIG') }])
})

/** Of the gateway, from its folder. */
function ownerPid(): number {
  return (JSON.parse(readFileSync(join(gateway.dataDir, 'owner.json'), 'utf8')) as { pid: number })
    .pid
}
