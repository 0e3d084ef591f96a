/**
 * The configurations in gateway/packaging/examples: `sluice check` takes each without a complaint,
 * and a gateway that starts with it stores a reading. Their receivers are not there: I7.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { connectAsync } from 'mqtt'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { RunningGateway } from '../../gateway/cli/context.ts'
import { configuredGateway } from '../../gateway/command-line.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { type Config, SCHEMA } from '../../gateway/configuration.ts'
import type { Status } from '../../gateway/ports/status.ts'
import { SINK_TYPES, sinkTypeOf } from '../../gateway/sink/registry.ts'
import { sourcePath } from '../support/source-path.ts'

const EXAMPLES = sourcePath('gateway/packaging/examples')
const NAMES = readdirSync(EXAMPLES).filter((name) => name.endsWith('.yaml'))

/** A gateway starts without the client library of a sink, and says so. */
const WANTS_NEWER_NODE = /^sinks\.cluster: \S+ needs Node [\d.]+ or newer/

let folder: string
let gateway: RunningGateway | null = null
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-example-'))
})
afterEach(async () => {
  await gateway?.stop(1000)
  gateway = null
  rmSync(folder, { recursive: true, force: true })
})

function configOf(file: string): Config {
  return loadConfig(SCHEMA, { file, env: {}, cwd: dirname(file) }).config
}

const types = new Set(
  NAMES.flatMap((name) =>
    Object.values(configOf(join(EXAMPLES, name)).sinks).map(({ type }) => type),
  ),
)
test.each(Object.keys(SINK_TYPES))('there is an example of type %s', (type) => {
  expect(types).toContain(type)
})

describe.each(NAMES)('%s', (name) => {
  test('a gateway starts with it, promises something, and stores a reading', async () => {
    const file = join(folder, name)
    copyFileSync(join(EXAMPLES, name), file)
    const env = {
      SLUICE__GATEWAY__DATA_DIR: join(folder, 'data'),
      SLUICE__MQTT__LISTENERS__0__PORT: '0',
      SLUICE__ADMIN__PORT: '0',
      SLUICE__SPOOL__MIN_FREE_BYTES: '1MiB',
      SLUICE__LOG__LEVEL: 'error',
    }
    const source = { file, env, cwd: folder }
    const configured = await configuredGateway(source)
    expect(configured.warnings).toEqual([])
    for (const { promise } of configured.sinkPromises()) expect(promise.by).not.toBe('')
    supplyFiles(file)
    const faults = await configured.findFaults()
    expect(faults.filter(({ message }) => !WANTS_NEWER_NODE.test(message))).toEqual([])
    gateway = await configured.start()
    const { port } = gateway.addresses[0] ?? {}
    const device = await connectAsync(`mqtt://127.0.0.1:${port}`, { clientId: 'press-7' })
    await device.publishAsync('plant/press-7/temp', '{"celsius":21.4}', { qos: 1 })
    await device.endAsync()
    const answer = await fetch(`${gateway.adminUrl}/api/status`)
    const status = (await answer.json()) as Status
    expect(status.streams[0]?.counters.received).toBe(1)
  })
})

const CERTIFICATES: Readonly<Record<string, string>> = {
  ca: 'test/support/tls-sink/ca.pem',
  cert: 'test/support/tls-sink/client.pem',
  key: 'test/support/tls-sink/client.key',
}

/** What it names is there on a box: secrets, and certificates. */
function supplyFiles(file: string): void {
  for (const sink of Object.values(configOf(file).sinks)) {
    for (const [key, path] of sinkTypeOf(sink).files(sink)) {
      expect(relative(folder, path).startsWith('..'), `${key}: ${path}`).toBe(false)
      mkdirSync(dirname(path), { recursive: true })
      const certificate = /\b(ca|cert|key)$/.exec(key)?.[1]
      if (certificate === undefined) writeFileSync(path, 'c2VjcmV0')
      else copyFileSync(sourcePath(CERTIFICATES[certificate] ?? ''), path)
    }
  }
}
