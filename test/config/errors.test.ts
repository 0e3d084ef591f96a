import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadConfig } from '../../gateway/config/load.ts'
import { ConfigError, describeProblem } from '../../gateway/config/problems.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { ConfigFolder } from './folder.ts'

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

/**
 * One mistake a row: the text, the key, what it got, a part of what it wants, a part of the fix.
 */
type Row = readonly [text: string, key: string, got: string, wanted: string, fix: string]
const MISTAKES: readonly Row[] = [
  ['streams: { a: { maxBytes: 1GB } }', 'streams.a.maxBytes', '"1GB"', 'a size', 'write 1GiB'],
  ['streams: { a: { maxBytes: 12 } }', 'streams.a.maxBytes', '12', 'a size', 'write at least 1KiB'],
  ['streams: { a: { maxBytes: null } }', 'streams.a.maxBytes', 'null', 'a size', 'write bytes or'],
  ['mqtt: { sessionExpiry: 5 }', 'mqtt.sessionExpiry', '5', 'a duration', 'example 5m or 5h'],
  ['sinks: { cloud: { timeout: 30 } }', 'sinks.cloud.timeout', '30', 'a duration', '30s or 30m'],
  [
    'sinks: { cloud: { timeout: 40d } }',
    'sinks.cloud.timeout',
    '"40d"',
    'a duration',
    'at most 24d',
  ],
  ['streams: { a: { priority: 10 } }', 'streams.a.priority', '10', 'from 0 to 9', 'at most 9'],
  [
    'streams: { a: { priority: "1" } }',
    'streams.a.priority',
    '"1"',
    'a whole number',
    'without quotation marks',
  ],
  [
    'streams: { a: { priority: 1.5 } }',
    'streams.a.priority',
    '1.5',
    'a whole number',
    'write a whole number',
  ],
  [
    'streams: { a: { whenFull: blok } }',
    'streams.a.whenFull',
    '"blok"',
    'one of block, drop-oldest',
    'write block',
  ],
  [
    'streams: { a: { whenFull: DropOldest } }',
    'streams.a.whenFull',
    '"DropOldest"',
    'one of',
    'write drop-oldest',
  ],
  ['streams: { a: { device: topic } }', 'streams.a.device', '"topic"', 'topic:<level>', 'topic:1'],
  [
    'streams: { a: { device: "topic:-1" } }',
    'streams.a.device',
    '"topic:-1"',
    'topic:<level>',
    'topic:1',
  ],
  [
    'streams: { a: { topics: [] } }',
    'streams.a.topics',
    'an empty list',
    'at least 1',
    'add an item',
  ],
  ['streams: { a: { topics: "x/#" } }', 'streams.a.topics', '"x/#"', 'a list', '[a, b]'],
  [
    'streams: { a: { topics: ["x/#/y"] } }',
    'streams.a.topics[0]',
    '"x/#/y"',
    'topic filter',
    'put # last',
  ],
  [
    'streams: { a: { topics: ["x+/y"] } }',
    'streams.a.topics[0]',
    '"x+/y"',
    'topic filter',
    'stand alone',
  ],
  [
    'streams: { a: { topics: ["$SYS/#"] } }',
    'streams.a.topics[0]',
    '"$SYS/#"',
    'topic filter',
    'begin with $',
  ],
  [
    'streams: { a: { topics: [""] } }',
    'streams.a.topics[0]',
    '""',
    'topic filter',
    'write an MQTT topic filter',
  ],
  ['streams: { a_b: {} }', 'streams.a_b', 'the name "a_b"', 'a name of a-z', 'write a-b'],
  [
    'streams: { Übung 1: {} }',
    'streams."Übung 1"',
    'the name "Übung 1"',
    'a name of a-z',
    'write bung-1',
  ],
  [
    'streams: { __proto__: {} }',
    'streams.__proto__',
    'the name "__proto__"',
    'a name of a-z',
    'write proto',
  ],
  ['streams: {}', 'streams', 'no stream', 'at least one', 'add a stream'],
  ['streams:', 'streams', 'null', 'a map of names', 'remove it for the default'],
  [
    'streams: { a: { sink: clout } }',
    'streams.a.sink',
    '"clout"',
    'the name of a sink: cloud',
    'write cloud',
  ],
  [
    'streams: { a: { sink: x } }\nsinks: {}',
    'streams.a.sink',
    '"x"',
    'there is none',
    'add sinks.x',
  ],
  [
    'streams: { a: { maxBytes: 100KiB } }',
    'streams.a.maxBytes',
    '100KiB',
    'room for one record',
    'lower maxRecordBytes',
  ],
  [
    'streams: { a: { deadLetters: { maxBytes: 1KiB } } }',
    'streams.a.deadLetters.maxBytes',
    '1KiB',
    'room for one record',
    'write 256KiB or more',
  ],
  ['gateway: { id: Box 1 }', 'gateway.id', '"Box 1"', 'a name of a-z', 'write box-1'],
  ['gateway: { id: 42 }', 'gateway.id', '42', 'a name', 'put it in quotation marks: "42"'],
  ['gateway: { idd: x }', 'gateway.idd', 'an unknown key', 'one of id, dataDir', 'write id'],
  ['gatway: {}', 'gatway', 'an unknown key', 'one of gateway, mqtt', 'write gateway'],
  ['frobnicate: 1', 'frobnicate', 'an unknown key', 'one of gateway', 'remove it'],
  [
    'mqtt: { max-packet-bytes: 1MiB }',
    'mqtt.max-packet-bytes',
    'an unknown key',
    'a key of',
    'write maxPacketBytes',
  ],
  ['mqtt: { allowAnonymous: yes }', 'mqtt.allowAnonymous', '"yes"', 'true or false', 'write true'],
  ['mqtt: { listeners: [] }', 'mqtt.listeners', 'an empty list', 'at least 1', 'add an item'],
  [
    'mqtt: { listeners: [{ port: 70000 }] }',
    'mqtt.listeners[0].port',
    '70000',
    'from 0 to 65535',
    'at most 65535',
  ],
  [
    'mqtt: { listeners: [{ host: "127.0.0.1:1" }] }',
    'mqtt.listeners[0].host',
    '"127.0.0.1:1"',
    'a host',
    'port',
  ],
  [
    'mqtt: { listeners: [{ host: "[::1]" }] }',
    'mqtt.listeners[0].host',
    '"[::1]"',
    'a host',
    'write ::1',
  ],
  [
    'mqtt: { listeners: [{}, {}] }',
    'mqtt.listeners[1]',
    '127.0.0.1 port 1883 a second time',
    'another',
    'change',
  ],
  [
    'mqtt: { listeners: [{ host: 0.0.0.0 }] }',
    'mqtt.listeners[0].host',
    '"0.0.0.0" without authentication',
    'mqtt.auth, or a loopback address',
    'mqtt.allowAnonymous',
  ],
  [
    'mqtt: { auth: { passwordFile: u }, listeners: [{ host: "::", auth: null }] }',
    'mqtt.listeners[0].host',
    '"::" without authentication',
    'mqtt.auth',
    'listen on 127.0.0.1',
  ],
  [
    'mqtt: { listeners: [{ tls: { cert: c, key: k, requireClientCert: true } }] }',
    'mqtt.listeners[0].tls.requireClientCert',
    'true without ca',
    'ca',
    'set ca',
  ],
  [
    'mqtt: { listeners: [{ tls: { cert: c } }] }',
    'mqtt.listeners[0].tls.key',
    'nothing',
    'a path',
    'add the key',
  ],
  [
    'mqtt: { auth: {} }',
    'mqtt.auth',
    'neither passwordFile nor aclFile',
    'at least one of them',
    'set mqtt.auth.passwordFile',
  ],
  [
    'mqtt: { allowAnonymous: true, listeners: [{ auth: {} }] }',
    'mqtt.listeners[0].auth',
    'neither passwordFile nor aclFile',
    'at least one of them',
    'write mqtt.listeners[0].auth: null',
  ],
  [
    'mqtt: { auth: { aclFile: rules }, listeners: [{ host: 0.0.0.0 }] }',
    'mqtt.listeners[0].host',
    '"0.0.0.0" without authentication',
    'mqtt.auth, or a loopback address',
    'tls.requireClientCert',
  ],
  ['mqtt: { auth: true }', 'mqtt.auth', 'true', 'a map of keys, or null', 'indented below'],
  [
    'mqtt: { maxUnackedBytes: 100KiB }',
    'mqtt.maxUnackedBytes',
    '100KiB',
    'mqtt.maxPacketBytes (1MiB)',
    '1MiB or more',
  ],
  [
    'mqtt: { maxUnackedMessagesTotal: 10 }',
    'mqtt.maxUnackedMessagesTotal',
    '10',
    'mqtt.maxUnackedMessages (1000)',
    'write 1000 or more',
  ],
  [
    'sinks: { cloud: { url: "ftp://x" } }',
    'sinks.cloud.url',
    '"ftp://x"',
    'an http or https URL',
    'begins with http',
  ],
  [
    'sinks: { cloud: { url: example.org } }',
    'sinks.cloud.url',
    '"example.org"',
    'an http',
    'https://cloud.example',
  ],
  [
    'sinks: { cloud: { url: "https://u:hunter2@x/" } }',
    'sinks.cloud.url',
    '"https://(hidden)@x/"',
    'an http',
    'take user and password out',
  ],
  [
    'sinks: { cloud: { url: "http:///ingest" } }',
    'sinks.cloud.url',
    '"http:///ingest"',
    'an http',
    'write the host',
  ],
  [
    'sinks: { cloud: { url: "https:ingest" } }',
    'sinks.cloud.url',
    '"https:ingest"',
    'an http',
    'write the host',
  ],
  [
    'sinks: { cloud: { url: "https:////x/y" } }',
    'sinks.cloud.url',
    '"https:////x/y"',
    'an http',
    'write the host',
  ],
  [
    'sinks: { cloud: { url: "https://x/#y" } }',
    'sinks.cloud.url',
    '"https://x/#y"',
    'an http',
    'from #',
  ],
  [
    'sinks: { cloud: { ackStatus: [200, 404] } }',
    'sinks.cloud.ackStatus[1]',
    '404',
    'from 200 to 299',
    'only a 2xx',
  ],
  [
    'sinks: { cloud: { ackStatus: [207] } }',
    'sinks.cloud.ackStatus[0]',
    '207',
    'without 207',
    'remove it',
  ],
  ...(
    [
      ['207', 'acked', '207: it acks through its body alone', 'remove it'],
      ['302', 'acked', 'acked for 2xx, 409, 422 alone', 'retry or hold'],
      ['404', 'acked', 'acked for 2xx, 409, 422 alone', 'retry or hold'],
      ['4xx', 'acked', 'acked for 2xx, 409, 422 alone', 'retry or hold'],
      ['5xx', 'refused', 'a status that speaks of the records', 'retry or hold'],
      ['2xx', 'refused', 'a status that speaks of the records', 'retry or hold'],
      ['503', 'refused', 'a status that speaks of the records', 'retry or hold'],
      ['401', 'too-large', 'a status that speaks of the records', 'retry or hold'],
      ['302', 'refused', 'a status that speaks of the records', 'retry or hold'],
      ['600', 'hold', 'from 200 to 599', 'such as 409'],
      ['4x', 'hold', 'or 2xx, 3xx, 4xx, 5xx', 'such as 409'],
      ['6xx', 'hold', 'or 2xx, 3xx, 4xx, 5xx', 'such as 5xx'],
      ['accept', 'hold', 'or 2xx, 3xx, 4xx, 5xx', 'such as 5xx'],
    ] as const
  ).map(
    ([status, meaning, wanted, fix]): Row => [
      `sinks: { cloud: { answers: { ${status}: ${meaning} } } }`,
      `sinks.cloud.answers.${status}`,
      `${status}: ${meaning}`,
      wanted,
      fix,
    ],
  ),
  [
    'sinks: { cloud: { answers: { 409: ok } } }',
    'sinks.cloud.answers.409',
    '"ok"',
    'one of acked',
    'acked',
  ],
  ...(
    [
      ['answers: stats', 'answers.table', '"stats"', 'one of contract', 'status'],
      ['answers: acked', 'answers.table', 'table: acked', 'one of contract', 'contract or'],
      ['answers: { 409: status }', 'answers.409', '409: status', 'one of acked', 'hold'],
      ['answers: { ack: hold }', 'answers.ack', 'ack: hold', 'a list of statuses', 'ack: [409]'],
      ['answers: { 200: [409] }', 'answers.200', '200: [409]', 'one of acked', 'hold'],
      ['answers: { ack: [[1]] }', 'answers.ack', '', 'a list of statuses', '[200, 2xx]'],
      ['answers: { hold: [77] }', 'answers.hold[0]', '77: hold', 'from 200 to 599', 'such as 409'],
      [
        'answers: { ack: [200], hold: [2xx, 200] }',
        'answers.hold[1]',
        '200: hold',
        'one meaning for 200, which is acked as well',
        'remove one',
      ],
      [
        'answers: { 409: retry, retry: [409] }',
        'answers.retry[0]',
        '409: retry',
        'is there already',
        'remove one',
      ],
      [
        'ackStatus: [200], answers: { 201: acked }',
        'ackStatus',
        'ackStatus beside answers',
        'one of the two',
        'remove ackStatus',
      ],
      ['ack: body, answers: status', 'ack', 'body beside', 'ack: status', 'remove ack'],
      ['ack: any-body', 'ack', 'reads bodies', 'answers: status', 'answers: status'],
    ] as const
  ).map(
    ([keys, key, got, wanted, fix]): Row => [
      `sinks: { cloud: { ${keys} } }`,
      `sinks.cloud.${key}`,
      got,
      wanted,
      fix,
    ],
  ),
  ...(
    [
      ['kind: bearer', 'token', '', 'a text', 'add the key'],
      ['kind: oauth', 'kind', '"oauth"', 'one of none', 'oauth2'],
      ['kind: none, token: x', 'token', '', 'a key of kind none', 'bearer'],
      ['kind: header, name: Content-Type, value: x', 'name', 'Content-Type', 'none of', 'another'],
      ['kind: header, name: "a b", value: x', 'name', '"a b"', 'a header name', 'a header name'],
      ['kind: header, value: "a\\nb"', 'value', '', 'a text', 'printable ASCII'],
      ['kind: basic, user: "a:b", password: x', 'user', '"a:b"', 'without a colon', 'colon'],
      [
        'kind: oauth2, tokenUrl: "http://login.example/t", clientId: a, clientSecret: b',
        'tokenUrl',
        'plain http',
        'https',
        'allowInsecure',
      ],
      [
        'kind: oauth2, tokenUrl: "https://x/t", clientId: a, clientSecret: b, parameters: { scope: x }',
        'parameters',
        'the parameter scope',
        'no other key',
        'remove it',
      ],
      [
        'kind: oauth2, tokenUrl: "ftp://x/t", clientId: a, clientSecret: b',
        'tokenUrl',
        '"ftp://x/t"',
        'an http or https URL',
        'https://login.example',
      ],
      [
        'kind: oauth2, tokenUrl: "https://x/t", clientId: a, clientSecret: b, renewAt: 1',
        'renewAt',
        '1',
        'from 0.1 to 0.95',
        '0.75',
      ],
      [
        'kind: aws-sigv4, service: s3, region: eu-west-1, accessKeyId: a',
        'secretAccessKey',
        'no secretAccessKey',
        'or neither',
        'add secretAccessKey',
      ],
      [
        'kind: aws-sigv4, service: s3, region: eu-west-1, accessKeyId: a, secretAccessKey: b, credentialsFile: c',
        'credentialsFile',
        'beside accessKeyId',
        'one of the two',
        'remove one',
      ],
      [
        'kind: aws-sigv4, service: s3, region: eu-west-1, sessionToken: a',
        'sessionToken',
        'without accessKeyId',
        'beside it',
        'credentialsFile',
      ],
      ['kind: aws-sigv4, service: S3, region: x', 'service', '"S3"', 'kinesis', 'kinesis'],
      ['kind: azure-sas, key: x', 'keyName', 'no keyName', 'the policy', 'add keyName'],
      ['kind: azure-sas, key: x, keyName: a, lifetime: 1s', 'lifetime', '"1s"', 'from 1m', '1m'],
    ] as const
  ).map(
    ([keys, key, got, wanted, fix]): Row => [
      `sinks: { cloud: { auth: { ${keys} } } }`,
      `sinks.cloud.auth.${key}`,
      got,
      wanted,
      fix,
    ],
  ),
  [
    'sinks: { cloud: { bearerToken: x, auth: { kind: basic, user: a, password: b } } }',
    'sinks.cloud.bearerToken',
    'beside auth of kind basic',
    'one of the two',
    'remove bearerToken or auth',
  ],
  [
    'sinks: { cloud: { headers: { X-Key: a }, auth: { kind: header, name: x-key, value: b } } }',
    'sinks.cloud.headers.X-Key',
    'beside auth',
    'one of the two',
    'remove the header',
  ],
  [
    'sinks: { cloud: { url: "http://cloud.example/", auth: { kind: bearer, token: x } } }',
    'sinks.cloud.url',
    'with credentials of auth',
    'https',
    'allowInsecure',
  ],
  [
    'sinks: { cloud: { maxRefusedShare: 0 } }',
    'sinks.cloud.maxRefusedShare',
    '0',
    'above 0, at most 1',
    '0.5',
  ],
  [
    'sinks: { cloud: { maxRefusedShare: 1.01 } }',
    'sinks.cloud.maxRefusedShare',
    '1.01',
    'at most 1',
    '0.5',
  ],
  [
    'sinks: { cloud: { maxRefusedShare: 50% } }',
    'sinks.cloud.maxRefusedShare',
    '"50%"',
    'at most 1',
    'write 0.5',
  ],
  [
    'sinks: { cloud: { bearerToken: 123 } }',
    'sinks.cloud.bearerToken',
    'a number (hidden)',
    '{ file: path }',
    'quotation',
  ],
  [
    'sinks: { cloud: { bearerToken: "a b" } }',
    'sinks.cloud.bearerToken',
    'a text (hidden)',
    'a text',
    'without spaces',
  ],
  [
    'sinks: { cloud: { bearerToken: { path: x } } }',
    'sinks.cloud.bearerToken',
    'a map',
    '{ file: path }',
    'one key',
  ],
  [
    'sinks: { cloud: { headers: secret } }',
    'sinks.cloud.headers',
    'a text (hidden)',
    'a map',
    'indented below',
  ],
  [
    'sinks: { cloud: { headers: { Sluice-Gap: x } } }',
    'sinks.cloud.headers.Sluice-Gap',
    'the header',
    'Sluice-*',
    'remove',
  ],
  [
    'sinks: { cloud: { headers: { content-type: x } } }',
    'sinks.cloud.headers.content-type',
    'the header',
    'Content-*',
    'remove',
  ],
  [
    'sinks: { cloud: { headers: { IDEMPOTENCY-KEY: x } } }',
    'sinks.cloud.headers.IDEMPOTENCY-KEY',
    'the header "IDEMPOTENCY-KEY"',
    'Idempotency-Key',
    'choose another name',
  ],
  [
    'sinks: { cloud: { headers: { Connection: x } } }',
    'sinks.cloud.headers.Connection',
    'the header',
    'HTTP itself',
    'remove',
  ],
  [
    'sinks: { cloud: { headers: { "a b": x } } }',
    'sinks.cloud.headers."a b"',
    'the header',
    'a header name',
    'rename',
  ],
  [
    'sinks: { cloud: { headers: { a: "x\\ny" } } }',
    'sinks.cloud.headers.a',
    'a text (hidden)',
    'a text',
    'line breaks',
  ],
  [
    'sinks: { cloud: { bearerToken: x, headers: { Authorization: y } } }',
    'sinks.cloud.headers.Authorization',
    'the header "Authorization" beside bearerToken',
    'one of the two',
    'remove the header',
  ],
  [
    'sinks: { cloud: { url: "http://example.org", bearerToken: x } }',
    'sinks.cloud.url',
    'plain http to another host, with a bearerToken',
    'https',
    'allowInsecure',
  ],
  [
    'sinks: { cloud: { url: "http://10.0.0.1/?key=x" } }',
    'sinks.cloud.url',
    'plain http to another host, with a query',
    'https',
    'allowInsecure',
  ],
  [
    'sinks: { cloud: { tls: { ca: x } } }',
    'sinks.cloud.tls',
    'TLS files for a plain http URL',
    'https',
    'remove tls',
  ],
  [
    'sinks: { cloud: { url: "https://x", tls: { cert: x } } }',
    'sinks.cloud.tls',
    'no key',
    'cert and key, or neither',
    'add key',
  ],
  ['sinks: { Cloud: {} }', 'sinks.Cloud', 'the name "Cloud"', 'a name', 'write cloud'],
  ['sinks: { cloud: { type: amqp } }', 'sinks.cloud.type', '"amqp"', 'http', 'write http'],
  [
    'sinks: { cloud: { type: influxdb } }',
    'sinks.cloud.type',
    '"influxdb"',
    'http',
    'write type: http with format: { kind: influx }',
  ],
  [
    'sinks: { cloud: { type: mqtt, url: "mqtts://h:8883", qos: 1, profile: azure-iot-hub, clientId: d, topic: "a/${topic}" } }',
    'sinks.cloud.topic',
    '"a/${topic}"',
    'a topic of the device',
    'remove it',
  ],
  ...(['payload', 'record'] as const).map(
    (body): Row => [
      `sinks: { cloud: { type: nats, body: ${body} } }`,
      'sinks.cloud.body',
      `body: ${body} beside message: batch`,
      'body of records alone',
      'set message to record',
    ],
  ),
  ...(
    [
      ['kind: http', 'proxy.url', '', 'an http URL', 'add the key'],
      ['url: "https://proxy.example:3128"', 'proxy.url', '"https:', 'an http URL', '3128'],
      [
        'url: "http://me:pw@proxy.example"',
        'proxy.url',
        '',
        'an http URL',
        'use user and password',
      ],
      ['url: "http://proxy.example/x"', 'proxy.url', '/x"', 'of host and port', 'alone'],
      [
        'url: "http://p:1", user: me',
        'proxy.password',
        'no password',
        'or neither',
        'add password',
      ],
      ['url: "http://p:1", password: x', 'proxy.user', 'no user', 'or neither', 'add user'],
      ['url: "http://p:1", noProxy: ["a/b"]', 'proxy.noProxy[0]', '"a/b"', 'a host', '10.0.0.0/8'],
      ['kind: socks', 'proxy.kind', '"socks"', 'one of none, http', 'http'],
      ['kind: environment, url: "http://p:1"', 'proxy.url', '', 'kind environment', 'kind'],
    ] as const
  ).map(
    ([keys, key, got, wanted, fix]): Row => [
      `sinks: { cloud: { proxy: { ${keys} } } }`,
      `sinks.cloud.${key}`,
      got,
      wanted,
      fix,
    ],
  ),
  ['sinks: { cloud: { type: s3 } }', 'sinks.cloud.type', '"s3"', 'object', 'write object'],
  ['spool: { minFreeBytes: 0 }', 'spool.minFreeBytes', '0', 'a size', 'at least 1MiB'],
  [
    'admin: { port: 1883 }',
    'admin.port',
    'the port of mqtt.listeners[0]',
    'a port of its own',
    'change',
  ],
  ['admin: { token: "" }', 'admin.token', 'an empty text', 'a text', 'write the secret'],
  ['log: { level: warning }', 'log.level', '"warning"', 'one of trace, debug', 'write warn'],
  ['[]', '(the whole file)', 'an empty list', 'a map of keys', 'indented below'],
]

