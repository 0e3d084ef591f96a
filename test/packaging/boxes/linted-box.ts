/**
 * What others make of the files: linters of Dockerfiles and of Compose files (by the schema of the
 * Compose specification), the schemas of Kubernetes, the schema of CycloneDX. They are installed for
 * this run alone, in fixed versions: nothing that is shipped or developed with needs them.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { reapProcesses, runToEnd } from '../../support/process.ts'
import { sourcePath } from '../../support/source-path.ts'

const LINTERS = [
  'dclint@3.1.0',
  'dockerfile-utils@0.16.3',
  'kubernetes-models@4.5.1',
  '@cyclonedx/cyclonedx-library@10.3.0',
  'yaml@2.9.1',
]

/** Prints what is wrong with each document, one line each. */
const KUBERNETES = `
import { readFileSync } from 'node:fs'
import { parseAllDocuments } from 'yaml'
for (const document of parseAllDocuments(readFileSync(process.argv[2], 'utf8'))) {
  const resource = document.toJS()
  const models = await import(\`kubernetes-models/\${resource.apiVersion}/\${resource.kind}\`)
  try {
    new models[resource.kind](resource).validate()
    console.log(resource.kind)
  } catch (error) {
    console.error(resource.kind, error.message)
  }
}`

const CYCLONEDX = `
import { readFileSync } from 'node:fs'
import { Spec, Validation } from '@cyclonedx/cyclonedx-library'
const text = readFileSync(process.argv[2], 'utf8')
const validator = new Validation.JsonStrictValidator(JSON.parse(text).specVersion)
console.error(JSON.stringify(await validator.validate(text)))`

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-linters-'))
  const flags = [
    '--no-audit',
    '--no-fund',
    '--ignore-scripts',
    '--prefer-offline',
    '--loglevel=error',
  ]
  execFileSync('npm', ['install', '--prefix', folder, ...flags, ...LINTERS], {
    cwd: folder,
    stdio: 'pipe',
  })
  writeFileSync(join(folder, 'kubernetes.mjs'), KUBERNETES)
  writeFileSync(join(folder, 'cyclonedx.mjs'), CYCLONEDX)
})
afterAll(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

async function lint(program: string, ...args: string[]) {
  const isScript = program.endsWith('.mjs')
  const path = join(folder, isScript ? program : `node_modules/.bin/${program}`)
  const { exit, stdout, stderr } = await runToEnd(process.execPath, [path, ...args])
  return { code: exit.code, stdout, said: stdout + stderr, stderr }
}

/** A copy of a file with something wrong in it. */
function broken(path: string, right: string, wrong: string): string {
  const text = readFileSync(path, 'utf8')
  expect(text).toContain(right)
  const copy = join(folder, `broken-${path.split('/').at(-1)}`)
  writeFileSync(copy, text.replace(right, wrong))
  return copy
}

test('the Dockerfile has no warning', async () => {
  const path = sourcePath('gateway/packaging/Dockerfile')
  expect(await lint('dockerfile-utils', 'lint', path)).toMatchObject({ code: 0, stdout: '' })
  const wrong = await lint('dockerfile-utils', 'lint', broken(path, 'WORKDIR', 'WORKDIRS'))
  expect(wrong.said).toContain('Unknown instruction')
})

test.each(['docker-compose.yml', 'gateway/packaging/cluster/compose.yaml'])(
  '%s keeps to the Compose specification',
  async (name) => {
    // An image that is built here has a name, for a registry of your own.
    const flags = ['--quiet', '--color=false', '--disable-rule=no-build-and-image']
    const right = await lint('dclint', sourcePath(name), ...flags)
    expect(right.code, right.said).toBe(0)
    const wrong = await lint(
      'dclint',
      broken(sourcePath(name), 'stop_grace', 'stop_grase'),
      ...flags,
    )
    expect(wrong.code).toBe(1)
    expect(wrong.said).toContain('invalid-schema')
  },
)

test('the manifests keep to the schemas of Kubernetes', async () => {
  const path = sourcePath('gateway/packaging/cluster/kubernetes.yaml')
  const { stdout, stderr } = await lint('kubernetes.mjs', path)
  expect(stderr).toBe('')
  expect(stdout.split('\n')).toEqual(['Service', 'StatefulSet', 'Deployment', 'Service', ''])
  const wrong = await lint('kubernetes.mjs', broken(path, 'replicas: 3', 'replicas: three'))
  expect(wrong.stderr).toContain('replicas must be integer')
})

test('the SBOM of a bundle keeps to CycloneDX', async () => {
  const path = join(inject('built').bundles.x64, 'sluice.cdx.json')
  expect((await lint('cyclonedx.mjs', path)).stderr).toBe('null\n')
  const wrong = broken(path, '"type": "application"', '"type": "applikation"')
  expect((await lint('cyclonedx.mjs', wrong)).stderr).toContain('enum')
})
