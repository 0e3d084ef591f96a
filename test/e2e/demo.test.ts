import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { DemoResult } from '../../device-sim/demo/demo.ts'
import { reapProcesses, runProgram } from '../support/process.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-e2e-demo-'))
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true })
})

describe('the whole, through real processes and sockets', () => {
  test.each(['20261123', '4'])(
    'I1, I2, I3, I4, I5: cuts, an outage, lost answers and a SIGKILL lose, double and reorder nothing (seed %s)',
    async (seed) => {
      const args = ['demo', '--devices', '40', '--seconds', '12', '--seed', seed, '--json']
      const { exit, stdout, stderr } = await runProgram('device-sim', args, {
        timeoutMs: 160_000,
        env: { TMPDIR: folder },
      })
      expect(stderr).toMatch(new RegExp(`^PASS \\(seed ${seed}\\)$`, 'm'))
      expect(exit.code).toBe(0)
      // It says what happens, and what to do next.
      expect(stderr).toMatch(
        /the cloud goes down[^]*killed \(SIGKILL\)[^]*gateway is back[^]*npm start/,
      )
      expect(stderr).toMatch(
        / s {2}the cloud is back: [\d,]+ records wait for it|the cloud is back$/m,
      )
      const { verdict, account, checks } = JSON.parse(stdout) as DemoResult
      expect(checks.filter((check) => !check.ok)).toEqual([])
      // It was not an empty run, and both kinds of devices took part.
      expect(verdict.acked[1]).toBeGreaterThan(200)
      expect(verdict.acked[2]).toBeGreaterThan(200)
      expect(account?.received).toBe(verdict.storedReadings + verdict.qos1Repeats)
      expect(readdirSync(folder), 'a demo that passes leaves nothing behind').toEqual([])
    },
    180_000,
  )
})