describe('a mistake is refused with its key, what it got, what it wants and the fix', () => {
  test.each(MISTAKES)('%s', (text, key, got, wanted, fix) => {
    const problem = folder.problems(text).find((one) => one.key === key)
    expect(problem, folder.problems(text).map(describeProblem).join('\n')).toBeDefined()
    expect(problem?.got).toContain(got)
    expect(problem?.wanted).toContain(wanted)
    expect(problem?.fix).toContain(fix)
  })

  test('all mistakes of a file are told at once, each with its line', () => {
    const text =
      'log:\n  level: loud\nstreams:\n  a:\n    maxBytes: 1GB\n    topics:\n      - a\n      - "#/b"\n'
    const places = folder
      .problems(text)
      .map(({ origin, key }) => [key, origin.kind === 'file' ? origin.line : null])
    expect(places).toEqual(
      expect.arrayContaining([
        ['log.level', 2],
        ['streams.a.maxBytes', 5],
        ['streams.a.topics[1]', 8],
      ]),
    )
  })

  test('the message has one line a problem: file, line, key, got, wanted, fix', () => {
    const [problem] = folder.problems('\nlog: { level: loud }\n')
    expect(problem && describeProblem(problem)).toBe(
      'sluice.yaml:2: log.level: got "loud", wants one of trace, debug, info, warn, error. Fix: write trace or debug or info or warn or error. [CONFIG_BAD_VALUE]',
    )
  })
})

