/**
 * The tarball on a box that has a C library, a shell and nothing else: no Node, no npm, no tools.
 * The bundle for arm64 cannot run here; what is in it is looked at.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { SINK_TYPES } from '../../../gateway/sink/registry.ts'
import { reapProcesses } from '../../support/process.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { BOX_TOOLS, Box } from './support/box.ts'
import { configuration, connect, freeAddresses } from './support/gateway.ts'

const START_MS = 30_000

/** `e_machine` of an ELF file. */
const MACHINES: Readonly<Record<number, string>> = { 62: 'x64', 183: 'arm64' }

const built = inject('built')
const expected = JSON.parse(
  execFileSync('tar', ['-xzOf', built.package, 'package/package.json'], { encoding: 'utf8' }),
) as { readonly version: string }
const home = `/opt/sluice-${expected.version}-linux-x64`

describe.each(Object.entries(built.bundles))('the bundle for %s', (arch, bundle) => {
  const below = readdirSync(bundle, { recursive: true, encoding: 'utf8' })

  test('has a Node and a LevelDB of this architecture, and no other binary', () => {
    const binaries = below.filter((path) => path === 'lib/node' || path.endsWith('.node'))
    expect(binaries).toHaveLength(2)
    for (const path of binaries) {
      const head = readFileSync(join(bundle, path)).subarray(0, 20)
      expect(head.subarray(0, 4).toString('latin1'), path).toBe('\x7fELF')
      expect(MACHINES[head.readUInt16LE(18)], path).toBe(arch)
    }
  })

  test('has the text of a license for Node and for every package that is in its SBOM', () => {
    const notices = readFileSync(join(bundle, 'NOTICES'), 'utf8')
    const sbom = JSON.parse(readFileSync(join(bundle, 'sluice.cdx.json'), 'utf8')) as {
      components: Array<{ name: string; version: string }>
    }
    const names = new Set(sbom.components.map(({ name, version }) => `${name} ${version}`))
    expect(names.size).toBeGreaterThan(80)
    expect([...names].filter((name) => !notices.toLowerCase().includes(`\n${name}`))).toEqual([])
    const installed = below.filter((path) =>
      /node_modules\/(@[^/]+\/)?[^/@]+\/package\.json$/.test(path),
    )
    const missing = installed
      .map(
        (path) =>
          JSON.parse(readFileSync(join(bundle, path), 'utf8')) as { name: string; version: string },
      )
      .filter(({ name, version }) => !names.has(`${name} ${version}`))
    expect(missing).toEqual([])
  })

  test('has the client library of each sink but those that its build leaves to you', () => {
    const missing = Object.entries(SINK_TYPES)
      .flatMap(([type, one]) =>
        'packages' in one ? one.packages.map(({ spec }) => [type, spec]) : [],
      )
      .filter(([, spec = '']) => {
        const [, name = '', version = ''] = /^(.+)@(.+)$/.exec(spec) ?? []
        const path = `lib/sluice/node_modules/${name}/package.json`
        if (!below.includes(path)) return true
        return (
          (JSON.parse(readFileSync(join(bundle, path), 'utf8')) as { version: string }).version !==
          version
        )
      })
    expect(missing.map(([type]) => type)).toEqual(['kafka'])
  })
})

/** Copies programs of the host into a root, with the libraries that the loader finds for them. */
function copyWithLibraries(root: string, programs: ReadonlyArray<readonly [string, string]>): void {
  for (const [from, to] of programs) {
    const libraries =
      execFileSync('ldd', [from], { encoding: 'utf8' }).match(/\/\S+(?= \(0x)/g) ?? []
    for (const [source, target] of [
      [from, to] as const,
      ...libraries.map((path) => [path, path] as const),
    ]) {
      mkdirSync(join(root, dirname(target)), { recursive: true })
      copyFileSync(source, join(root, target))
    }
  }
}

describeWithTool([...BOX_TOOLS, 'ldd'], 'a box without Node', () => {
  let sink: ScriptedSink
  let box: Box
  const addresses = freeAddresses()
  beforeAll(async () => {
    sink = await ScriptedSink.start()
    const ports = await addresses
    box = await Box.start((root) => {
      copyWithLibraries(root, [['/bin/sh', '/bin/sh']])
      // Of the host, for what Node is linked with; Node itself comes out of the tarball.
      copyWithLibraries(root, [[join(built.bundles.x64, 'lib/node'), '/opt/node']])
      execFileSync('rm', [join(root, 'opt/node')])
      execFileSync('tar', ['-xzf', built.tarball, '-C', join(root, 'opt')])
      writeFileSync(join(root, 'sluice.yaml'), configuration(ports, sink.url, { dataDir: '/data' }))
    })
  })
  afterAll(async () => {
    await reapProcesses()
    await box.close()
    await sink.close()
  })

  test('starts the gateway, a reading arrives at the receiver, and it stops', async () => {
    const node = await box.run('/bin/sh', ['-c', 'command -v node || command -v npm'])
    expect(node.exit.code).not.toBe(0)
    const version = await box.run(`${home}/bin/sluice`, ['--version'])
    expect(version).toMatchObject({ stdout: `${expected.version}\n`, exit: { code: 0 } })
    const checked = await box.run(`${home}/bin/sluice`, ['check', '--config', '/sluice.yaml'])
    expect(checked.exit.code, checked.stderr).toBe(0)
    const gateway = box.start(`${home}/bin/sluice`, ['start', '--config', '/sluice.yaml'])
    await gateway.waitForLine('devices may connect', START_MS)
    const device = await connect(await addresses)
    await device.publishAsync('plant/press-7/temp', '21.4', { qos: 1 })
    await device.endAsync()
    await sink.waitForRequests(1)
    expect(JSON.parse(sink.requests[0]?.lines[0] ?? '')).toMatchObject({ payload: 21.4 })
    // Advice names the command as it was called.
    expect(gateway.stderr).toContain('  sluice status')
    gateway.kill('SIGTERM')
    expect(await gateway.waitForExit(START_MS)).toMatchObject({ code: 0 })
  })
})
