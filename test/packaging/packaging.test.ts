/** What can be known of the packaging without a container engine or a running systemd. */
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '../../gateway/config/load.ts'
import type { Config } from '../../gateway/configuration.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { SINK_TYPES } from '../../gateway/sink/registry.ts'
import { httpSinkOf } from '../support/configs.ts'
import { reapProcesses, runProgram, runToEnd, startProgram } from '../support/process.ts'
import { testWithTool } from '../support/tool-tests.ts'
import { findTool } from '../support/tools.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const packaging = join(root, 'gateway/packaging')
const dockerfile = readFileSync(join(packaging, 'Dockerfile'), 'utf8')
const unit = readFileSync(join(packaging, 'sluice.service'), 'utf8')

interface Service {
  readonly image: string
  readonly build?: {
    readonly context: string
    readonly dockerfile: string
    readonly target: string
  }
  readonly user: string
  readonly read_only: boolean
  readonly cap_drop: readonly string[]
  readonly security_opt: readonly string[]
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly tmpfs?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly stop_grace_period?: string
  readonly healthcheck: { readonly test: readonly string[] }
}

const compose = parse(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, unknown>>
}
const services = Object.entries(compose.services)

/** Of the build, with its defaults. */
const args = new Map(
  [...dockerfile.matchAll(/^ARG ([A-Z_]+)=(.*)$/gm)].map(([, name = '', value = '']) => [
    name,
    value,
  ]),
)

/** `FROM image AS stage`, in order, with the instructions of each stage. */
const stages = dockerfile
  .replaceAll(/\\\n\s*/g, ' ')
  .split(/^(?=FROM )/m)
  .slice(1)
  .map((text) => {
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    const [, image = '', name = ''] = /^FROM (\S+) AS (\S+)$/.exec(lines[0] ?? '') ?? []
    const named = image.replaceAll(/\$\{([A-Z_]+)\}/g, (_, arg: string) => args.get(arg) ?? '')
    return { image: named, name, lines }
  })

/** Seconds of `20s`. */
function seconds(text: string | undefined): number {
  return Number(/^(\d+)s$/.exec(text ?? '')?.[1])
}

const PINNED = /^[a-z0-9./-]+:v?\d+\.\d+\.\d+(-[a-z0-9-]+)?$/

