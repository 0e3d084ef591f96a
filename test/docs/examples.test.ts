/**
 * The configurations in gateway/packaging/examples: `sluice check` takes each without a complaint,
 * and a gateway that starts with it stores a reading. Their receivers are not there (I7), but of the
 * examples whose certificates are the point.
 */
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { connectAsync } from 'mqtt'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { freePort } from '../../device-sim/free-ports.ts'
import type { RunningGateway } from '../../gateway/cli/context.ts'
import { configuredGateway } from '../../gateway/command-line.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { type Config, SCHEMA } from '../../gateway/configuration.ts'
import type { Status } from '../../gateway/ports/status.ts'
import { SINK_TYPES, sinkTypeOf } from '../../gateway/sink/registry.ts'
import { Mosquitto, Subscriber } from '../sink/mqtt/mosquitto.ts'
import { reapProcesses } from '../support/process.ts'
import { ScriptedSink } from '../support/scripted-sink.ts'
import { sourcePath } from '../support/source-path.ts'
import { testWithTool } from '../support/tool-tests.ts'

const EXAMPLES = sourcePath('gateway/packaging/examples')
const NAMES = readdirSync(EXAMPLES).filter((name) => name.endsWith('.yaml'))

/** A gateway starts without Kafka's client library, which no Node 20 can have, and says so. */
const HAS_NO_CLIENT = /^sinks\.cluster: \S+ (needs Node [\d.]+ or newer|is not installed)/

let folder: string
let gateway: RunningGateway | null = null
const closing: Array<{ close(): Promise<void> }> = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-example-'))
})
afterEach(async () => {
  await gateway?.stop(1000)
  gateway = null
  for (const one of closing.splice(0)) await one.close()
  await reapProcesses()
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
    const { adminUrl } = await startWith(name)
    await publish()
    const answer = await fetch(`${adminUrl}/api/status`)
    const status = (await answer.json()) as Status
    expect(status.streams[0]?.counters.received).toBe(1)
  })
})

describe('examples with an authority of their own, to a receiver that wants a certificate of it', () => {
  const key = readFileSync(sourcePath('test/support/tls-sink/server.key'))
  const cert = readFileSync(sourcePath('test/support/tls-sink/server.pem'))
  const ca = readFileSync(sourcePath('test/support/tls-sink/ca.pem'))

  test('http-private-ca.yaml', async () => {
    const tls = { key, cert, ca, requestCert: true, rejectUnauthorized: true }
    let told: (line: string) => void = () => undefined
    const taken = new Promise<string>((resolve) => {
      told = resolve
    })
    const service = await ScriptedSink.start({
      tls,
      script: ({ lines: [line] }) => {
        if (line !== undefined) told(line)
        return {}
      },
    })
    closing.push(service)
    const url = `https://localhost:${service.port}/v1/readings`
    const env = { SLUICE__SINKS__CLOUD__URL: url }
    const { configured } = await startWith('http-private-ca.yaml', env)
    const { probes } = await configured.tryOut()
    expect(probes.flatMap(({ steps }) => steps).filter(isProblem)).toEqual([])
    await publish()
    expect(await taken).toContain('"celsius":21.4')
  })

  testWithTool('mosquitto', 'mqtt-private-ca.yaml', async () => {
    const port = await freePort()
    const broker = await Mosquitto.start(folder, [
      `listener ${port} 127.0.0.1`,
      `cafile ${sourcePath('test/support/tls-sink/ca.pem')}`,
      `certfile ${sourcePath('test/support/tls-sink/server.pem')}`,
      `keyfile ${sourcePath('test/support/tls-sink/server.key')}`,
      'require_certificate true',
      'allow_anonymous true',
    ])
    const reader = await Subscriber.start(broker.url)
    closing.push(reader)
    const url = `mqtts://localhost:${port}`
    const env = { SLUICE__SINKS__HUB__URL: url }
    const { configured } = await startWith('mqtt-private-ca.yaml', env)
    const { probes } = await configured.tryOut()
    expect(probes.flatMap(({ steps }) => steps).filter(isProblem)).toEqual([])
    const taken = reader.next()
    await publish()
    expect(await taken).toMatchObject({
      topic: 'site-7/plant/press-7/temp',
      text: '{"celsius":21.4}',
    })
  })
})

async function startWith(name: string, changes: Readonly<Record<string, string>> = {}) {
  const file = join(folder, name)
  copyFileSync(join(EXAMPLES, name), file)
  const env = {
    SLUICE__GATEWAY__DATA_DIR: join(folder, 'data'),
    SLUICE__MQTT__LISTENERS__0__PORT: '0',
    SLUICE__ADMIN__PORT: '0',
    SLUICE__SPOOL__MIN_FREE_BYTES: '1MiB',
    SLUICE__LOG__LEVEL: 'error',
    ...changes,
  }
  const configured = await configuredGateway({ file, env, cwd: folder })
  expect(configured.warnings).toEqual([])
  for (const { promise } of configured.sinkPromises()) expect(promise.by).not.toBe('')
  supplyFiles(file)
  const faults = await configured.findFaults()
  expect(faults.filter(({ message }) => !HAS_NO_CLIENT.test(message))).toEqual([])
  gateway = await configured.start()
  return { configured, adminUrl: gateway.adminUrl }
}

async function publish(): Promise<void> {
  const { port } = gateway?.addresses[0] ?? {}
  const device = await connectAsync(`mqtt://127.0.0.1:${port}`, { clientId: 'press-7' })
  await device.publishAsync('plant/press-7/temp', '{"celsius":21.4}', { qos: 1 })
  await device.endAsync()
}

const isProblem = ({ verdict }: { readonly verdict: string }): boolean => verdict === 'problem'

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
