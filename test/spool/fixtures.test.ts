/**
 * Spool folders that earlier versions left behind: each opens, is delivered and balances. See
 * test/fixtures/spools/README.md.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SpoolFixture } from '../fixtures/spools/fixture.ts'
import { reapProcesses } from '../support/process.ts'
import { sourcePath } from '../support/source-path.ts'
import { judgeFolder } from './fixture-judge.ts'

const FOLDER = new URL('../fixtures/spools/', import.meta.url).pathname
const names = readdirSync(FOLDER).flatMap((name) => /^(.+)\.tar\.gz$/.exec(name)?.[1] ?? [])

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-fixture-'))
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

it('there are fixtures of every version that is out', () => {
  const changelog = readFileSync(sourcePath('CHANGELOG.md'), 'utf8')
  const versions = [...changelog.matchAll(/^## (\d+\.\d+\.\d+)/gm)].map(([, version]) => version)
  expect(versions.length).toBeGreaterThan(1)
  expect(names).toEqual(
    versions.flatMap((version) => [`${version}-killed`, `${version}-stopped`]).toSorted(),
  )
})

describe.each(names)('the spool folder %s', (name) => {
  it('I3, I4, I5: opens, is delivered in order, and balances', async () => {
    const fixture = JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8')) as SpoolFixture
    const dataDir = join(folder, 'data')
    mkdirSync(dataDir)
    execFileSync('tar', ['-C', dataDir, '-xzf', join(FOLDER, `${name}.tar.gz`)])
    await judgeFolder(fixture, { folder, dataDir })
  })
})
