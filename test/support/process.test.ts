import { afterEach, describe, expect, test } from 'vitest'
import { reapProcesses, runToEnd, startProcess } from './process.ts'

afterEach(reapProcesses)

const node = process.execPath

describe('process', () => {
  test('a line is found whether it came before or after the call', async () => {
    const one = startProcess(node, [
      '-e',
      'console.log("first"); setTimeout(() => console.error("second"), 50); setInterval(() => {}, 1000)',
    ])
    expect(await one.waitForLine('first')).toEqual({ from: 'stdout', text: 'first' })
    expect(await one.waitForLine(/^sec/)).toEqual({ from: 'stderr', text: 'second' })
    expect(await one.waitForLine('first')).toEqual({ from: 'stdout', text: 'first' })
    expect(await one.reap()).toEqual({ code: null, signal: 'SIGKILL' })
  })

  test('an early exit fails the wait and shows the output', async () => {
    const one = startProcess(node, ['-e', 'console.error("why it failed"); process.exit(3)'])
    await expect(one.waitForLine('never')).rejects.toThrow(
      /exited before[^]*code 3[^]*why it failed/,
    )
  })

  test('a process that hangs is ended hard at the time-out', async () => {
    const one = startProcess(node, [
      '-e',
      'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)',
    ])
    await expect(one.waitForExit(200)).rejects.toThrow(/did not exit within 200 ms/)
    expect(one.exit).toEqual({ code: null, signal: 'SIGKILL' })
  })

  test('input, code and both outputs are handed over', async () => {
    const { exit, stdout, stderr } = await runToEnd(
      node,
      ['-e', 'process.stdin.pipe(process.stdout); console.error("e"); process.exitCode = 2'],
      { input: 'in' },
    )
    expect({ exit, stdout, stderr }).toEqual({
      exit: { code: 2, signal: null },
      stdout: 'in',
      stderr: 'e\n',
    })
  })

  test('a program that does not exist ends at once with the reason', async () => {
    const one = startProcess('/no/such/program', [])
    expect(await one.waitForExit()).toEqual({ code: null, signal: null })
    expect(one.lines[0]?.text).toMatch(/ENOENT/)
  })
})
