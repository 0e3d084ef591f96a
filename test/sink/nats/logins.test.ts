/** As whom the NATS sink connects, and over which TLS, with real servers that ask for it. */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createUser } from '@nats-io/nkeys'
import type { NodeConnectionOptions } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { SinkAnswer } from '../../../gateway/ports/sink.ts'
import type { NatsSinkConfig } from '../../../gateway/sink/nats/config.ts'
import { createNatsSink } from '../../../gateway/sink/nats/sink.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { reapProcesses } from '../../support/process.ts'
import { sourcePath } from '../../support/source-path.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { batchOf, never, recordId } from '../http/batches.ts'
import { natsSinkConfig } from './configs.ts'
import { operatorMode } from './operator-mode.ts'
import { idsOf, NATS_TOOLS, NatsAdmin, type NatsServer, startServer } from './server.ts'
import { TlsFront } from './tls-front.ts'

const TLS = sourcePath('test/support/tls-sink')
const CA = join(TLS, 'ca.pem')
const SERVER_TLS = `cert_file: ${join(TLS, 'server.pem')}, key_file: ${join(TLS, 'server.key')}`
const NO_FILES = { ca: null, cert: null, key: null }
const CLIENT = { ca: CA, cert: join(TLS, 'client.pem'), key: join(TLS, 'client.key') }
const ACKED = { kind: 'verdicts', ackedThrough: null, listed: [] }
const IDS = [1, 2, 3].map(recordId)

