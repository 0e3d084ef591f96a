/** What the file sink's README shows: its configuration is whole, its commands read the files. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createFileSink } from '../../../gateway/sink/file/sink.ts'
import { ConfigFolder } from '../../config/folder.ts'
import { sourcePath } from '../../support/source-path.ts'
import { testWithTool } from '../../support/tool-tests.ts'
import { batchOf, never, recordLine } from '../http/batches.ts'
import { fileSinkConfig } from './configs.ts'

const text = readFileSync(sourcePath('gateway/sink/file/README.md'), 'utf8')

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

test('the configuration in README loads without a warning, and names a file sink', () => {
  const yaml = /```yaml\n([\s\S]*?)```/.exec(text)?.[1] ?? ''
  const { config, warnings } = folder.load(yaml)
  expect(config.sinks['stick']).toMatchObject({ type: 'file', layout: 'days', linger: 60_000 })
  expect(warnings).toEqual([])
})

testWithTool(
  ['sh', 'zcat', 'awk'],
  'its commands print the records in order, and once',
  async () => {
    const stick = mkdtempSync(join(tmpdir(), 'sluice-file-readme-'))
    const config = fileSinkConfig({ folder: stick, minFreeBytes: 0, layout: 'days' })
    const sink = createFileSink({ name: 'stick', config, emit: () => undefined })
    try {
      const nextDay = { receivedAtMs: Date.parse('2026-11-24T00:00:01.000Z') }
      // Seqs 3 to 11 came again in another form, as after a change of the sink's type.
      for (const batch of [batchOf(1, 9), batchOf(10, 11), batchOf(3, 12, nextDay)])
        expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts' })
      const commands = [...text.matchAll(/^zcat .*$/gm)].map(([line]) => {
        expect(line).toContain('/mnt/stick/sluice/')
        return line.replaceAll('/mnt/stick/sluice', stick)
      })
      const [all, once] = commands.map((line) => execFileSync('sh', ['-c', line]).toString())
      const lines = (first: number, last: number) =>
        Array.from({ length: last - first + 1 }, (_, index) => recordLine(first + index)).join('')
      expect(all).toBe(lines(1, 11) + lines(3, 12))
      expect(once).toBe(lines(1, 12))
    } finally {
      await sink.close()
      rmSync(stick, { recursive: true, force: true })
    }
  },
)
