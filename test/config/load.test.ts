import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '../../gateway/config/load.ts'
import { effectiveYaml } from '../../gateway/config/print.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { defaultConfig, httpSinkOf } from '../support/configs.ts'
import { ConfigFolder } from './folder.ts'

/** The block of the specification, value by value; keys that came later are not in it. */
const SPECIFIED = `
gateway: { id: null, dataDir: ./data }
mqtt:
  listeners:
    - { host: 127.0.0.1, port: 1883 }
  auth: null
  allowAnonymous: false
  unrouted: accept
streams:
  telemetry: { topics: ["#"], sink: cloud, device: clientId, payload: any, priority: 0, maxRecordBytes: 256KiB, maxBytes: 1GiB, maxAge: null, whenFull: block, deadLetters: { maxBytes: 64MiB, maxAge: null, whenFull: hold } }
sinks:
  cloud: { type: http, url: "http://127.0.0.1:9000/ingest", headers: {}, bearerToken: null, tls: null, format: { kind: ndjson }, compression: gzip, ack: status, ackStatus: [200, 201, 204], answers: {}, maxInFlight: 1,
           maxBatchRecords: 10000, maxBatchBytes: 4MiB, linger: 200ms, timeout: 30s, maxRetryAfter: 1h, recoveryJitter: 0s, maxBytesPerSecond: null, maxRefusedShare: 0.5, allowInsecure: false }
spool: { commitInterval: 50ms, commitBurst: 1000, minFreeBytes: 256MiB }
admin: { host: 127.0.0.1, port: 9464, token: null }
log: { level: info, format: auto }
`

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

describe('defaults', () => {
  test('are those that were specified, word by word', () => {
    const printed = parse(effectiveYaml(SCHEMA.root, defaultConfig(folder.path)))
    const specified = parse(SPECIFIED)
    specified.gateway.dataDir = `${folder.path}/data`
    expect(printed).toMatchObject(specified)
  })

  test('are the same whether the file names them, is empty, has empty sections, or is not there', () => {
    const expected = defaultConfig(folder.path)
    expect(folder.load(SPECIFIED).config).toEqual(expected)
    expect(folder.load('').config).toEqual(expected)
    expect(folder.load('# nothing\n').config).toEqual(expected)
    const sections =
      'gateway:\nmqtt:\nspool:\nadmin:\nlog:\nstreams: { telemetry: }\nsinks: { cloud: }\n'
    expect(folder.load(sections).config).toEqual(expected)
  })

  test('keep a retained message of any size that a packet can have', () => {
    const { mqtt } = defaultConfig(folder.path)
    expect(mqtt.maxRetainedMessageBytes).toBeGreaterThanOrEqual(mqtt.maxPacketBytes)
  })

  test('let a record of the default size through the largest packet', () => {
    const { mqtt, streams } = defaultConfig(folder.path)
    expect(mqtt.maxPacketBytes).toBeGreaterThan(
      4 * (streams['telemetry']?.maxRecordBytes ?? Infinity) - 1,
    )
  })

  test('bound the memory that devices can make the gateway hold below 250 MB (I6)', () => {
    const { mqtt } = defaultConfig(folder.path)
    const held =
      mqtt.maxUnackedBytesTotal + mqtt.maxHoldBackBytesTotal + mqtt.maxSubscriberBytesTotal
    expect(held + mqtt.maxRetainedBytes).toBeLessThanOrEqual(128 * 1024 * 1024)
  })
})

describe('printing', () => {
  test('gives YAML that loads as the same configuration', () => {
    const { config } = folder.load(`
mqtt: { listeners: [{ port: 1884, auth: null }, { host: "::1", port: 8883, tls: { cert: c.pem, key: k.pem } }], auth: { passwordFile: users } }
streams: { a-b: { maxBytes: 1234567, maxAge: 36h, device: "topic:2" }, alarms: { topics: ["alarm/#", "+/x"], priority: 9 } }
sinks: { cloud: { url: "https://example.org/in", maxBytesPerSecond: 10KiB, tls: { ca: ca.pem } } }
`)
    expect(folder.load(effectiveYaml(SCHEMA.root, config)).config).toEqual(config)
  })

  test('hides every secret and names the file of one that has a file', () => {
    const { config } = folder.load(`
sinks:
  cloud:
    url: https://example.org/in?key=s3cret-query
    bearerToken: s3cret-token
    headers: { X-Key: s3cret-header, X-File: { file: header.txt } }
admin: { token: s3cret-admin }
`)
    const printed = effectiveYaml(SCHEMA.root, config)
    expect(printed).not.toContain('s3cret')
    expect(printed).toContain('bearerToken: (hidden)')
    expect(printed).toContain(`file: ${folder.path}/header.txt`)
    expect(printed).toContain('https://example.org/in?(hidden)')
  })
})