test('a sink with a name that is none is refused once, not again for the stream that means it', () => {
  const url = '{ url: "http://127.0.0.1/in" }'
  const stream = 'streams: { telemetry: { sink: stick } }'
  expect(folder.problems(`${stream}\nsinks: { Stick: ${url} }`)).toMatchObject([
    { key: 'sinks.Stick', fix: 'write stick' },
  ])
  const both = folder.problems(`${stream}\nsinks: { Stik: ${url}, stack: ${url} }`)
  expect(both.map(({ key, fix }) => `${key}: ${fix}`)).toEqual([
    'sinks.Stik: write stik',
    'streams.telemetry.sink: write stack, or add sinks.stick',
  ])
})

describe('a file that cannot be read', () => {
  test.each([
    ['a: [1', 'not YAML'],
    ['a: 1\na: 2', 'a key twice'],
    ['a: 1\n---\nb: 2', 'not YAML'],
    ['\ta: 1', 'not YAML'],
    ['admin: { token: *s3cret }', 'not YAML'],
    ['admin: { token: !s3cret x }', 'not YAML'],
  ])('%j is refused as syntax', (text, got) => {
    const problems = folder.problems(text)
    expect(problems[0]).toMatchObject({ code: 'CONFIG_SYNTAX', got: expect.stringContaining(got) })
    expect(problems.map(describeProblem).join('\n')).not.toContain('s3cret')
  })

  test('is named, with the reason', () => {
    const load = (file: string) => () => loadConfig(SCHEMA, { file, env: {}, cwd: folder.path })
    expect(load('missing.yaml')).toThrow(/missing.yaml: got no file of this name.*--config/)
    mkdirSync(join(folder.path, 'folder'))
    expect(load('folder')).toThrow(/EISDIR/)
    folder.write(Buffer.from([0x61, 0xff, 0x3a]), 'bytes.yaml')
    expect(load('bytes.yaml')).toThrow(/not UTF-8/)
    folder.write(Buffer.alloc(1024 * 1024 + 1, 0x23), 'large.yaml')
    expect(load('large.yaml')).toThrow(/at most 1048576/)
    expect(load('missing.yaml')).toThrow(ConfigError)
  })

  test('an alias bomb is an error, not the end of memory', () => {
    const levels = Array.from(
      { length: 12 },
      (_, n) => `a${n}: &a${n} [${`*a${n - 1}, `.repeat(9)}x]`,
    )
    const bomb = levels.join('\n').replaceAll('*a-1, ', '')
    expect(folder.problems(bomb)[0]?.code).toBe('CONFIG_SYNTAX')
  })
})

