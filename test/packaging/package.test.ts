/**
 * The npm package: what is in it, made from a checkout that was never built, and that it runs where
 * it is unpacked.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectAsync } from 'mqtt'
import { afterAll, afterEach, beforeAll, expect, type TestContext, test } from 'vitest'
import { freePorts } from '../../device-sim/free-ports.ts'
import { linksOf, readDocument } from '../docs/documents.ts'
import { NATS_TOOLS, NatsAdmin, startServer } from '../sink/nats/server.ts'
import { type Packed, packCheckout } from '../support/npm-package.ts'
import { reapProcesses, runToEnd, startProcess } from '../support/process.ts'
import { missingLine, missingTools, toolsAreRequired } from '../support/tools.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

const NPM_MS = 60_000
const START_MS = 20_000

/** What a box gets. */
const KINDS = [
  /^(package\.json|README\.md|CHANGELOG\.md|LICENSE)$/,
  /^dist\/(gateway|device-sim)\/([\w-]+\/)*[\w-]+\.(js|cjs)(\.map)?$/,
  // The page of the console, bundled.
  /^dist\/gateway\/admin\/console\/[\w./-]+\.(html|js|css|svg|json)$/,
  /^(gateway|device-sim)\/([\w-]+\/)*README\.md$/,
  /^gateway\/flow\.svg$/,
  /^gateway\/packaging\/(sluice\.(service|yaml)|SECURITY\.md|Dockerfile(\.dockerignore)?)$/,
  /^gateway\/packaging\/(examples|cluster)\/[\w-]+\.(yaml|conf|cfg)$/,
  /^dashboards\/([\w-]+\/)*[\w.-]+\.(json|ya?ml|md)$/,
]

let folder: string
let packed: Packed

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-package-'))
  packed = packCheckout(folder)
})

afterEach(reapProcesses)
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

test('holds the built programs, what a box needs, and nothing of the tests', () => {
  const paths = packed.files.map(({ path }) => path)
  for (const wanted of [
    'package.json',
    'README.md',
    'CHANGELOG.md',
    'dist/gateway/sluice.cjs',
    'dist/gateway/main.js',
    'dist/device-sim/main.js',
    'gateway/packaging/sluice.service',
    'gateway/packaging/sluice.yaml',
  ])
    expect(paths).toContain(wanted)
  // What README links comes with it, but for how it was tested.
  const linked = linksOf(readDocument('README.md')).map(({ file }) => file)
  expect(linked.length).toBeGreaterThan(10)
  for (const path of linked.filter((file) => !file.startsWith('test/')))
    expect(paths).toContain(path)
  // Each file is of one of these kinds: no sources, tests, keys, scripts that build packages.
  const stray = paths.filter((path) => !KINDS.some((kind) => kind.test(path)))
  expect(stray).toEqual([])
  const programs = packed.files.filter(({ mode }) => (mode & 0o111) !== 0).map(({ path }) => path)
  expect(programs).toContain('dist/gateway/sluice.cjs')
})

