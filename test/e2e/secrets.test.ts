/**
 * No secret leaves by what the gateway says: one gateway with a sink for each way to log in, each
 * towards a receiver that refuses it, at the login or later, and quotes whatever it was shown. Its
 * log, `check --try`, `status`, `/api/status`, `/metrics`, the pages, `dead-letters`, `sinks test` and
 * `support-bundle` are searched for each secret, as it is, as Basic sends it, and cut. Kafka, whose
 * client wants a newer Node: ../sink/kafka/newer/sink.ts.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createUser } from '@nats-io/nkeys'
import { connectAsync } from 'mqtt'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { configuredGateway } from '../../gateway/command-line.ts'
import { SINK_TYPES } from '../../gateway/sink/registry.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses, runProgram } from '../support/process.ts'
import { MARK, QuotingReceivers } from '../support/quoting-receivers.ts'

interface Ports {
  readonly http: number
  readonly mqtt: number
  readonly postgres: number
  readonly nats: number
}

interface Row {
  readonly name: string
  readonly type: keyof typeof SINK_TYPES
  /** Of the sink. */
  readonly keys: (secret: string, ports: Ports) => Readonly<Record<string, unknown>>
  /** The receiver is shown it, as it is or as Basic. */
  readonly isSent: boolean
  /** @default one that names the row */
  readonly secret?: string
  /** The configuration names a file that has it. @default false */
  readonly isInFile?: boolean
}

const http = ({ http: port }: Ports, path = '/in'): string => `http://127.0.0.1:${port}${path}`
const httpRow = (
  name: string,
  keys: (secret: string, ports: Ports) => Readonly<Record<string, unknown>>,
  isSent = true,
): Row => ({
  name,
  type: 'http',
  keys: (secret, ports) => ({ url: http(ports), ...keys(secret, ports) }),
  isSent,
})

const LATE = ['late-puback', 'late-pubrec', 'late-disconnect', 'late-topic'] as const

const SEED = Buffer.from(createUser().getSeed()).toString()
const CREDS_SEED = Buffer.from(createUser().getSeed()).toString()
const CREDS_TOKEN = `${MARK}of-nats-creds-a-token-0123456789`
const CREDS = `-----BEGIN NATS USER JWT-----
${CREDS_TOKEN}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
${CREDS_SEED}
------END USER NKEY SEED------
`

