/**
 * The Debian package, by dpkg, in a root that is a layer over the host's: installed, started,
 * upgraded over a full spool, removed, installed over a backlog of an earlier version, purged. What
 * maintainer scripts ask of systemd, which does not run there, is noted by a stand-in; the test does
 * what it would.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import type { SpoolFixture } from '../../fixtures/spools/fixture.ts'
import { assertBalanced } from '../../support/gateway-process.ts'
import { type RunningProcess, reapProcesses, runToEnd } from '../../support/process.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { sourcePath } from '../../support/source-path.ts'
import { describeWithTool, testWithTool } from '../../support/tool-tests.ts'
import { BOX_TOOLS, Box } from './support/box.ts'
import {
  type Addresses,
  configuration,
  connect,
  freeAddresses,
  untilStatus,
} from './support/gateway.ts'

const START_MS = 30_000
const LINTIAN_MS = 300_000
const DPKG = 'DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold'

const built = inject('built')

testWithTool(
  'lintian',
  'the package has no errors by lintian, and its overrides are all in use',
  async () => {
    const args = [
      '--allow-root',
      '--display-info',
      '--fail-on',
      'error',
      '--tag-display-limit',
      '0',
      built.deb,
    ]
    const { exit, stdout, stderr } = await runToEnd('lintian', args, { timeoutMs: LINTIAN_MS })
    expect(exit.code, stdout + stderr).toBe(0)
    expect(stdout).not.toMatch(/unused-override|mismatched-override|malformed-override/)
  },
  LINTIAN_MS,
)

describeWithTool([...BOX_TOOLS, 'dpkg', 'dpkg-deb', 'setpriv'], 'a Debian box', () => {
  let folder: string
  let box: Box
  let addresses: Addresses
  let isAway = true
  let sink: ScriptedSink

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-debian-'))
    addresses = await freeAddresses()
    sink = await ScriptedSink.start({ script: () => (isAway ? { status: 503 } : {}) })
    box = await Box.start()
    await box.sh('mkdir -p /run/systemd/system /usr/local/sbin /packages')
    await box.write('/usr/local/sbin/systemctl', '#!/bin/sh\necho "$*" >>/run/asked\n')
    await box.sh('chmod +x /usr/local/sbin/systemctl')
    await box.write('/packages/older.deb', readFileSync(olderPackage(folder)))
    await box.write('/packages/sluice.deb', readFileSync(built.deb))
  })
  afterAll(async () => {
    await reapProcesses()
    await box.close()
    await sink.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** What was asked of systemd since the last look. */
  async function asked(): Promise<string[]> {
    const text = await box.sh('cat /run/asked 2>/dev/null; rm -f /run/asked')
    return text.split('\n').filter((line) => line !== '')
  }

  /** As the unit has it: its user, its folder, its command. */
  async function startAsUnit(): Promise<RunningProcess> {
    const unit = await box.sh('cat /usr/lib/systemd/system/sluice.service')
    const of = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1] ?? ''
    const user = of('User')
    await box.sh(`install -d -m 0700 -o ${user} -g ${user} /var/lib/${of('StateDirectory')}`)
    const identity = [`--reuid=${user}`, `--regid=${of('Group')}`, '--clear-groups']
    const gateway = box.start('setpriv', [...identity, ...of('ExecStart').split(' ')])
    await gateway.waitForLine('devices may connect', START_MS)
    return gateway
  }

  async function stop(gateway: RunningProcess): Promise<void> {
    gateway.kill('SIGTERM')
    expect(await gateway.waitForExit(START_MS)).toMatchObject({ code: 0 })
  }

  test('dpkg installs it: user, rights, command; nothing is started before it is configured', async () => {
    await box.sh(`${DPKG} -i /packages/older.deb`)
    expect(await box.sh('getent passwd sluice')).toContain(':/var/lib/sluice:/usr/sbin/nologin')
    const rights = await box.sh('stat -c "%A %U:%G %n" /etc/sluice /etc/sluice/sluice.yaml')
    expect(rights).toBe(
      'drwxr-x--- root:sluice /etc/sluice\n-rw-r----- root:sluice /etc/sluice/sluice.yaml\n',
    )
    expect(await asked()).toEqual(['daemon-reload'])
    expect(await box.sh('sluice --version')).toMatch(/^\d+\.\d+\.\d+\n$/)
    expect(await box.sh('dpkg --verify sluice')).toBe('')
  })

  test('I1: it is upgraded over a full spool; what was acknowledged is delivered by the new version', async () => {
    await box.write(
      '/etc/sluice/sluice.yaml',
      configuration(addresses, sink.url, { stream: ', maxBytes: 1MiB, whenFull: block' }),
    )
    const older = await startAsUnit()
    const device = await connect(addresses)
    const acknowledged: number[] = []
    const publish = async (n: number): Promise<void> => {
      const payload = JSON.stringify({ n, noise: randomBytes(15_000).toString('base64') })
      await device.publishAsync('plant/press-7/temp', payload, { qos: 1 })
      acknowledged.push(n)
    }
    for (let n = 0; n < 20; n += 1) await publish(n)
    // Those for which there is no room are not acknowledged: the device keeps them.
    for (let n = 20; n < 220; n += 1) void publish(n).catch(() => undefined)
    await untilStatus(addresses, 'the stream is full', ({ streams }) =>
      streams.some(({ waitingMessages }) => waitingMessages > 0),
    )
    const owed = [...acknowledged]
    expect(owed.length).toBeLessThan(220)
    device.end(true)

    await asked()
    await box.sh(`${DPKG} -i /packages/sluice.deb`)
    expect(await asked()).toEqual(['daemon-reload', 'try-restart sluice.service'])
    // What try-restart does.
    await stop(older)
    const newer = await startAsUnit()
    isAway = false
    const status = await untilStatus(addresses, 'all is delivered', ({ streams }) =>
      streams.every(({ counters }) => counters.pending === 0),
    )
    assertBalanced(status)
    const arrived = new Set(numbersOf(sink))
    expect(owed.filter((n) => !arrived.has(n))).toEqual([])
    await stop(newer)
    // The operator's configuration stays, the one of the package lies beside it.
    expect(await box.sh('cat /etc/sluice/sluice.yaml')).toContain(sink.url)
    expect(await box.sh('ls /etc/sluice')).toBe('sluice.yaml\nsluice.yaml.dpkg-dist\n')
  })

  test('a removal stops it, and keeps configuration and data', async () => {
    await asked()
    await box.sh(`${DPKG} -r sluice`)
    expect(await asked()).toEqual(['disable --now sluice.service', 'daemon-reload'])
    expect(await box.sh('ls -A /etc/sluice')).toContain('sluice.yaml\n')
    expect(await box.sh('ls /var/lib/sluice')).toContain('spool')
    expect((await box.run('sluice', ['--version'])).exit.code).not.toBe(0)
    expect(await box.sh('ls -d /usr/lib/sluice 2>/dev/null || echo gone')).toBe('gone\n')
  })

  test.each(['0.4.0', '0.5.0'])(
    'a backlog of %s is delivered after an installation over it',
    async (version) => {
      const fixtures = sourcePath('test/fixtures/spools')
      const { owed, sections } = JSON.parse(
        readFileSync(join(fixtures, `${version}-killed.json`), 'utf8'),
      ) as SpoolFixture
      await box.write(
        '/packages/data.tar.gz',
        readFileSync(join(fixtures, `${version}-killed.tar.gz`)),
      )
      await box.sh('rm -rf /var/lib/sluice && mkdir /var/lib/sluice')
      await box.sh('tar -xzf /packages/data.tar.gz -C /var/lib/sluice')
      await box.sh(`${DPKG} -i /packages/sluice.deb`)
      const config = {
        gateway: { dataDir: '/var/lib/sluice' },
        mqtt: { allowAnonymous: true, listeners: [{ host: '127.0.0.1', port: addresses.mqtt }] },
        admin: { port: addresses.admin },
        spool: { minFreeBytes: '1MiB' },
        log: { format: 'json' },
        ...sections,
        sinks: {
          cloud: { url: sink.url, ...(sections['sinks']?.['cloud'] as object | undefined) },
        },
      }
      await box.write('/etc/sluice/sluice.yaml', JSON.stringify(config))
      // As a restore from an archive leaves it; the start says how to put it right.
      const gateway = box.start('setpriv', [
        '--reuid=sluice',
        '--regid=sluice',
        '--clear-groups',
        'sluice',
        'start',
        '--config',
        '/etc/sluice/sluice.yaml',
      ])
      expect((await gateway.waitForExit(START_MS)).code).not.toBe(0)
      expect(gateway.stderr).toContain('chown')
      await box.sh('chown -R sluice: /var/lib/sluice')
      const before = sink.requests.length
      const started = await startAsUnit()
      await untilStatus(addresses, 'the backlog is delivered', ({ streams }) =>
        streams.every(({ counters }) => counters.pending === 0),
      )
      for (const [stream, numbers] of Object.entries(owed))
        expect(numbersOf(sink, stream, before), stream).toEqual(numbers)
      await stop(started)
    },
  )

  test('a backup that was made beside it is restored into an empty folder, by the words of the document', async () => {
    await box.write('/etc/sluice/sluice.yaml', configuration(addresses, sink.url))
    isAway = true
    const running = await startAsUnit()
    const device = await connect(addresses)
    await device.publishAsync('plant/press-7/temp', '{"n":4711}', { qos: 1 })
    await device.endAsync()
    expect(await box.sh('sluice spool backup /packages/hall-2.sluice')).toContain(
      '1 pending record',
    )
    await stop(running)
    await box.sh('find /var/lib/sluice -mindepth 1 -delete')
    const restored = await box.run('sluice', ['spool', 'restore', '/packages/hall-2.sluice'])
    expect(restored.exit.code, restored.stderr).toBe(0)
    isAway = false
    const before = sink.requests.length
    const again = await startAsUnit()
    await untilStatus(addresses, 'what was restored is delivered', ({ streams }) =>
      streams.every(({ counters }) => counters.pending === 0),
    )
    expect(numbersOf(sink, 'telemetry', before)).toEqual([4711])
    await stop(again)
  })

  test('a purge takes the configuration and its secrets, and never the data', async () => {
    await box.sh('touch /etc/sluice/cloud-token')
    const { exit, stderr } = await box.run('/bin/sh', ['-c', `${DPKG} -P sluice`])
    expect(exit.code).toBe(0)
    expect(stderr).toContain('/var/lib/sluice is kept')
    expect(await box.sh('ls -d /etc/sluice 2>/dev/null || echo gone')).toBe('gone\n')
    expect(await box.sh('ls /var/lib/sluice')).toContain('spool')
  })
})

function numbersOf(sink: ScriptedSink, stream?: string, from = 0): number[] {
  return sink.requests
    .slice(from)
    .filter(
      ({ headers, stored }) =>
        stored && (stream === undefined || headers['sluice-stream'] === stream),
    )
    .flatMap(({ lines }) =>
      lines.map((line) => (JSON.parse(line) as { payload: { n: number } }).payload.n),
    )
}

/** The same package with a lower version and another configuration: what a box may have had. */
function olderPackage(folder: string): string {
  const unpacked = join(folder, 'older')
  execFileSync('dpkg-deb', ['-R', built.deb, unpacked])
  for (const [path, from, to] of [
    ['DEBIAN/control', /^Version: .*$/m, 'Version: 0.0.1'],
    ['etc/sluice/sluice.yaml', /^/, '# As it was in an older version.\n'],
  ] as const) {
    const text = readFileSync(join(unpacked, path), 'utf8')
    writeFileSync(join(unpacked, path), text.replace(from, to))
  }
  execFileSync('dpkg-deb', ['-Znone', '-b', unpacked, join(folder, 'older.deb')], {
    stdio: 'ignore',
  })
  rmSync(unpacked, { recursive: true })
  return join(folder, 'older.deb')
}
