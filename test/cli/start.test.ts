import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { poolAdvice } from '../../gateway/cli/commands/start.ts'
import type { RunningGateway } from '../../gateway/cli/context.ts'
import { runCli } from '../../gateway/cli/program.ts'
import { exampleTopic, firstSteps } from '../../gateway/cli/text/first-steps.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import type { Config } from '../../gateway/configuration.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { sinkTargets } from '../../gateway/status-sources.ts'
import { defaultConfig } from '../support/configs.ts'
import { FakeContext } from './fake-context.ts'

let folder: string
let context: FakeContext
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-start-'))
  context = new FakeContext(folder)
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(folder, { recursive: true, force: true })
})

const NOTHING_CHANGED = {
  applied: false,
  plan: { changes: [], refused: [] },
  problems: [],
  warnings: [],
}

/** A gateway whose stop ends when `release` is called. */
function heldGateway(stopTimeout = 20_000) {
  const config = defaultConfig('/')
  let release: () => void = () => undefined
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const deadlines: number[] = []
  const rereads = { count: 0 }
  const gateway: RunningGateway = {
    config: { ...config, gateway: { ...config.gateway, stopTimeout } },
    reload: async () => NOTHING_CHANGED,
    addresses: [{ host: '127.0.0.1', port: 40_001 }],
    adminUrl: 'http://127.0.0.1:40002',
    gatewayId: 'edge-01',
    sinks: [{ name: 'cloud', target: 'http://127.0.0.1:9000/ingest' }],
    live: () => ({ ok: true, reasons: [] }),
    reread: async () => {
      rereads.count += 1
    },
    stop: (deadlineMs) => {
      deadlines.push(deadlineMs)
      return held
    },
  }
  return { gateway, deadlines, release, rereads }
}

/** Resolves when `start` waits for a signal. */
async function started(): Promise<void> {
  await expect.poll(() => context.err).toContain('Ctrl-C stops it')
}

describe('sluice start', () => {
  test('gives the gateway the loaded configuration and prints the first steps with the ports that were bound', async () => {
    const { gateway, release } = heldGateway()
    const configs: Config[] = []
    context.gateway = async (config) => {
      configs.push(config)
      return gateway
    }
    const run = runCli(['start'], context)
    await started()
    expect(configs).toEqual([defaultConfig(folder)])
    expect(context.err).toContain('mqtt://127.0.0.1:40001')
    expect(context.err).toContain('http://127.0.0.1:40002/  in a browser')
    // An installed command has no scripts of npm beside it.
    expect(context.err).toMatch(/^ {2}sluice-sim cloud$/m)
    expect(context.out).toBe('')
    context.signal('SIGTERM')
    release()
    expect(await run).toBe(0)
  })

  test('the first signal stops in order, with a deadline that leaves time to close within gateway.stopTimeout', async () => {
    const { gateway, deadlines, release } = heldGateway()
    context.gateway = async () => gateway
    const run = runCli(['start'], context)
    await started()
    context.signal('SIGTERM')
    await expect.poll(() => deadlines).toEqual([15_000])
    release()
    expect(await run).toBe(0)
    expect(context.exits).toEqual([])
    expect(context.listeners.size).toBe(0)
  })

  test('a second signal ends it at once, with exit code 1', async () => {
    const { gateway, deadlines, release } = heldGateway()
    context.gateway = async () => gateway
    const run = runCli(['start'], context)
    await started()
    vi.useFakeTimers()
    context.signal('SIGINT')
    await expect.poll(() => deadlines).toHaveLength(1)
    expect(context.exits).toEqual([])
    context.signal('SIGTERM')
    expect(context.exits).toEqual([1])
    expect(context.err).toContain('stopped at once (second signal)')
    release()
    await run
  })

  test('Ctrl-C that comes twice within a moment, from the terminal and from npm, is one signal', async () => {
    const { gateway, deadlines, release } = heldGateway()
    context.gateway = async () => gateway
    const run = runCli(['start'], context)
    await started()
    vi.useFakeTimers()
    context.signal('SIGINT')
    vi.advanceTimersByTime(399)
    context.signal('SIGINT')
    await expect.poll(() => deadlines).toHaveLength(1)
    expect(context.exits).toEqual([])
    vi.advanceTimersByTime(2)
    context.signal('SIGINT')
    expect(context.exits).toEqual([1])
    release()
    await run
  })

  test('SIGHUP reloads and reads files again, other signals do nothing; none of them stops it', async () => {
    const { gateway, deadlines, release, rereads } = heldGateway()
    context.gateway = async () => gateway
    const run = runCli(['start'], context)
    await started()
    context.signal('SIGHUP')
    context.signal('SIGUSR2')
    expect(context.err).toContain('SIGUSR2 does nothing here')
    await expect.poll(() => rereads.count).toBe(1)
    expect(context.err).toContain('SIGHUP: nothing differs from what is in force')
    expect(deadlines).toEqual([])
    context.signal('SIGTERM')
    release()
    expect(await run).toBe(0)
  })

  test('the deadline ends it at once', async () => {
    const { gateway, release } = heldGateway(5_000)
    context.gateway = async () => gateway
    context.env['SLUICE__GATEWAY__STOP_TIMEOUT'] = '5s'
    const run = runCli(['start', '--no-hint'], context)
    await expect.poll(() => context.listeners.size).toBe(1)
    vi.useFakeTimers()
    context.signal('SIGTERM')
    await vi.advanceTimersByTimeAsync(4_999)
    expect(context.exits).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(context.exits).toEqual([1])
    expect(context.err).toContain('gateway.stopTimeout is over')
    release()
    await run
  })

  test('a signal during a long opening stops the gateway as soon as it is open', async () => {
    const { gateway, deadlines, release } = heldGateway()
    let open: (gateway: RunningGateway) => void = () => undefined
    context.gateway = () =>
      new Promise((resolve) => {
        open = resolve
      })
    const run = runCli(['start'], context)
    await expect.poll(() => context.listeners.size).toBe(1)
    context.signal('SIGTERM')
    expect(deadlines).toEqual([])
    open(gateway)
    release()
    expect(await run).toBe(0)
    expect(deadlines).toHaveLength(1)
    expect(context.err).not.toContain('Publish the first reading')
  })

  test('a gateway that cannot start is a failure with its message; a bad configuration is refused before', async () => {
    context.gateway = () => Promise.reject(new Error('the folder is owned by process 7'))
    expect(await runCli(['start'], context)).toBe(1)
    expect(context.err).toContain('sluice: the folder is owned by process 7')
    context.env['SLUICE__LOG__LEVEL'] = 'loud'
    expect(await runCli(['start'], context)).toBe(2)
    expect(context.err).toContain('environment SLUICE__LOG__LEVEL: log.level: got "loud"')
  })

  test('warns when fsync, compression and password hashing share too few threads', () => {
    expect(poolAdvice({})).toContain('UV_THREADPOOL_SIZE=8')
    expect(poolAdvice({ UV_THREADPOOL_SIZE: '7' })).toContain('share 7 threads')
    expect(poolAdvice({ UV_THREADPOOL_SIZE: '' })).toContain('share 1 threads')
    expect(poolAdvice({ UV_THREADPOOL_SIZE: '16' })).toBeNull()
  })
})