const ROWS_WITH_TEXT: readonly Row[] = [
  httpRow('bearer-token', (secret) => ({ bearerToken: secret })),
  httpRow('headers', (secret) => ({ headers: { 'X-Api-Key': secret } })),
  httpRow('url', (secret, ports) => ({ url: http(ports, `/in?db=plant&token=${secret}`) })),
  httpRow('header', (value) => ({ auth: { kind: 'header', name: 'X-Key', prefix: 'K ', value } })),
  httpRow('bearer', (token) => ({ auth: { kind: 'bearer', token } })),
  httpRow('basic', (password) => ({ auth: { kind: 'basic', user: 'edge', password } })),
  httpRow('oauth2', (clientSecret, ports) => ({
    auth: { kind: 'oauth2', tokenUrl: http(ports, '/token'), clientId: 'edge', clientSecret },
  })),
  httpRow(
    'sigv4',
    (secretAccessKey) => ({
      auth: {
        kind: 'aws-sigv4',
        service: 's3',
        region: 'eu-1',
        accessKeyId: 'AKID',
        secretAccessKey,
      },
    }),
    false,
  ),
  httpRow('session-token', (sessionToken) => ({
    auth: {
      kind: 'aws-sigv4',
      service: 's3',
      region: 'eu-1',
      accessKeyId: 'AKID',
      secretAccessKey: 'of-no-account',
      sessionToken,
    },
  })),
  httpRow(
    'azure-sas',
    (secret) => ({
      auth: { kind: 'azure-sas', keyName: 'send', key: Buffer.from(secret).toString('base64') },
    }),
    false,
  ),
  httpRow('proxy', (password, ports) => ({
    proxy: { kind: 'http', url: `http://127.0.0.1:${ports.http}`, user: 'edge', password },
  })),
  httpRow('no-http-behind-which-it-is-cut', (token, ports) => ({
    url: http(ports, '/no-http'),
    auth: { kind: 'bearer', token },
  })),
  {
    name: 'dav-basic',
    type: 'object',
    keys: (password, ports) => ({
      url: http(ports, '/dav'),
      store: 'dav',
      auth: { kind: 'basic', user: 'edge', password },
    }),
    isSent: true,
  },
  {
    name: 's3',
    type: 'object',
    keys: (secretAccessKey, ports) => ({
      url: http(ports, '/bucket'),
      auth: { kind: 'aws-sigv4', accessKeyId: 'AKID', secretAccessKey },
    }),
    isSent: false,
  },
  ...(['3.1.1', '5'] as const).map(
    (version): Row => ({
      name: `mqtt-${version.replaceAll('.', '-')}`,
      type: 'mqtt',
      keys: (password, { mqtt }) => ({
        url: `mqtt://127.0.0.1:${mqtt}`,
        version,
        username: 'edge',
        password,
      }),
      isSent: true,
    }),
  ),
  ...LATE.map(
    (name): Row => ({
      name: `mqtt-${name}`,
      type: 'mqtt',
      keys: (password, { mqtt }) => ({
        url: `mqtt://127.0.0.1:${mqtt}`,
        version: '5',
        qos: name === 'late-pubrec' ? 2 : 1,
        username: 'edge',
        password,
      }),
      isSent: true,
    }),
  ),
  {
    name: 'mqtt-azure',
    type: 'mqtt',
    keys: (secret, { mqtt }) => ({
      url: `mqtt://127.0.0.1:${mqtt}`,
      profile: 'azure-iot-hub',
      clientId: 'press-7',
      sharedAccessKey: Buffer.from(secret).toString('base64'),
    }),
    isSent: false,
  },
  {
    name: 'mqtt-web-socket',
    type: 'mqtt',
    keys: (secret, ports) => ({ url: `ws://127.0.0.1:${ports.http}/mqtt?token=${secret}` }),
    isSent: true,
  },
  {
    name: 'mqtt-proxy',
    type: 'mqtt',
    keys: (password, ports) => ({
      url: `mqtt://127.0.0.1:${ports.mqtt}`,
      proxy: { kind: 'http', url: `http://127.0.0.1:${ports.http}`, user: 'edge', password },
    }),
    isSent: true,
  },
  {
    name: 'postgres',
    type: 'postgres',
    keys: (password, { postgres }) => ({
      url: `postgresql://edge@127.0.0.1:${postgres}/plant`,
      password,
    }),
    isSent: true,
  },
  {
    name: 'postgres-late',
    type: 'postgres',
    keys: (password, { postgres }) => ({
      url: `postgresql://edge@127.0.0.1:${postgres}/plant`,
      password,
    }),
    isSent: true,
  },
  {
    name: 'nats-user',
    type: 'nats',
    keys: (password, { nats }) => ({
      servers: [`nats://127.0.0.1:${nats}`],
      user: 'edge',
      password,
    }),
    isSent: true,
  },
  {
    name: 'nats-token',
    type: 'nats',
    keys: (token, { nats }) => ({ servers: [`nats://127.0.0.1:${nats}`], token }),
    isSent: true,
  },
  {
    name: 'nats-late',
    type: 'nats',
    keys: (token, { nats }) => ({ servers: [`nats://127.0.0.1:${nats}`], token }),
    isSent: true,
  },
  {
    name: 'nats-nkey',
    type: 'nats',
    keys: (nkey, { nats }) => ({ servers: [`nats://127.0.0.1:${nats}`], nkey }),
    isSent: false,
    secret: SEED,
  },
  ...(
    [
      ['token', CREDS_TOKEN],
      ['seed', CREDS_SEED],
    ] as const
  ).map(
    ([name, secret]): Row => ({
      name: `nats-creds-${name}`,
      type: 'nats',
      keys: (_, { nats }) => ({
        servers: [`nats://127.0.0.1:${nats}`],
        credentials: join(folder, 'edge.creds'),
      }),
      isSent: name === 'token',
      secret,
    }),
  ),
  {
    name: 'kafka',
    type: 'kafka',
    // What is printed is looked at, nothing is sent.
    keys: (password) => ({
      brokers: ['127.0.0.1:9'],
      topic: 'plant',
      sasl: { mechanism: 'plain', username: 'edge', password },
    }),
    isSent: false,
  },
]

const IN_FILES = [
  'bearer',
  'basic',
  'oauth2',
  'sigv4',
  'proxy',
  'dav-basic',
  'mqtt-5',
  'postgres',
  'nats-user',
  'nats-token',
  'nats-nkey',
  'kafka',
]

const ROWS: readonly Row[] = [
  ...ROWS_WITH_TEXT,
  ...ROWS_WITH_TEXT.filter(({ name }) => IN_FILES.includes(name)).map((row) => ({
    ...row,
    name: `${row.name}-in-a-file`,
    isInFile: true,
  })),
]

const secretOf = ({ name, secret }: Row): string => secret ?? `${MARK}of-${name}-0123456789`

/** With a file in place of the secret, if the row says so. */
function keysOf(row: Row, ports: Ports): Readonly<Record<string, unknown>> {
  const secret = secretOf(row)
  const keys = row.keys(secret, ports)
  if (row.isInFile !== true) return keys
  const file = join(folder, `${row.name}.secret`)
  writeFileSync(file, `${secret}\n`)
  const text = JSON.stringify(keys).replaceAll(JSON.stringify(secret), JSON.stringify({ file }))
  return JSON.parse(text) as Readonly<Record<string, unknown>>
}

