/** The configuration that the file sink's README shows is one, whole. */
import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ConfigFolder } from '../../config/folder.ts'
import { sourcePath } from '../../support/source-path.ts'

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

test('the configuration in README loads without a warning, and names a file sink', () => {
  const text = readFileSync(sourcePath('gateway/sink/file/README.md'), 'utf8')
  const yaml = /```yaml\n([\s\S]*?)```/.exec(text)?.[1] ?? ''
  const { config, warnings } = folder.load(yaml)
  expect(config.sinks['stick']).toMatchObject({ type: 'file', layout: 'days', linger: 60_000 })
  expect(warnings).toEqual([])
})
