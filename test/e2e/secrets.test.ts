/**
 * No secret leaves by what the gateway says: one gateway with a sink for each way to log in, each
 * towards a receiver that refuses it and quotes whatever it was shown. Its log, `check --try`,
 * `status`, `/api/status`, `/metrics`, the pages and `sinks test` are searched for each secret, as
 * it is and as Basic sends it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer as createHttpServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { configuredGateway } from '../../gateway/command-line.ts'
import { SINK_TYPES } from '../../gateway/sink/registry.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses, runProgram } from '../support/process.ts'

interface Ports {
  readonly http: number
  readonly mqtt: number
  readonly postgres: number
  readonly nats: number
}

interface Row {
  readonly name: string
  readonly type: keyof typeof SINK_TYPES
  /** Of the sink; `secret` may stand in a file. */
  readonly keys: (secret: string, ports: Ports) => Readonly<Record<string, unknown>>
  /** The receiver is shown it, as it is or as Basic. */
  readonly isSent: boolean
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

const ROWS: readonly Row[] = [
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
    name: 'kafka',
    type: 'kafka',
    // Its client wants a newer Node: what is printed is looked at, nothing is sent.
    keys: (password) => ({
      brokers: ['127.0.0.1:9'],
      topic: 'plant',
      sasl: { mechanism: 'plain', username: 'edge', password },
    }),
    isSent: false,
  },
]

const secretOf = ({ name }: Row): string => `m4rk-of-${name}-0123456789`

/** What was shown to the receivers. */
let shown = ''
const servers: Server[] = []
const sockets = new Set<Socket>()

async function listen(server: Server): Promise<number> {
  servers.push(server)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return (server.address() as AddressInfo).port
}

/** Credentials first: words are cut. */
function quote({ headers, url = '' }: IncomingMessage): string {
  const names = ['authorization', 'proxy-authorization', 'x-api-key', 'x-key'] as const
  const all = [...names, 'x-amz-security-token'].flatMap((name) => headers[name] ?? [])
  return `refused: ${[...all, url].join(' ')}`
}

function httpReceiver(): Server {
  const server = createHttpServer((request, response) => {
    let body = ''
    request.setEncoding('latin1').on('data', (chunk: string) => {
      body += chunk
    })
    request.on('end', () => {
      const said = quote(request)
      shown += `${said} ${body}\n`
      const error_description = `${said} ${body}`
      response.writeHead(401, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ error: 'invalid_client', error_description }))
    })
  })
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    const said = quote(request)
    shown += `${said}\n`
    socket.end(`HTTP/1.1 407 ${said}\r\ncontent-length: ${said.length}\r\n\r\n${said}`)
  })
  return server
}

/** Of CONNECT: the last field, the password. */
function passwordIn(frame: Buffer): string {
  return /m4rk-[\w-]+/.exec(frame.toString('latin1'))?.[0] ?? ''
}

function mqttReceiver(): Server {
  return createServer((socket) => {
    socket.once('data', (frame) => {
      const reason = Buffer.from(`no ${passwordIn(frame)}`)
      shown += `${reason.toString()}\n`
      // Behind the fixed header (of two or three bytes) and the name of the protocol.
      const isFive = frame[frame.indexOf('MQTT') + 4] === 5
      const property = Buffer.concat([Buffer.from([0x1f, 0, reason.length]), reason])
      const ack = [0x20, 3 + property.length, 0, 0x86, property.length]
      socket.end(
        isFive ? Buffer.concat([Buffer.from(ack), property]) : Buffer.from([0x20, 2, 0, 4]),
      )
    })
  })
}

function postgresReceiver(): Server {
  return createServer((socket) => {
    socket.once('data', () => {
      // AuthenticationCleartextPassword
      socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]))
      socket.once('data', (frame) => {
        const said = `no ${frame.subarray(5, -1).toString()}`
        shown += `${said}\n`
        const fields = Buffer.from(`SFATAL\0VFATAL\0C28P01\0M${said}\0\0`)
        const head = Buffer.alloc(5)
        head.write('E')
        head.writeInt32BE(fields.length + 4, 1)
        socket.end(Buffer.concat([head, fields]))
      })
    })
  })
}

function natsReceiver(): Server {
  return createServer((socket) => {
    const info = {
      server_id: 'x',
      server_name: 'x',
      version: '2.10.0',
      proto: 1,
      go: 'go1',
      host: '127.0.0.1',
      port: 4222,
      headers: true,
      auth_required: true,
      max_payload: 1_048_576,
    }
    socket.write(`INFO ${JSON.stringify(info)}\r\n`)
    socket.once('data', (frame) => {
      const said = `Authorization Violation of ${passwordIn(frame)}`
      shown += `${said}\n`
      socket.end(`-ERR '${said}'\r\n`)
    })
  })
}

let folder: string
/** By where it was said. */
const said = new Map<string, string>()
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-secrets-'))
  const ports: Ports = {
    http: await listen(httpReceiver()),
    mqtt: await listen(mqttReceiver()),
    postgres: await listen(postgresReceiver()),
    nats: await listen(natsReceiver()),
  }
  const sinks = Object.fromEntries(
    ROWS.map((row) => [
      row.name,
      { type: row.type, linger: '0s', ...row.keys(secretOf(row), ports) },
    ]),
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
    'every sink held or retrying, with the reason',
    ({ sinks: all }) =>
      ROWS.every(({ name }) => {
        const one = all.find((sink) => sink.name === name)
        return one !== undefined && one.state !== 'ok' && one.why !== null
      }),
    30_000,
  )
  for (const path of ['/api/status', '/metrics', '/', '/readyz'])
    said.set(path, await (await fetch(`${gateway.adminUrl}${path}`)).text())
  const status = await runProgram('gateway', ['status', ...config])
  said.set('status', status.stdout + status.stderr)
  await gateway.stop()
  said.set('log', gateway.process.stdout + gateway.process.stderr)
}, 180_000)
afterAll(async () => {
  await reapProcesses()
  for (const socket of sockets) socket.destroy()
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true, force: true })
})

const basicOf = (secret: string): string => Buffer.from(`edge:${secret}`).toString('base64')

test('every type that has credentials has a row', () => {
  const without = ['file']
  const types = Object.keys(SINK_TYPES).filter((type) => !without.includes(type))
  expect(new Set(ROWS.map(({ type }) => type))).toEqual(new Set(types))
})

/** As it is, as Basic sends it, and as a key is written. */
function formsOf(row: Row): string[] {
  const secret = secretOf(row)
  return [secret, basicOf(secret), Buffer.from(secret).toString('base64')]
}

test.each(ROWS.filter(({ isSent }) => isSent))(
  '$name: its receiver was shown the secret, and refused',
  (row) => {
    expect(formsOf(row).some((form) => shown.includes(form))).toBe(true)
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