describe('first steps', () => {
  const gateway = {
    addresses: [{ host: '127.0.0.1', port: 1883 }],
    adminUrl: 'http://127.0.0.1:9464',
    gatewayId: 'edge-01',
    config: defaultConfig('/'),
    reload: async () => NOTHING_CHANGED,
    live: () => ({ ok: true, reasons: [] }),
    reread: async () => undefined,
    stop: async () => undefined,
  }
  const commands = { status: 'sluice status', cloud: 'npm run cloud' }
  const steps = (config: Config) =>
    firstSteps(config, { ...gateway, sinks: sinkTargets(config) }, commands)

  test('name both publishers, the reference cloud, status and metrics', () => {
    const text = steps(defaultConfig('/box'))
    for (const part of [
      `mosquitto_pub -h 127.0.0.1 -p 1883 -i press-7 -q 1 -t plant/press-7/temp -m '{"celsius":21.4}'`,
      `npx mqtt pub -h 127.0.0.1 -p 1883 -i press-7 -q 1 -t plant/press-7/temp -m '{"celsius":21.4}'`,
      'npm run cloud',
      'sluice status',
      'http://127.0.0.1:9464/metrics',
      '/box/data',
    ])
      expect(text).toContain(part)
  })

  test('fit the configuration: user, TLS, the topic of the first stream; no reference cloud for another sink', () => {
    const { config } = loadConfig(SCHEMA, {
      file: null,
      cwd: '/box',
      env: {
        SLUICE__MQTT__LISTENERS: '[{ host: 0.0.0.0, port: 8883, tls: { cert: c, key: k } }]',
        SLUICE__MQTT__AUTH__PASSWORD_FILE: 'users',
        SLUICE__STREAMS__TELEMETRY__TOPICS: '["it is/+/#"]',
        SLUICE__SINKS__CLOUD__URL: 'https://example.org/in?key=secret',
      },
    })
    const text = steps(config)
    expect(text).toContain(
      `-h 127.0.0.1 -p 1883 -i press-7 -q 1 -u USER -P PASSWORD -t 'it is/press-7/temp'`,
    )
    expect(text).toContain('-l mqtts --ca CA.pem')
    expect(text).not.toContain('npm run cloud')
    expect(text).not.toContain('secret')
  })

  test.each([
    ['#', 'plant/press-7/temp'],
    ['a/+/b/#', 'a/press-7/b/temp'],
    ['+', 'press-7'],
    ['a//b', 'a//b'],
  ])('an example of %s is %s', (filter, topic) => {
    expect(exampleTopic(filter)).toBe(topic)
  })
})
