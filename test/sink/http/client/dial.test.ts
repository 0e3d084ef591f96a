/**
 * From a name to a connection: several addresses of which some are dead, over real sockets and an
 * own lookup.
 */
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import {
  type Address,
  Addresses,
  SUSPECT_MS,
} from '../../../../gateway/sink/http/client/addresses.ts'
import { createHttpSink } from '../../../../gateway/sink/http/http-sink.ts'
import type { ConfiguredSink } from '../../../../gateway/sink/sink-type.ts'
import { reapProcesses, startProcess } from '../../../support/process.ts'
import { type Script, ScriptedSink } from '../../../support/scripted-sink.ts'
import { describeWithTool } from '../../../support/tool-tests.ts'
import { batchOf, never, sinkConfig } from '../batches.ts'

const v4 = (address: string): Address => ({ address, family: 4 })
const v6 = (address: string): Address => ({ address, family: 6 })
const GOOD = v4('127.0.0.1')
const DEAD = v4('127.0.0.2')

const cleanups: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  await reapProcesses()
})

async function serve(
  script: Script = [{}],
  tls?: { cert: Buffer; key: Buffer },
): Promise<ScriptedSink> {
  const server = await ScriptedSink.start({ script, ...(tls === undefined ? {} : { tls }) })
  cleanups.push(() => server.close())
  return server
}

interface Named {
  readonly sink: ConfiguredSink
  /** Lookups until now. */
  readonly lookups: () => number
}

/** A sink whose name leads where `answers` says, the last of which repeats. */
function named(
  port: number,
  answers: ReadonlyArray<readonly Address[] | Promise<never>>,
  changes: Parameters<typeof sinkConfig>[1] = {},
): Named {
  let lookups = 0
  const sink = createHttpSink({
    name: 'cloud',
    config: sinkConfig(`http${changes.tls ? 's' : ''}://sink.test:${port}/ingest`, changes),
    emit: () => undefined,
    lookup: async () => {
      lookups += 1
      return (await answers[Math.min(lookups, answers.length) - 1]) ?? []
    },
  })
  cleanups.push(() => sink.close())
  return { sink, lookups: () => lookups }
}

async function msOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}

describe('addresses of a name', () => {
  test('families in turn, beginning with the first that the system names', async () => {
    const found = [v6('::a'), v6('::b'), v6('::c'), v4('1.1.1.1'), v4('2.2.2.2')]
    const addresses = new Addresses('x.test', async () => found)
    expect((await addresses.find()).map(({ address }) => address)).toEqual([
      '::a',
      '1.1.1.1',
      '::b',
      '2.2.2.2',
      '::c',
    ])
    const other = new Addresses('x.test', async () => found.toReversed())
    expect((await other.find())[0]).toEqual(v4('2.2.2.2'))
  })

  test('those that led to nothing come last, the longest ago first, until they are forgotten or work', async () => {
    let now = 0
    const addresses = new Addresses(
      'x.test',
      async () => [v4('1'), v4('2'), v4('3')],
      () => now,
    )
    const order = async (): Promise<string> =>
      (await addresses.find()).map(({ address }) => address).join('')
    addresses.suspect(v4('1'))
    now = 10
    addresses.suspect(v4('2'))
    expect(await order()).toBe('312')
    addresses.trust(v4('1'))
    expect(await order()).toBe('132')
    now = 10 + SUSPECT_MS
    expect(await order()).toBe('123')
  })

  test('an IP address is not looked up', async () => {
    const lookup = async (): Promise<never> => Promise.reject(new Error('asked'))
    expect(await new Addresses('10.0.0.1', lookup).find()).toEqual([v4('10.0.0.1')])
    expect(await new Addresses('::1', lookup).find()).toEqual([v6('::1')])
  })
})

test('an IPv6 address in the url is reached', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.end('HTTP/1.1 204 x\r\n\r\n'))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '::1', resolve)
  })
  cleanups.push(async () => server.close())
  const { port } = server.address() as { port: number }
  const sink = createHttpSink({
    name: 'cloud',
    config: sinkConfig(`http://[::1]:${port}/`),
    emit: () => undefined,
  })
  cleanups.push(() => sink.close())
  expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts')
})

// A listener that never accepts: once its queue is full, the kernel drops what comes, like a
// firewall.
const BLACK_HOLE = `
import socket, sys, time
listener = socket.socket()
listener.bind(("127.0.0.2", int(sys.argv[1])))
listener.listen(0)
filling = [socket.socket() for _ in range(4)]
for one in filling:
    one.setblocking(False)
    one.connect_ex(("127.0.0.2", int(sys.argv[1])))
time.sleep(0.2)
print("full", flush=True)
time.sleep(600)
`

