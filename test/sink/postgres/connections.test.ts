/** The ways to a database: TLS with its modes, and PgBouncer in between. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { freePorts } from '../../../device-sim/free-ports.ts'
import type { Sink } from '../../../gateway/ports/sink.ts'
import type { PostgresSinkConfig } from '../../../gateway/sink/postgres/config.ts'
import { createPostgresSink } from '../../../gateway/sink/postgres/sink.ts'
import { postgresType } from '../../../gateway/sink/postgres/type.ts'
import { sourcePath } from '../../support/source-path.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { batchOf, never } from '../http/batches.ts'
import { freshTables } from './harness.ts'
import { ADMIN, asUser, POSTGRES_TOOLS, PostgresServer } from './server.ts'

const isAcked = { kind: 'verdicts', ackedThrough: null, listed: [] }
const CA = sourcePath('test/support/tls-sink/ca.pem')
const OTHER_CA = sourcePath('test/support/tls/authority.pem')

let server: PostgresServer
const sinks: Sink[] = []

function sinkTo(config: PostgresSinkConfig): Sink {
  const sink = createPostgresSink({ name: 'warehouse', config, emit: () => undefined })
  sinks.push(sink)
  return sink
}

afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.close()
})

describeWithTool(POSTGRES_TOOLS, 'TLS', () => {
  const show = async (name: string): Promise<void> => {
    const pem = (end: string) => readFileSync(sourcePath(`test/support/tls-sink/${name}.${end}`))
    const cert = server.file(`${name}.pem`, pem('pem').toString())
    const key = server.file(`${name}.key`, pem('key').toString())
    await server.ask(`alter system set ssl_cert_file = '${cert}'`)
    await server.ask(`alter system set ssl_key_file = '${key}'`)
    await server.ask('alter system set ssl = on')
    await server.ask('select pg_reload_conf()')
  }

  beforeAll(async () => {
    server = await PostgresServer.start()
    await show('server')
    await server.ask(`create role far login superuser password 'right'`)
    await server.allow(['hostssl all far 127.0.0.1/32 scram-sha-256'])
  }, 60_000)
  afterAll(async () => server?.close())

  const tables = async (changes: Partial<PostgresSinkConfig>) =>
    (await freshTables(server, { user: 'far', password: { value: 'right' }, ...changes })).config
  const ca = { ca: CA, cert: null, key: null }
  const answerTo = async (changes: Partial<PostgresSinkConfig>) =>
    await sinkTo(await tables(changes)).send(batchOf(1, 2), never())

  test('a certificate is checked against its authority and the name', async () => {
    expect(await answerTo({ sslMode: 'verify-full', tls: ca })).toMatchObject(isAcked)
    const other = { ca: OTHER_CA, cert: null, key: null }
    for (const sslMode of ['verify-full', 'verify-ca'] as const)
      expect(await answerTo({ sslMode, tls: other })).toMatchObject({
        kind: 'retry',
        scope: 'sink',
        detail: expect.stringMatching(/certificate/) as string,
        unsent: true,
      })
    expect(await answerTo({ sslMode: 'require', tls: other })).toMatchObject(isAcked)
  })

  test('without TLS, and where there is none, it is held', async () => {
    expect(await answerTo({ sslMode: 'disable' })).toMatchObject({ kind: 'hold', code: '28000' })
    await server.ask('alter system set ssl = off')
    await server.ask('select pg_reload_conf()')
    await expect
      .poll(() => answerTo({ sslMode: 'require' }))
      .toMatchObject({ kind: 'hold', detail: expect.stringContaining('sslMode') as string })
    await show('server')
  })

  test('verify-ca alone takes a certificate of another name', async () => {
    await show('other-host')
    await expect
      .poll(() => answerTo({ sslMode: 'verify-full', tls: ca }))
      .toMatchObject({ kind: 'retry', detail: expect.stringMatching(/altnames/) as string })
    expect(await answerTo({ sslMode: 'verify-ca', tls: ca })).toMatchObject(isAcked)
    await show('server')
  })

  test('check --try says how it is connected, and what is wrong', async () => {
    const config = await tables({ sslMode: 'require' })
    const probe = async (changes: Partial<PostgresSinkConfig>) =>
      (
        await postgresType.probe({
          name: 'warehouse',
          config: { ...config, ...changes },
          dataDir: '/proc',
        })
      ).steps
    const steps = await probe({})
    expect(steps.map(({ step, verdict }) => [step, verdict])).toEqual([
      ['connection', 'ok'],
      ['tables', 'ok'],
      ['durable', 'ok'],
    ])
    expect(steps[0]?.detail).toMatch(/^PostgreSQL 1\d.*over TLS \(require\)/)
    expect(await probe({ table: 'none' })).toMatchObject([{ step: 'tables', verdict: 'problem' }])
    expect(await probe({ port: 9 })).toMatchObject([{ step: 'connection', verdict: 'problem' }])
  })
})

describeWithTool([...POSTGRES_TOOLS, 'pgbouncer'], 'PgBouncer that pools transactions', () => {
  let bouncer: ChildProcess
  let port = 0
  beforeAll(async () => {
    server = await PostgresServer.start()
    ;[port = 0] = await freePorts(1)
    const settings = `[databases]
* = host=127.0.0.1 port=${server.port} user=${ADMIN}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
`
    const [command, args] = asUser('pgbouncer', [server.file('pgbouncer.ini', settings)])
    bouncer = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    const lines = createInterface({ input: bouncer.stderr ?? process.stdin })
    for await (const line of lines) if (line.includes('process up')) break
  }, 60_000)
  afterAll(async () => {
    bouncer?.kill('SIGKILL')
    if (bouncer?.exitCode === null && bouncer.signalCode === null) await once(bouncer, 'exit')
    await server?.close()
  })

  test('batches of many streams, and one that is stored piecemeal, each once', async () => {
    const { config, ask } = await freshTables(server)
    const sink = sinkTo({ ...config, port })
    const streams = ['a', 'b', 'c', 'd', 'e']
    for (const first of [1, 4, 7]) {
      const answers = await Promise.all(
        streams.map((stream) => sink.send(batchOf(first, first + 2, { stream }), never())),
      )
      for (const answer of answers) expect(answer).toMatchObject(isAcked)
    }
    await ask('alter table readings add check (seq <> 11)')
    const pieces = await Promise.all(
      streams.map((stream) => sink.send(batchOf(10, 12, { stream }), never())),
    )
    for (const answer of pieces) expect(answer).toMatchObject({ listed: [{ seq: 11 }] })
    const [row] = await ask('select count(*), count(distinct seq) as seqs from readings')
    expect(row).toEqual({ count: '55', seqs: '11' })
  })
})