test('says of each install script of a dependency whether it runs, so that npm ci asks nobody', () => {
  const read = (name: string): unknown => JSON.parse(readFileSync(join(root, name), 'utf8'))
  const { packages } = read('package-lock.json') as {
    packages: Record<string, { hasInstallScript?: boolean }>
  }
  const withScript = Object.keys(packages)
    .filter((path) => packages[path]?.hasInstallScript === true)
    .map((path) => path.replace(/^.*node_modules\//, ''))
  const { allowScripts } = read('package.json') as { allowScripts: Record<string, boolean> }
  expect(withScript).toContain('classic-level')
  expect(Object.keys(allowScripts).sort()).toEqual(withScript.sort())
})

test('runs from an empty prefix, by the links that npm makes', async () => {
  const prefix = join(folder, 'prefix')
  const home = join(prefix, 'lib/node_modules/sluice')
  mkdirSync(home, { recursive: true })
  mkdirSync(join(prefix, 'bin'))
  execFileSync('tar', ['-xzf', join(folder, packed.filename), '-C', home, '--strip-components=1'])
  // The dependencies as they are here: a registry is not asked.
  symlinkSync(join(root, 'node_modules'), join(home, 'node_modules'))
  const { bin, version } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as {
    bin: Record<string, string>
    version: string
  }
  for (const [name, path] of Object.entries(bin)) {
    execFileSync('chmod', ['+x', join(home, path)])
    symlinkSync(join(home, path), join(prefix, 'bin', name))
  }
  const { stdout, exit } = await runToEnd(join(prefix, 'bin/sluice'), ['--version'])
  expect({ stdout, code: exit.code }).toEqual({ stdout: `${version}\n`, code: 0 })
  // As the unit starts it: by the command on the path.
  const unit = readFileSync(join(home, 'gateway/packaging/sluice.service'), 'utf8')
  const [program = '', ...flags] = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? []
  const path = [join(prefix, 'bin'), dirname(process.execPath)].join(':')
  const started = await runToEnd(program, [...flags, '--help'], { env: { PATH: path } })
  expect(started.stdout).toContain('sluice start')
  expect(started.exit.code).toBe(0)
  const help = await runToEnd(join(prefix, 'bin/sluice-sim'), ['--help'])
  expect(help.exit.code).toBe(0)
})

/** Each package a link to where a store has it, and its dependencies beside it there. */
test('runs where pnpm has put it, with its output read through a pipe', async () => {
  const beside = join(folder, 'project/node_modules/.pnpm/sluice/node_modules')
  const home = join(beside, 'sluice')
  mkdirSync(home, { recursive: true })
  execFileSync('tar', ['-xzf', join(folder, packed.filename), '-C', home, '--strip-components=1'])
  const { bin, dependencies } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as {
    bin: Record<string, string>
    dependencies: Record<string, string>
  }
  for (const name of Object.keys(dependencies))
    symlinkSync(join(root, 'node_modules', name), join(beside, name))
  symlinkSync(home, join(folder, 'project/node_modules/sluice'))
  const [mqtt, http] = await freePorts(2)
  const config = join(folder, 'pnpm.yaml')
  const lines = [
    `gateway: { dataDir: ${join(folder, 'pnpm-data')} }`,
    `mqtt: { allowAnonymous: true, listeners: [{ host: 127.0.0.1, port: ${mqtt} }] }`,
    `admin: { port: ${http} }`,
    'streams: { telemetry: { topics: ["plant/#"], sink: files } }',
    `sinks: { files: { type: file, folder: ${folder} } }`,
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  const command = join(folder, 'project/node_modules/sluice', bin['sluice'] ?? '')
  const gateway = startProcess(process.execPath, [command, 'start', '--config', config])
  await gateway.waitForLine('devices may connect', 20_000)
  gateway.kill('SIGTERM')
  expect(await gateway.waitForExit(20_000)).toMatchObject({ code: 0 })
})

/** As root does on a box, of a registry. Where none can be had the test is skipped with the reason. */
function install(prefix: string, spec: string, context: TestContext): void {
  const flags = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
  const args = ['install', '--global', spec, '--prefix', prefix, ...flags]
  try {
    execFileSync('npm', args, { cwd: folder, stdio: 'pipe', timeout: NPM_MS })
  } catch (error) {
    if (toolsAreRequired()) throw error
    context.skip(String((error as { stderr?: unknown }).stderr ?? error).slice(0, 200))
  }
}

test(
  'in an empty prefix, with the client library that sluice check asks for, a sink delivers by it',
  async (context) => {
    const missing = missingTools(['npm', ...NATS_TOOLS])
    if (missing.length > 0 && !toolsAreRequired()) context.skip(missingLine(missing))
    const server = await startServer(join(folder, 'nats'))
    const admin = await NatsAdmin.to([server.port])
    await admin.makeStream()
    const prefix = join(folder, 'global')
    install(prefix, join(folder, packed.filename), context)
    const [mqtt, http] = await freePorts(2)
    const config = join(folder, 'nats.yaml')
    const lines = [
      `gateway: { dataDir: ${join(folder, 'nats-data')} }`,
      `mqtt: { allowAnonymous: true, listeners: [{ host: 127.0.0.1, port: ${mqtt} }] }`,
      `admin: { port: ${http} }`,
      'streams: { telemetry: { topics: ["plant/#"], sink: hub } }',
      `sinks: { hub: { type: nats, servers: ["nats://127.0.0.1:${server.port}"], jetStream: SLUICE } }`,
    ]
    writeFileSync(config, `${lines.join('\n')}\n`)
    const sluice = join(prefix, 'bin/sluice')
    const checked = await runToEnd(sluice, ['check', '--config', config])
    expect(checked.exit.code).toBe(1)
    const said = /is not installed: npm install --global (\S+)/.exec(checked.stderr)?.[1] ?? ''
    install(prefix, said, context)
    const again = await runToEnd(sluice, ['check', '--try', '--config', config])
    expect(again.exit.code, again.stderr).toBe(0)
    const gateway = startProcess(sluice, ['start', '--config', config])
    await gateway.waitForLine('devices may connect', START_MS)
    const arrival = admin.connection.subscribe('sluice.>', { max: 1 })
    const device = await connectAsync(`mqtt://127.0.0.1:${mqtt}`)
    await device.publishAsync('plant/press-7', '21.4', { qos: 1 })
    await device.endAsync()
    for await (const _ of arrival);
    gateway.kill('SIGTERM')
    expect(await gateway.waitForExit(START_MS)).toMatchObject({ code: 0 })
    const [message] = await admin.read()
    expect(message?.text).toContain('"payload":21.4')
    await admin.close()
  },
  2 * NPM_MS,
)