describeWithTool(NATS_TOOLS, 'a NATS sink logs in', () => {
  let folder: string
  const closing: Array<{ close(): Promise<void> }> = []
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-nats-logins-'))
  })
  afterEach(async () => {
    for (const one of closing.splice(0).toReversed()) await one.close()
    await reapProcesses()
    rmSync(folder, { recursive: true, force: true })
  })

  async function adminOf(server: NatsServer, options: NodeConnectionOptions): Promise<NatsAdmin> {
    const admin = await NatsAdmin.to([server.port], options)
    closing.push(admin)
    await admin.makeStream()
    return admin
  }
  function sinkTo(server: string, changes: Partial<NatsSinkConfig>): ConfiguredSink {
    const config = natsSinkConfig({
      servers: [server],
      timeout: 2000,
      connectTimeout: 2000,
      ...changes,
    })
    const emit = (): void => undefined
    const sink = createNatsSink({ name: 'nats', config, emit, fileCheckMs: 10 })
    closing.push(sink)
    return sink
  }
  async function sent(server: string, changes: Partial<NatsSinkConfig>): Promise<SinkAnswer> {
    return await sinkTo(server, changes).send(batchOf(1, 3), never())
  }
  const held = (words: RegExp) => ({
    kind: 'hold',
    unsent: true,
    detail: expect.stringMatching(words) as string,
  })
  const REFUSED = held(/refuses the login/)

  test('with a token', async () => {
    const server = await startServer(folder, 'authorization { token: open-sesame }')
    const admin = await adminOf(server, { token: 'open-sesame' })
    const address = `127.0.0.1:${server.port}`
    for (const changes of [{}, { token: { value: 'wrong' } }, { user: 'open-sesame' }])
      expect(await sent(address, changes)).toMatchObject(REFUSED)
    expect(await admin.read()).toEqual([])
    expect(await sent(address, { token: { value: 'open-sesame' } })).toMatchObject(ACKED)
    expect(idsOf(await admin.read())).toEqual(IDS)
  })

  test('with an NKey, whose seed is never sent', async () => {
    const [right, wrong] = [createUser(), createUser()]
    const seed = Buffer.from(right.getSeed()).toString()
    const users = `{ nkey: ${right.getPublicKey()} }, { user: admin, password: admin }`
    const server = await startServer(folder, `authorization { users: [ ${users} ] }`)
    const admin = await adminOf(server, { user: 'admin', pass: 'admin' })
    const address = `127.0.0.1:${server.port}`
    const file = join(folder, 'seed')
    writeFileSync(file, `${Buffer.from(wrong.getSeed()).toString()}\n`)
    const sink = sinkTo(address, { nkey: { file } })
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject(REFUSED)
    writeFileSync(file, `${seed.slice(0, -1)}\n`)
    const torn = await sink.send(batchOf(1, 3), never())
    expect(torn).toMatchObject(held(/^not sent: nkey: /))
    expect(JSON.stringify(torn)).not.toContain(seed.slice(4, 20))
    writeFileSync(file, `${seed}\n`)
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject(ACKED)
    expect(idsOf(await admin.read())).toEqual(IDS)
  })

  test('with a .creds file, at servers of an operator', async () => {
    const { config, credsOf } = operatorMode()
    const server = await startServer(folder, config)
    const admin = await adminOf(server, { authenticator: credsOf('admin').authenticator })
    const address = `127.0.0.1:${server.port}`
    const file = join(folder, 'box.creds')
    const sink = sinkTo(address, { credentials: file })
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject(held(/credentials: .*ENOENT/))
    writeFileSync(file, 'no credentials\n')
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject(held(/^not sent: credentials: /))
    writeFileSync(file, operatorMode().credsOf('stranger').text)
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject(REFUSED)
    writeFileSync(file, credsOf('box', { expiresInSeconds: -60 }).text)
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject(REFUSED)
    writeFileSync(file, credsOf('box').text)
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject(ACKED)
    expect(idsOf(await admin.read())).toEqual(IDS)
  })

  describe('over TLS', () => {
    test('with its client certificate, whose authority the server asks for', async () => {
      const authority = `ca_file: ${CA}, verify: true`
      const server = await startServer(folder, `tls { ${SERVER_TLS}, ${authority} }`)
      const admin = await adminOf(server, {
        tls: { caFile: CA, certFile: CLIENT.cert, keyFile: CLIENT.key },
      })
      const address = `tls://localhost:${server.port}`
      const unknown = await sent(address, { tls: { ...CLIENT, ca: null } })
      expect(unknown).toMatchObject({ kind: 'retry', unsent: true })
      expect(JSON.stringify(unknown)).toMatch(/certificate/)
      const unnamed = await sent(address, { tls: { ...NO_FILES, ca: CA } })
      expect(unnamed).toMatchObject({ kind: 'retry', unsent: true })
      expect(await admin.read()).toEqual([])
      expect(await sent(address, { tls: CLIENT })).toMatchObject(ACKED)
      expect(await sent(`127.0.0.1:${server.port}`, { tls: CLIENT })).toMatchObject(ACKED)
      expect(idsOf(await admin.read())).toEqual(IDS)
    })

    test('only with the name that the server has', async () => {
      const files = ['cert_file: other-host.pem', 'key_file: other-host.key']
      const server = await startServer(
        folder,
        `tls { ${files.map((one) => one.replace('other', `${TLS}/other`)).join(', ')} }`,
      )
      const answer = await sent(`tls://localhost:${server.port}`, { tls: { ...NO_FILES, ca: CA } })
      expect(answer).toMatchObject({ kind: 'retry', unsent: true })
      expect(JSON.stringify(answer)).toMatch(/sink\.example/)
    })

    test.each([false, true])(
      'and never without, tlsFirst %s: nothing is said',
      async (tlsFirst) => {
        const server = await startServer(folder, 'authorization { token: open-sesame }')
        const front = await TlsFront.to(server.port, null)
        closing.push(front)
        const token = { value: 'open-sesame' }
        for (const changes of [{ tls: { ...NO_FILES, ca: CA } }, {}]) {
          const answer = await sent(`tls://localhost:${front.port}`, {
            token,
            tlsFirst,
            ...changes,
          })
          expect(answer).toMatchObject(
            tlsFirst ? { kind: 'retry', unsent: true } : held(/offers no TLS, nothing was sent/),
          )
        }
        expect(front.heard()).not.toContain('CONNECT')
        expect(front.heard()).not.toContain('open-sesame')
      },
    )

    test('before the first word, with servers that speak so', async () => {
      const server = await startServer(folder, `tls { ${SERVER_TLS} }`)
      const front = await TlsFront.to(server.port, {
        cert: join(TLS, 'server.pem'),
        key: join(TLS, 'server.key'),
        ca: CA,
      })
      closing.push(front)
      const admin = await adminOf(server, { tls: { caFile: CA } })
      const address = `tls://localhost:${front.port}`
      const tls = { ...NO_FILES, ca: CA }
      expect(await sent(address, { tls, tlsFirst: true })).toMatchObject(ACKED)
      expect(idsOf(await admin.read())).toEqual(IDS)
      const late = await sent(address, { tls, connectTimeout: 300 })
      expect(late).toMatchObject({ kind: 'retry', unsent: true })
    })

    test.each([false, true])(
      'a server that accepts and says nothing keeps no socket, tlsFirst %s',
      async (tlsFirst) => {
        const silent = createServer()
        silent.listen(0, '127.0.0.1')
        await once(silent, 'listening')
        const { port } = silent.address() as AddressInfo
        const ended = new Promise<void>((resolve) => {
          silent.once('connection', (socket) => {
            socket.on('error', () => undefined)
            socket.once('close', () => resolve())
            socket.resume()
          })
        })
        const tls = { ...NO_FILES, ca: CA }
        const changes = { tls, tlsFirst, connectTimeout: 200 }
        const answer = await sent(`tls://localhost:${port}`, changes)
        expect(answer).toMatchObject({ kind: 'retry', unsent: true })
        await ended
        silent.close()
      },
    )
  })
})
