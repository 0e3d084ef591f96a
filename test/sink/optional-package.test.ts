/** Client libraries that single types of sink need: found, missing, or too new for this Node. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type * as yaml from 'yaml'
import { OptionalPackage } from '../../gateway/sink/optional-package.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-package-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function install(name: string, exports: unknown): void {
  const path = join(folder, 'node_modules', name)
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, 'package.json'), JSON.stringify({ name, type: 'module', exports }))
  writeFileSync(join(path, 'index.js'), 'export const here = true\n')
}

test('one that is missing is named with the command, until it is there', async () => {
  const from = pathToFileURL(join(folder, 'module.js')).href
  const missing = new OptionalPackage({ name: '@made/up', version: '1.2.3' }, { from })
  const fault = '@made/up is not installed: npm install --no-save --save-prod @made/up@1.2.3'
  expect(missing.fault).toBe(fault)
  await expect(missing.load()).rejects.toThrow(fault)
  install('@made/up', './index.js')
  expect(missing.fault).toBeNull()
})

test('in a checkout the command says where', () => {
  writeFileSync(join(folder, 'package.json'), '{}')
  const from = pathToFileURL(join(folder, 'dist', 'module.js')).href
  const { fault } = new OptionalPackage({ name: '@made/up', version: '1.2.3' }, { from })
  expect(fault).toContain(`npm install --no-save --save-prod @made/up@1.2.3 --prefix ${folder}`)
})

test('in an installed package the command installs beside it', () => {
  const from = pathToFileURL(join(folder, 'node_modules', 'sluice', 'module.js')).href
  const { fault } = new OptionalPackage({ name: '@made/up', version: '1.2.3' }, { from })
  expect(fault).toContain('npm install --global @made/up@1.2.3')
})

test('in a bundle with its own Node, which has no npm, it is built in', () => {
  writeFileSync(join(folder, 'package.json'), '{}')
  const from = pathToFileURL(join(folder, 'dist', 'module.js')).href
  const node = join(dirname(folder), 'node')
  const { fault } = new OptionalPackage({ name: '@made/up', version: '1.2.3' }, { from, node })
  expect(fault).toContain('with @made/up@1.2.3 in SINK_PACKAGES')
})

test('one that only import finds is there', () => {
  install('modules-only', { import: './index.js' })
  const from = pathToFileURL(join(folder, 'module.js')).href
  expect(new OptionalPackage({ name: 'modules-only', version: '1.0.0' }, { from }).fault).toBeNull()
})

test.each([
  ['20.20.2', 'needs Node 22.22 or newer, this one is 20.20.2'],
  ['22.21.9', 'needs Node 22.22 or newer'],
  ['22.22.0', null],
  ['24.0.0', null],
])('on Node %s: %s', (nodeVersion, words) => {
  const wanted = { name: 'vitest', version: '4.0.0', node: '22.22' }
  const { fault } = new OptionalPackage(wanted, { nodeVersion })
  if (words === null) expect(fault).toBeNull()
  else expect(fault).toContain(words)
})

test('one that is there is loaded', async () => {
  const library = new OptionalPackage<typeof yaml>({ name: 'yaml', version: '2.0.0' })
  expect((await library.load()).parse('a: 1')).toEqual({ a: 1 })
})
