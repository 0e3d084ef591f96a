/** The tests of the sinks catch what they are for: each fails over the defect that is planted for it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { reapProcesses, runToEnd } from '../../support/process.ts'
import { sourcePath } from '../../support/source-path.ts'
import { DEFECTS, MODULE_CACHE_VARIABLE, type Verdict } from './defects.ts'

const RUN_MS = 180_000

let folder: string
let verdicts: readonly Verdict[] = []
let output = ''

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-defects-'))
  const config = sourcePath('test/sink/defects/vitest.config.ts')
  const args = [sourcePath('node_modules/vitest/vitest.mjs'), 'run', '--config', config]
  const env = { [MODULE_CACHE_VARIABLE]: folder }
  const run = await runToEnd(process.execPath, args, { env, timeoutMs: RUN_MS })
  output = `${run.stdout}\n${run.stderr}`
  verdicts = run.stdout
    .split('\n')
    .filter((line) => line.startsWith('{"defect":'))
    .map((line) => JSON.parse(line) as Verdict)
}, RUN_MS)

afterAll(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

test('each defect has a name of its own', () => {
  expect(new Set(DEFECTS.map(({ what }) => what)).size).toBe(DEFECTS.length)
})

test.each(DEFECTS)('$what: caught by "$check"', ({ what, check }) => {
  const ran = verdicts.filter((one) => one.defect === what && one.test.includes(check))
  expect(ran, `the test did not run\n${output}`).not.toEqual([])
  const errors = ran.flatMap(({ error }) => error ?? [])
  expect(errors, 'it passes over the defect').not.toEqual([])
  // What cannot even run is no defect.
  for (const error of errors) expect(error).not.toMatch(/^(?:Reference|Syntax|Type)Error/)
})