describe('values', () => {
  test('carry units into ms and bytes, and relative paths count from the file', () => {
    folder.write(
      'gateway: { dataDir: spool }\nmqtt: { auth: { passwordFile: ../users, aclFile: /etc/acl } }\n',
    )
    const { config } = loadConfig(SCHEMA, { file: `${folder.path}/sluice.yaml`, env: {}, cwd: '/' })
    expect(config.gateway.dataDir).toBe(`${folder.path}/spool`)
    expect(config.mqtt.auth?.passwordFile).toMatch(/^\/[^.]*\/users$/)
    expect(config.mqtt.auth?.aclFile).toBe('/etc/acl')
  })

  test('without a file relative paths count from the working directory', () => {
    expect(
      loadConfig(SCHEMA, { file: null, env: {}, cwd: '/srv/box' }).config.gateway.dataDir,
    ).toBe('/srv/box/data')
  })

  test('a secret is a literal or a file whose path counts from the configuration', () => {
    const { config } = folder.load(
      'sinks: { cloud: { bearerToken: { file: token } } }\nadmin: { token: abc }\n',
    )
    expect(httpSinkOf(config).bearerToken).toEqual({ file: `${folder.path}/token` })
    expect(config.admin.token).toEqual({ value: 'abc' })
  })

  test('a listener on every address that requires client certificates needs no password file; rules need none either', () => {
    const tls = '{ cert: c, key: k, ca: a, requireClientCert: true }'
    const listeners = `listeners: [{ host: 0.0.0.0, port: 8883, tls: ${tls} }]`
    expect(folder.load(`mqtt: { ${listeners} }`).warnings).toEqual([])
    const { config, warnings } = folder.load(`mqtt: { ${listeners}, auth: { aclFile: rules } }`)
    expect(config.mqtt.auth).toEqual({ passwordFile: null, aclFile: `${folder.path}/rules` })
    expect(warnings).toEqual([])
  })

  test('a listener may turn the common authentication off for itself, or leave it alone', () => {
    const { config } = folder.load(
      'mqtt: { auth: { passwordFile: u }, listeners: [{ port: 1 }, { port: 2, auth: null }] }\n',
    )
    expect(config.mqtt.listeners.map((listener) => 'auth' in listener)).toEqual([false, true])
    expect(config.mqtt.listeners[1]?.auth).toBeNull()
  })

  test('YAML anchors and merge keys carry settings from one stream to the next', () => {
    const { config } = folder.load(
      'streams:\n  a: &base { maxBytes: 2GiB, priority: 3 }\n  b:\n    <<: *base\n    priority: 4\n',
    )
    expect(config.streams['b']).toMatchObject({ maxBytes: 2 * 1024 ** 3, priority: 4 })
  })
})

describe('warnings', () => {
  test.each([
    ['sinks: { cloud: {}, spare: {} }', 'sinks.spare: no stream uses it'],
    ['streams: { a: { maxRecordBytes: 2MiB } }', 'streams.a.maxRecordBytes: 2MiB is never reached'],
    ['sinks: { cloud: { maxBatchBytes: 100KiB } }', 'is sent alone, in a larger request'],
    ['admin: { host: 0.0.0.0 }', 'only /, /metrics, /livez and /readyz are served'],
    ['admin: { host: 0.0.0.0, token: abc }', 'tokens and passwords cross the network unencrypted'],
    [
      'mqtt: { listeners: [{ host: 0.0.0.0 }], auth: { passwordFile: u } }',
      'passwords cross the network unencrypted',
    ],
    ['streams: { a: { topics: [x, x] } }', 'streams.a.topics[1]: "x" is there twice'],
    ['sinks: { cloud: { ackStatus: [200, 202] } }', 'sinks.cloud.ackStatus: 202 means'],
  ])('%s is taken with a warning', (text, warning) => {
    expect(folder.load(text).warnings.join('\n')).toContain(warning)
  })

  test('the defaults give none', () => {
    expect(folder.load('').warnings).toEqual([])
  })
})