describe('docker-compose.yml', () => {
  test('has the gateway, the cloud, the fleet, Prometheus and Grafana', () => {
    expect(services.map(([name]) => name)).toEqual([
      'gateway',
      'cloud',
      'fleet',
      'prometheus',
      'grafana',
    ])
  })

  test.each(services)(
    '%s: pinned, not root, read-only, without capabilities, with a healthcheck',
    (_, service) => {
      expect(service.image).toMatch(PINNED)
      expect(service.user).toMatch(/^[1-9]\d*:\d+$/)
      expect(service.read_only).toBe(true)
      expect(service.cap_drop).toEqual(['ALL'])
      expect(service.security_opt).toEqual(['no-new-privileges:true'])
      expect(service.healthcheck.test[0]).toBe('CMD')
      expect(service.tmpfs?.some((mount) => mount.startsWith('/tmp:size='))).toBe(true)
      for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/)
    },
  )

  test.each(services)('%s: every path and volume that it names is there', (_, service) => {
    for (const mount of service.volumes ?? []) {
      const [source = '', target = '', mode] = mount.split(':')
      expect(target).toMatch(/^\//)
      if (source.startsWith('./')) {
        expect(existsSync(join(root, source)), source).toBe(true)
        expect(mode).toBe('ro')
      } else expect(Object.keys(compose.volumes)).toContain(source)
    }
    if (service.build !== undefined) {
      expect(existsSync(join(root, service.build.context, service.build.dockerfile))).toBe(true)
      expect(stages.map(({ name }) => name)).toContain(service.build.target)
    }
    for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
      expect(Object.keys(compose.services)).toContain(other)
      expect(condition).toBe('service_healthy')
    }
  })

  /** The gateway's variables as the container gets them: all are text. */
  function gatewayConfig(): Config {
    const env = compose.services['gateway']?.environment ?? {}
    for (const value of Object.values(env)) expect(typeof value).toBe('string')
    return loadConfig(SCHEMA, { file: null, env, cwd: '/var/lib/sluice' }).config
  }

  test("the gateway's variables load, and fit ports, volumes, sink and grace period", () => {
    const config = gatewayConfig()
    const gateway = compose.services['gateway']
    expect(config.mqtt.listeners).toMatchObject([{ host: '0.0.0.0', port: 1883 }])
    expect(gateway?.ports).toEqual([
      '127.0.0.1:1883:1883',
      `127.0.0.1:${config.admin.port}:${config.admin.port}`,
    ])
    expect(gateway?.volumes).toEqual([`spool:${config.gateway.dataDir}`])
    expect(seconds(gateway?.stop_grace_period) * 1_000).toBeGreaterThan(config.gateway.stopTimeout)
    const url = new URL(httpSinkOf(config).url)
    expect(url.hostname).toBe('cloud')
    const cloud = compose.services['cloud']?.command ?? []
    expect(cloud[cloud.indexOf('--port') + 1]).toBe(url.port)
  })

  test.each(['cloud', 'fleet'])('%s is started with flags that the tool knows', async (name) => {
    const [command = '', ...flags] = compose.services[name]?.command ?? []
    const { exit, stdout } = await runProgram('device-sim', [command, '--help'])
    expect(exit.code).toBe(0)
    for (const flag of flags.filter((text) => text.startsWith('--')))
      expect(stdout).toContain(`${flag.replace(/=.*/, '')} `)
  })

  test('the healthcheck of the fleet sees a connection to the gateway, and its absence', async () => {
    const [, node, dashE = '', script = ''] = compose.services['fleet']?.healthcheck.test ?? []
    expect([node, dashE]).toEqual(['node', '-e'])
    const look = async (table: string) => {
      const from = `readFileSync: () => ${JSON.stringify(table)}`
      const code = script.replace("require('node:fs')", `({ ${from} })`)
      return (await runToEnd(process.execPath, [dashE, code])).exit.code
    }
    const row = (state: string) =>
      `   0: 040012AC:A5D2 020012AC:075B ${state} 00000000:00000000 02:00000471 00000000`
    expect(await look(row('01'))).toBe(0)
    expect(await look(row('02'))).toBe(1)
  })

  test('Prometheus and Grafana find their files where they are mounted', () => {
    const prometheus = compose.services['prometheus']
    const mounted = new Map(
      [...(prometheus?.volumes ?? []), ...(compose.services['grafana']?.volumes ?? [])].map(
        (mount) => {
          const [source = '', target = ''] = mount.split(':')
          return [target, source]
        },
      ),
    )
    const config =
      prometheus?.command?.find((flag) => flag.startsWith('--config.file='))?.split('=')[1] ?? ''
    expect(existsSync(join(root, mounted.get(dirname(config)) ?? '-', 'prometheus.yml'))).toBe(true)
    const provisioning = join(root, mounted.get('/etc/grafana/provisioning') ?? '-')
    const provider = parse(readFileSync(join(provisioning, 'dashboards/sluice.yml'), 'utf8'))
    expect(mounted.has(provider.providers[0].options.path)).toBe(true)
    const datasource = parse(readFileSync(join(provisioning, 'datasources/prometheus.yml'), 'utf8'))
    expect(datasource.datasources[0].url).toBe('http://prometheus:9090')
    const home =
      compose.services['grafana']?.environment?.['GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH'] ?? ''
    expect(existsSync(join(root, mounted.get(dirname(home)) ?? '-', 'sluice.json'))).toBe(true)
  })
})

