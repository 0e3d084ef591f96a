/** What `sluice check --try` says of a folder. */
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ProbeStep } from '../../../gateway/ports/sink.ts'
import type { FileSinkConfig } from '../../../gateway/sink/file/config.ts'
import { probeFolder } from '../../../gateway/sink/file/probe.ts'
import { fileSinkConfig } from './configs.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-file-probe-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function probe(changes: Partial<FileSinkConfig>, dataDir = '/proc'): Promise<ProbeStep[]> {
  const config = fileSinkConfig({ folder, minFreeBytes: 0, ...changes })
  return [...(await probeFolder({ name: 'stick', config, dataDir })).steps]
}

test('a folder that takes files: each step is told, and nothing is left there', async () => {
  const steps = await probe({})
  expect(steps.map(({ step, verdict }) => [step, verdict])).toEqual([
    ['folder', 'ok'],
    ['room', 'ok'],
    ['write', 'ok'],
    ['durable', 'ok'],
  ])
  expect(readdirSync(folder)).toEqual([])
})

test('one that is not there is a problem, and is not made', async () => {
  const [step, ...more] = await probe({ folder: join(folder, 'stick') })
  expect(step).toMatchObject({ step: 'folder', verdict: 'problem' })
  expect(step?.detail).toMatch(/ENOENT.*mount the disk/)
  expect(more).toEqual([])
  expect(existsSync(join(folder, 'stick'))).toBe(false)
})

test('so is one without its marker, or without room', async () => {
  expect((await probe({ marker: '.here' }))[0]).toMatchObject({ verdict: 'problem' })
  const [step] = await probe({ minFreeBytes: Number.MAX_SAFE_INTEGER })
  expect(step?.detail).toMatch(/bytes free/)
})

test('one on the disk of the spool is worth a word, also before there is a data folder', async () => {
  for (const dataDir of [folder, join(folder, 'data', 'below')])
    expect((await probe({}, dataDir)).at(-1)).toMatchObject({
      step: 'mount',
      verdict: 'warning',
      detail: expect.stringContaining('file system of the data folder') as string,
    })
})

const isMounted = existsSync('/dev/shm') && statSync('/dev/shm').dev !== statSync('/dev').dev

test.runIf(isMounted)('so is a mount point without a marker', async () => {
  const steps = await probe({ folder: '/dev/shm' })
  expect(steps.at(-1)?.detail).toMatch(/where a disk is mounted.*set marker/)
})