test('no error and no printed configuration repeats a secret, whatever else is wrong', () => {
  const secret = 's3cr3t-v4lue'
  const places = [
    (bad: string) => `admin: { token: "${secret}\\n", port: ${bad} }`,
    (bad: string) => `sinks: { cloud: { bearerToken: "${secret} x", timeout: ${bad} } }`,
    (bad: string) => `sinks: { cloud: { headers: { A: "${secret}\\u00e9" }, url: ${bad} } }`,
    (bad: string) =>
      `sinks: { cloud: { url: "http://user:${secret}@example.org/?k=${secret}" } }\nlog: ${bad}`,
    (bad: string) => `sinks: { cloud: { headers: "A: ${secret}" } }\nspool: ${bad}`,
    (bad: string) => `admin: "${secret}"\nlog: ${bad}`,
  ]
  fc.assert(
    fc.property(
      fc.constantFrom(...places),
      fc.constantFrom('1', 'x', 'null', '[]', '{ a: 1 }'),
      (place, bad) => {
        expect(folder.problems(place(bad)).map(describeProblem).join('\n')).not.toContain(secret)
      },
    ),
  )
})

test('any YAML value at any place is taken or refused with problems, never with another error', () => {
  const keys = [
    'gateway',
    'mqtt',
    'listeners',
    'auth',
    'streams',
    'a',
    'topics',
    'sinks',
    'cloud',
    'headers',
    'tls',
    '__proto__',
  ]
  const tree = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom<unknown>(null, true, 0, -1, 1.5, '', 'x', '1GiB', '5s', '#', '\u0000'),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...keys), tie('value'), { maxKeys: 4 }),
    ),
  })).value
  fc.assert(
    fc.property(tree, (value) => {
      try {
        folder.load(JSON.stringify(value))
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError)
        expect((error as ConfigError).problems.length).toBeGreaterThan(0)
      }
    }),
    { numRuns: 300 },
  )
})