describe('Dockerfile', () => {
  test('builds a gateway and a sim on a pinned Node that the package takes', () => {
    expect(stages.map(({ name }) => name)).toEqual([
      'build',
      'dependencies',
      'runtime',
      'sim',
      'gateway',
    ])
    const bases = stages.map(({ image }) => image).filter((image) => image.includes(':'))
    expect(new Set(bases).size).toBe(1)
    expect(bases[0]).toMatch(PINNED)
    const [, major = '', minor = ''] = /^node:(\d+)\.(\d+)\./.exec(bases[0] ?? '') ?? []
    expect(Number(major) * 100 + Number(minor)).toBeGreaterThanOrEqual(2019)
    for (const { image } of stages)
      expect(image.includes(':') || stages.some(({ name }) => name === image), image).toBe(true)
  })

  test('has the client libraries that the build is told of, as the documents name them', () => {
    expect(args.get('SINK_PACKAGES')).toBe('')
    const lines = stages.find(({ name }) => name === 'dependencies')?.lines ?? []
    const asked = lines.indexOf('ARG SINK_PACKAGES=')
    expect(lines[asked + 1]).toMatch(
      /^RUN \[ -z "\$SINK_PACKAGES" \] \|\| npm install --omit=dev --no-save .*\$SINK_PACKAGES$/,
    )
    const known = Object.values(SINK_TYPES).flatMap((type) =>
      'packages' in type ? type.packages.map(({ spec }) => spec) : [],
    )
    expect(known.length).toBeGreaterThan(2)
    for (const text of [dockerfile, readFileSync(join(packaging, 'README.md'), 'utf8')]) {
      const named = text.match(/[@\w/-]+@\d+\.\d+\.\d+/g)
      expect(new Set(named)).toEqual(new Set(known))
    }
  })

  test('every COPY source is there and not ignored', () => {
    const ignore = readFileSync(join(packaging, 'Dockerfile.dockerignore'), 'utf8').split('\n')
    const copies = stages
      .flatMap(({ lines }) => lines)
      .filter((line) => line.startsWith('COPY ') && !line.startsWith('COPY --from='))
    expect(copies.length).toBeGreaterThan(3)
    for (const copy of copies) {
      for (const source of copy.split(' ').slice(1, -1)) {
        expect(existsSync(join(root, source)), source).toBe(true)
        expect(ignore).toContain(`!${source}`)
      }
    }
  })

  test('what is copied from a stage was made there', () => {
    const froms = stages
      .flatMap(({ lines }) => lines)
      .filter((line) => line.startsWith('COPY --from='))
    for (const line of froms) {
      const [, stage = '', path = ''] = /^COPY --from=(\S+) \/build\/(\S+) /.exec(line) ?? []
      const made = stages.find(({ name }) => name === stage)?.lines.join('\n') ?? ''
      expect(made).toContain(path === 'node_modules' ? 'npm ci --omit=dev' : 'npm run build')
      if (path !== 'node_modules') expect(existsSync(join(root, path, 'main.js')), path).toBe(true)
    }
  })

  test.each(['gateway', 'sim'])(
    '%s runs without root, with the built program, production packages, eight threads',
    (name) => {
      const stage = stages.find((one) => one.name === name)
      expect(stage?.image).toBe('runtime')
      expect(stage?.lines).toContain('USER 10001:10001')
      // The gateway's own command sets the size of the pool.
      const program = name === 'sim' ? 'device-sim/main.js' : 'gateway/sluice.cjs'
      expect(stage?.lines).toContain(`ENTRYPOINT ["node", "/app/dist/${program}"]`)
      expect(stage?.lines.includes('ENV UV_THREADPOOL_SIZE=8')).toBe(name === 'sim')
      const runtime = stages.find((one) => one.name === 'runtime')?.lines ?? []
      expect(runtime).toContain(
        'ENV NODE_ENV=production MALLOC_ARENA_MAX=2 NODE_OPTIONS=--max-semi-space-size=8',
      )
      expect(runtime).toContain('COPY --from=dependencies /build/node_modules /app/node_modules')
    },
  )

  test('sluice is on the PATH of the image', () => {
    const lines = stages.find(({ name }) => name === 'gateway')?.lines
    expect(lines).toContain('RUN ln -s /app/dist/gateway/sluice.cjs /usr/local/bin/sluice')
  })

  test('the healthcheck of the image is that of docker-compose.yml', () => {
    const line = stages
      .find(({ name }) => name === 'gateway')
      ?.lines.find((one) => one.startsWith('HEALTHCHECK'))
    const command = JSON.parse(/CMD (\[.*\])$/.exec(line ?? '')?.[1] ?? 'null')
    expect(['CMD', ...command]).toEqual(compose.services['gateway']?.healthcheck.test)
  })
})