const receivers = new QuotingReceivers()
let folder: string
/** By where it was said. */
const said = new Map<string, string>()
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-secrets-'))
  const ports: Ports = {
    http: await receivers.http(),
    mqtt: await receivers.mqtt(),
    postgres: await receivers.postgres(),
    nats: await receivers.nats(),
  }
  writeFileSync(join(folder, 'edge.creds'), CREDS)
  const sinks = Object.fromEntries(
    ROWS.map((row) => [row.name, { type: row.type, linger: '0s', ...keysOf(row, ports) }]),
  )
  const streams = Object.fromEntries(
    ROWS.map(({ name }) => [name, { topics: [`${name}/#`], sink: name, maxBytes: '1MiB' }]),
  )
  const gateway = await GatewayProcess.prepare({
    folder,
    sinkUrl: http(ports),
    sections: { sinks, streams, log: { level: 'trace' } },
  })
  const config = ['--config', gateway.configPath]
  const check = await runProgram('gateway', ['check', '--try', ...config], { timeoutMs: 90_000 })
  said.set('check --try', check.stdout + check.stderr)
  for (const { name } of ROWS) {
    const source = { file: gateway.configPath, env: {}, cwd: folder }
    const message = Buffer.from('{"celsius":21.4}')
    const trial = { sink: name, stream: null, topic: null, device: null, message }
    const { answer, target } = await (await configuredGateway(source)).trySink(trial)
    said.set(`sinks test ${name}`, JSON.stringify({ answer, target }))
  }
  await gateway.start()
  const device = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`)
  for (const { name } of ROWS)
    await device.publishAsync(`${name}/t`, '{"celsius":21.4}', { qos: 1 })
  await device.endAsync()
  await gateway.untilStatus(
    'every stream held or retrying, with the reason',
    ({ streams: all }) =>
      ROWS.every(({ name }) => {
        const delivery = all.find((one) => one.name === name)?.delivery
        return delivery !== undefined && delivery.state !== 'ok' && delivery.why !== null
      }),
    30_000,
  )
  for (const path of ['/api/status', '/metrics', '/', '/readyz'])
    said.set(path, await (await fetch(`${gateway.adminUrl}${path}`)).text())
  for (const command of [
    ['status'],
    ['dead-letters', 'list'],
    ['sinks', 'list'],
    ['streams', 'list'],
  ]) {
    const { stdout, stderr } = await runProgram('gateway', [...command, ...config])
    said.set(command.join(' '), stdout + stderr)
  }
  const bundle = join(folder, 'bundle.tar.gz')
  await runProgram('gateway', ['support-bundle', '--out', bundle, ...config], { timeoutMs: 90_000 })
  said.set('support-bundle', execFileSync('tar', ['-xzOf', bundle]).toString())
  await gateway.stop()
  said.set('log', gateway.process.stdout + gateway.process.stderr)
}, 180_000)
afterAll(async () => {
  await reapProcesses()
  await receivers.close()
  rmSync(folder, { recursive: true, force: true })
})

const basicOf = (secret: string): string => Buffer.from(`edge:${secret}`).toString('base64')

test('every type that has credentials has a row', () => {
  const without = ['file']
  const types = Object.keys(SINK_TYPES).filter((type) => !without.includes(type))
  expect(new Set(ROWS.map(({ type }) => type))).toEqual(new Set(types))
})

/** As it is, as Basic sends it, as a key is written, and all but its end. */
function formsOf(row: Row): string[] {
  const secret = secretOf(row)
  const whole = [secret, basicOf(secret), Buffer.from(secret).toString('base64')]
  return [...whole, secret.slice(0, -5)]
}

test.each(ROWS.filter(({ isSent }) => isSent))(
  '$name: its receiver was shown the secret, and refused',
  (row) => {
    expect(formsOf(row).some((form) => receivers.quoted.includes(form))).toBe(true)
    expect(said.get(`sinks test ${row.name}`)).toMatch(/"kind":"(?:hold|retry)"/)
  },
)

test.each(ROWS)('$name: nothing that the gateway says has the secret', (row) => {
  for (const [where, text] of said) {
    expect(text.length, where).toBeGreaterThan(0)
    for (const form of formsOf(row)) {
      const at = text.indexOf(form)
      expect(at < 0 ? '' : text.slice(Math.max(0, at - 80), at + 80), where).toBe('')
    }
  }
})

test('no token that was made of a secret is said either', () => {
  expect(receivers.tokens.length).toBeGreaterThan(0)
  for (const [where, text] of said)
    for (const token of receivers.tokens) expect(text.includes(token), where).toBe(false)
})