describeWithTool('python3', 'an address that drops every packet', () => {
  async function blackHole(port: number): Promise<void> {
    const hole = startProcess('python3', ['-c', BLACK_HOLE, String(port)])
    await hole.waitForLine(/^full/)
    // The fault is there: no connection within a time that any local one takes.
    const socket = connect(port, '127.0.0.2')
    socket.on('error', () => undefined)
    const connected = await Promise.race([
      new Promise((resolve) => socket.once('connect', () => resolve(true))),
      new Promise((resolve) => setTimeout(() => resolve(false), 300)),
    ])
    socket.destroy()
    expect(connected).toBe(false)
  }

  test('gives way to the next after its head start, and is remembered', async () => {
    const server = await serve([{ closeAfter: true }])
    await blackHole(server.port)
    const { sink } = named(server.port, [[DEAD, GOOD]])
    const firstMs = await msOf(async () =>
      expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts'),
    )
    expect(firstMs).toBeGreaterThan(900)
    await sink.send(batchOf(4, 6), never())
    const thirdMs = await msOf(async () =>
      expect((await sink.send(batchOf(7, 9), never())).kind).toBe('verdicts'),
    )
    expect(thirdMs).toBeLessThan(900)
    expect(server.connectionsOpened).toBeGreaterThanOrEqual(2)
  })

  test('ten of them leave the eleventh its share of the time-out', async () => {
    const server = await serve()
    await blackHole(server.port)
    const found = [...Array.from({ length: 10 }, () => ({ ...DEAD })), GOOD]
    const { sink } = named(server.port, [found], { connectTimeout: 4000 })
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts')
  })

  test('alone it ends at connectTimeout, with words', async () => {
    const server = await serve()
    await blackHole(server.port)
    const { sink } = named(server.port, [[DEAD]], { connectTimeout: 300 })
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject({
      kind: 'retry',
      unsent: true,
      detail: expect.stringMatching(
        /sink\.test:\d+: the host does not answer.*CONNECT_TIMEOUT/,
      ) as string,
    })
  })
})

describe('other ways in which an address is no good', () => {
  test('refused: the next at once; the words name all that were tried', async () => {
    const server = await serve()
    const { port } = server
    const { sink } = named(port, [[v4('127.0.0.3'), v4('127.0.0.4'), GOOD]])
    const ms = await msOf(async () =>
      expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts'),
    )
    expect(ms).toBeLessThan(900)
    const none = named(port, [[v4('127.0.0.3'), v4('127.0.0.4')]])
    expect(await none.sink.send(batchOf(1, 3), never())).toMatchObject({
      kind: 'retry',
      detail: expect.stringMatching(/ECONNREFUSED, tried 127\.0\.0\.3, 127\.0\.0\.4/) as string,
    })
  })

  test('takes the connection and never speaks TLS: the next try goes elsewhere', async () => {
    const pem = (name: string): string =>
      fileURLToPath(new URL(`../../../support/tls-sink/${name}`, import.meta.url))
    const server = await serve([{}], {
      cert: readFileSync(pem('server.pem')),
      key: readFileSync(pem('server.key')),
    })
    const mute = createServer((socket) => void socket.on('error', () => undefined).resume())
    await new Promise<void>((resolve) => {
      mute.listen(server.port, '127.0.0.2', resolve)
    })
    cleanups.push(async () => mute.close())
    const tls = { ca: pem('ca.pem'), cert: null, key: null }
    const { sink } = named(server.port, [[DEAD, GOOD]], { tls, connectTimeout: 400 })
    const first = await sink.send(batchOf(1, 3), never())
    expect(first).toMatchObject({
      kind: 'retry',
      detail: expect.stringContaining('TLS_TIMEOUT') as string,
    })
    // The certificate is for 127.0.0.1 and not for the name: that this is said proves which address
    // it was.
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject({
      kind: 'retry',
      detail: expect.stringContaining('ERR_TLS_CERT_ALTNAME_INVALID') as string,
    })
  })

  test('answers 503: the next try goes to another address of the name', async () => {
    const bad = await serve([{ status: 503 }])
    const good = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end('HTTP/1.1 204 x\r\n\r\n'))
    })
    await new Promise<void>((resolve) => {
      good.listen(bad.port, '127.0.0.2', resolve)
    })
    cleanups.push(async () => good.close())
    const { sink } = named(bad.port, [[GOOD, DEAD]])
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject({ kind: 'retry', code: '503' })
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts')
  })
})

describe('the name', () => {
  test('that moved is followed: not while its old place answers, at once when that fails', async () => {
    const old = await serve([{}, {}, { status: 503 }])
    const moved = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end('HTTP/1.1 204 x\r\n\r\n'))
    })
    await new Promise<void>((resolve) => {
      moved.listen(old.port, '127.0.0.2', resolve)
    })
    cleanups.push(async () => moved.close())
    const { sink, lookups } = named(old.port, [[GOOD], [v4('127.0.0.2')]])
    for (let n = 0; n < 2; n += 1)
      expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts')
    expect(lookups()).toBe(1)
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('retry')
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts')
    expect(lookups()).toBe(2)
    expect(old.requests).toHaveLength(3)
  })

  test('whose lookup hangs ends at connectTimeout, and holds one thread, not one a try', async () => {
    const hanging = new Promise<never>(() => undefined)
    const { sink, lookups } = named(9, [hanging], { connectTimeout: 100 })
    for (let n = 0; n < 3; n += 1) {
      expect(await sink.send(batchOf(1, 3), never())).toMatchObject({
        kind: 'retry',
        unsent: true,
        detail: expect.stringMatching(/the DNS server does not answer.*DNS_TIMEOUT/) as string,
      })
    }
    expect(lookups()).toBe(1)
    expect(sink.stats).toMatchObject({ sentBytes: 0, requests: { retry: 3 } })
  })

  test('an abort ends the way to a connection at once', async () => {
    const hanging = new Promise<never>(() => undefined)
    const { sink } = named(9, [hanging])
    const controller = new AbortController()
    const sent = sink.send(batchOf(1, 3), controller.signal)
    controller.abort()
    expect(await sent).toMatchObject({ kind: 'retry', unsent: true })
    const closing = sink.send(batchOf(1, 3), never())
    await sink.close()
    expect((await closing).kind).toBe('retry')
  })
})