describe('sluice.service', () => {
  const settings = unit.split('\n').filter((line) => /^[A-Z]\w+=/.test(line))
  const value = (key: string) =>
    settings.find((line) => line.startsWith(`${key}=`))?.slice(key.length + 1)

  test('restarts always, and gives a stop more time than the gateway takes', () => {
    expect(value('Restart')).toBe('always')
    expect(value('StartLimitIntervalSec')).toBe('0')
    const { config } = loadConfig(SCHEMA, { file: null, env: {}, cwd: '/' })
    expect(seconds(value('TimeoutStopSec')) * 1_000).toBeGreaterThan(config.gateway.stopTimeout)
    expect(Number(value('LimitNOFILE'))).toBeGreaterThan(2 * config.mqtt.maxConnections)
  })

  test('starts the built program with the example configuration, whose folder it may write', () => {
    const start = value('ExecStart') ?? ''
    expect(start).toMatch(/^\/usr\/bin\/env sluice start .*--config \/etc\/sluice\/sluice\.yaml$/)
    const { config } = loadConfig(SCHEMA, {
      file: join(packaging, 'sluice.yaml'),
      env: {},
      cwd: '/',
    })
    expect(config.gateway.dataDir).toBe(`/var/lib/${value('StateDirectory')}`)
    expect(value('User')).toBe('sluice')
  })

  test('finds what the commands of the install section put there', () => {
    const readme = readFileSync(join(packaging, 'README.md'), 'utf8')
    const section = readme.slice(readme.indexOf('## Install'), readme.indexOf('## Wear'))
    const commands = [...section.matchAll(/```sh\n([\s\S]*?)```/g)]
      .flatMap(([, block = '']) => block.split('\n'))
      .map((line) => line.replace(/ +#.*/, ''))
    const [, useradd = ''] = /^# .*(useradd .*)$/m.exec(unit) ?? []
    const mode = value('ConfigurationDirectoryMode')
    const inOrder = [
      'npm install --global ./sluice-*.tgz',
      useradd,
      'cd "$(npm root --global)/sluice/gateway/packaging"',
      `install -d -m ${mode} -g ${value('Group')} /etc/${value('ConfigurationDirectory')}`,
      `install -m 0640 -g ${value('Group')} sluice.yaml /etc/sluice/`,
      'install -m 0644 sluice.service /etc/systemd/system/',
      'systemctl enable --now sluice',
    ]
    expect(commands.filter((line) => inOrder.includes(line))).toEqual(inOrder)
  })

  testWithTool(
    'systemd-analyze',
    'passes systemd-analyze verify, and its exposure is rated OK',
    () => {
      const folder = mkdtempSync(join(tmpdir(), 'sluice-unit-'))
      try {
        const path = join(folder, 'sluice.service')
        writeFileSync(path, unit)
        const tool = findTool('systemd-analyze') ?? ''
        // Says what it does not understand, but ends with 0 for some of it.
        expect(execFileSync(tool, ['verify', path], { encoding: 'utf8', stdio: 'pipe' })).toBe('')
        const rating = execFileSync(tool, ['security', '--offline=true', path], {
          encoding: 'utf8',
        })
        const exposure = Number(
          /Overall exposure level for sluice\.service: ([\d.]+)/.exec(rating)?.[1],
        )
        expect(exposure).toBeLessThan(2)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    },
  )
})

describe('the example configuration', () => {
  test('loads without a warning but those of its plain-text neighbours', () => {
    const { config, warnings } = loadConfig(SCHEMA, {
      file: join(packaging, 'sluice.yaml'),
      env: {},
      cwd: '/',
    })
    expect(warnings).toEqual([])
    expect(Object.keys(config.streams)).toEqual(['alarms', 'telemetry'])
    expect(config.mqtt.auth?.passwordFile).toBe(join(packaging, 'passwords'))
  })

  test('every key that is commented out would be taken, too', () => {
    const text = readFileSync(join(packaging, 'sluice.yaml'), 'utf8')
    const keys = [...text.matchAll(/^( *)# ([a-zA-Z]+: .*)$/gm)].filter(([, , key = '']) =>
      /^(id|ca|requireClientCert|aclFile|headers|maxBytesPerSecond|token): /.test(key),
    )
    expect(keys).toHaveLength(7)
    const uncommented = keys.reduce(
      (all, [line, indent = '', key = '']) => all.replace(line, indent + key),
      text,
    )
    const folder = mkdtempSync(join(tmpdir(), 'sluice-example-'))
    try {
      writeFileSync(join(folder, 'sluice.yaml'), uncommented)
      const { config } = loadConfig(SCHEMA, { file: 'sluice.yaml', env: {}, cwd: folder })
      expect(config.gateway.id).toBe('press-hall-3')
      expect(config.mqtt.listeners[1]?.tls?.requireClientCert).toBe(true)
      expect(config.sinks['cloud']?.maxBytesPerSecond).toBe(512 * 1024)
      expect(config.admin.token).toEqual({ file: join(folder, 'admin-token') })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  const printedIn = (document: string): string =>
    /```yaml\n(gateway: [\s\S]*?)```/.exec(readFileSync(join(root, document), 'utf8'))?.[1] ?? ''

  test.each([
    ['of the package', readFileSync(join(packaging, 'sluice.yaml'), 'utf8')],
    ['of README', printedIn('README.md')],
    ['of the reference', printedIn('gateway/config/README.md')],
  ])('%s passes sluice check and starts, with the files that it names', async (_, text) => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-example-'))
    try {
      const config = join(folder, 'sluice.yaml')
      writeFileSync(config, text)
      mkdirSync(join(folder, 'tls'))
      for (const place of ['.', 'tls'])
        for (const name of ['server.pem', 'server.key'])
          copyFileSync(join(root, 'test/support/tls', name), join(folder, place, name))
      for (const name of ['token', 'cloud-token']) writeFileSync(join(folder, name), 'secret\n')
      writeFileSync(join(folder, 'access'), 'pattern write plant/#\n')
      const bare = await runProgram('gateway', ['check', '--config', config])
      expect(bare.exit.code).toBe(1)
      expect(bare.stderr).toContain('[AUTH_FILE_UNREADABLE]')
      const users = ['passwd', '--file', join(folder, 'passwords'), 'press-7']
      expect((await runProgram('gateway', users, { input: 'hunter2\n' })).exit.code).toBe(0)
      // Another folder and free ports: the machine that tests it is not the box.
      const listeners = (parse(text) as { mqtt: { listeners: unknown[] } }).mqtt.listeners
      const env: Record<string, string> = {
        SLUICE__GATEWAY__DATA_DIR: join(folder, 'data'),
        SLUICE__ADMIN__PORT: '0',
        SLUICE__SPOOL__MIN_FREE_BYTES: '1MiB',
      }
      for (const index of listeners.keys()) env[`SLUICE__MQTT__LISTENERS__${index}__PORT`] = '0'
      const check = await runProgram('gateway', ['check', '--config', config], { env })
      expect(check.stderr.split('\n').filter((line) => line.startsWith('fault'))).toEqual([])
      expect(check.exit.code).toBe(0)
      const gateway = startProgram('gateway', ['start', '--config', config], { env })
      await gateway.waitForLine('Ctrl-C stops it.', 20_000)
      gateway.kill('SIGTERM')
      expect((await gateway.waitForExit(20_000)).code).toBe(0)
    } finally {
      await reapProcesses()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
