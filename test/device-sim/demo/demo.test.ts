import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { DemoResult } from '../../../device-sim/demo/demo.ts'
import { reapProcesses, runProgram } from '../../support/process.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-demo-test-'))
})
afterEach(async () => {
  await reapProcesses()
  // A demo that fails leaves what there is, for a person to look at.
  rmSync(folder, { recursive: true })
})

const forgetful = fileURLToPath(new URL('forgetful-gateway.mjs', import.meta.url))

describe('demo', () => {
  test('I1: a gateway that acknowledges from memory is caught: FAIL, exit code 1, the lost readings named', async () => {
    expect(existsSync(forgetful)).toBe(true)
    const { exit, stdout, stderr } = await runProgram(
      'device-sim',
      [
        'demo',
        '--gateway',
        forgetful,
        '--devices',
        '20',
        '--seconds',
        '8',
        '--seed',
        '3',
        '--json',
      ],
      { timeoutMs: 100_000, env: { TMPDIR: folder } },
    )
    expect(stderr).toMatch(/^FAIL \(seed 3\)$/m)
    expect(exit.code).toBe(1)
    const result = JSON.parse(stdout) as DemoResult
    const check = (what: string): boolean | undefined =>
      result.checks.find((one) => one.what === what)?.ok
    expect(result.verdict.lost).toBeGreaterThan(0)
    expect(check('acknowledged and lost')).toBe(false)
    expect(stderr).toMatch(/was acknowledged and is lost/)
    // What this gateway does not get wrong is not held against it, and the faults were all there.
    for (const fine of [
      'stored bytes that were never published',
      'gateway killed (SIGKILL)',
      'cloud outages',
    ]) {
      expect(check(fine), fine).toBe(true)
    }
    expect(check('connections dropped by the fleet')).toBe(true)
    expect(check('answers lost after storing')).toBe(true)
  }, 120_000)

  test('a gateway that does not start is a FAIL with its last words, at once', async () => {
    const { exit, stdout } = await runProgram(
      'device-sim',
      ['demo', '--gateway', '/no/such/gateway.js', '--seconds', '5'],
      {
        timeoutMs: 30_000,
        env: { TMPDIR: folder },
      },
    )
    expect(stdout).toMatch(/FAIL: the gateway did not start[^]*Cannot find module/)
    expect(exit.code).toBe(1)
  })
})
