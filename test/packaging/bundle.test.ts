/** What bundles are made of, without making one: licenses, pins, client libraries. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { SINK_TYPES } from '../../gateway/sink/registry.ts'
import { reapProcesses, runToEnd } from '../support/process.ts'
import { sourcePath } from '../support/source-path.ts'

const bundle = sourcePath('gateway/packaging/bundle')
const MIT = 'Permission is hereby granted, free of charge'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-bundle-'))
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

/** Of a package of this license, with these files. */
async function notices(license: string, files: Readonly<Record<string, string>>) {
  const app = join(folder, 'app')
  const inner = join(app, 'node_modules/outer/node_modules/@scope/inner')
  rmSync(app, { recursive: true, force: true })
  mkdirSync(inner, { recursive: true })
  const manifest = (name: string): string => JSON.stringify({ name, version: '1.2.3', license })
  for (const [path, name] of [
    [join(app, 'node_modules/outer'), 'outer'],
    [inner, '@scope/inner'],
  ] as const) {
    writeFileSync(join(path, 'package.json'), manifest(name))
    for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text)
  }
  const license24 = join(folder, 'node-license')
  const sbom = join(folder, 'sbom.json')
  writeFileSync(license24, 'The license of Node')
  writeFileSync(
    sbom,
    JSON.stringify({ serialNumber: 'urn:1', metadata: { timestamp: 'now' }, components: [] }),
  )
  const args = [join(bundle, 'notices.cjs'), app, license24, '24.0.0', sbom, folder]
  const { exit, stderr } = await runToEnd(process.execPath, args)
  if (exit.code !== 0) throw new Error(stderr)
  return {
    notices: readFileSync(join(folder, 'NOTICES'), 'utf8'),
    sbom: JSON.parse(readFileSync(join(folder, 'sluice.cdx.json'), 'utf8')) as unknown,
  }
}

test('notices hold the license of Node and of every package, however deep; the SBOM has Node', async () => {
  const made = await notices('MIT', { LICENSE: `${MIT} by outer and inner` })
  for (const title of ['Node 24.0.0', 'outer 1.2.3 (MIT)', '@scope/inner 1.2.3 (MIT)'])
    expect(made.notices).toContain(`\n${title}\n`)
  expect(made.notices).toContain('The license of Node')
  expect(made.notices.match(/by outer and inner/g)).toHaveLength(2)
  expect(made.sbom).toMatchObject({
    metadata: {},
    components: [{ name: 'node', version: '24.0.0', purl: 'pkg:generic/node@24.0.0' }],
  })
  expect(JSON.stringify(made.sbom)).not.toMatch(/serialNumber|timestamp/)
})

test('a text that stands at the end of a README counts', async () => {
  const made = await notices('ISC', { 'README.md': `# It\n\n## License\n\n${MIT}, in a README\n` })
  expect(made.notices).toContain('in a README')
})

test('no bundle is made of a package whose license is not allowed, or that has no text', async () => {
  await expect(notices('GPL-3.0-only', { LICENSE: MIT })).rejects.toThrow('not among those allowed')
  await expect(notices('MIT', { 'README.md': '## License\n\nMIT\n' })).rejects.toThrow(
    'without the text',
  )
})

test('every package that Sluice depends on has a license that is allowed', () => {
  const script = readFileSync(join(bundle, 'notices.cjs'), 'utf8')
  const list = /ALLOWED = new Set\(\[([^\]]+)\]/.exec(script)?.[1] ?? ''
  const allowed: string[] = list.match(/[\w.-]+(?=')/g) ?? []
  expect(allowed.length).toBeGreaterThan(3)
  const { packages } = JSON.parse(readFileSync(sourcePath('package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; license?: string }>
  }
  const production = Object.entries(packages).filter(([, { dev }]) => dev !== true)
  expect(production.length).toBeGreaterThan(50)
  const others = production.filter(([, { license = '' }]) => !allowed.includes(license))
  expect(others.map(([path, { license }]) => `${path}: ${license}`)).toEqual([])
})

test('the build has the client libraries in the versions that their sinks were tested with', () => {
  const build = readFileSync(join(bundle, 'build'), 'utf8')
  const named = /SINK_PACKAGES=([^}]*)\}/.exec(build)?.[1]?.split(' ') ?? []
  const known: string[] = Object.values(SINK_TYPES).flatMap((type) =>
    'packages' in type ? type.packages.map(({ spec }) => spec) : [],
  )
  expect(named.length).toBe(2)
  expect(named.filter((spec) => !known.includes(spec))).toEqual([])
})

test('a file that is not what the build expects is told apart', async () => {
  const file = join(folder, 'archive')
  writeFileSync(file, 'abc')
  const right =
    'sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=='
  const judge = async (integrity: string): Promise<number | null> =>
    (await runToEnd(process.execPath, [join(bundle, 'integrity.cjs'), file, integrity])).exit.code
  expect(await judge(right)).toBe(0)
  expect(await judge(right.replace('3a81', '3a82'))).toBe(1)
})
