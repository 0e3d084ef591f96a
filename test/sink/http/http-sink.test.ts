/**
 * The HTTP sink against a scripted server, over real sockets: every row of the contract's answer
 * table, and the network.
 */
import { createServer, type Server } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import type { SinkAnswer } from '../../../gateway/ports/sink.ts'
import type { SinkEvent } from '../../../gateway/sink/events.ts'
import { createHttpSink } from '../../../gateway/sink/http/http-sink.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { type Script, ScriptedSink, type Step } from '../../support/scripted-sink.ts'
import { batchOf, expired, never, sinkConfig, withBody } from './batches.ts'

const cleanups: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Setup {
  readonly server: ScriptedSink
  readonly sink: ConfiguredSink
  readonly events: SinkEvent[]
}

async function setUp(
  script: Script,
  changes: Parameters<typeof sinkConfig>[1] = {},
): Promise<Setup> {
  const server = await ScriptedSink.start({ script })
  cleanups.push(() => server.close())
  const { sink, events } = sinkTo(server.url, changes)
  return { server, sink, events }
}

function sinkTo(
  url: string,
  changes: Parameters<typeof sinkConfig>[1] = {},
): { readonly sink: ConfiguredSink; readonly events: SinkEvent[] } {
  const events: SinkEvent[] = []
  const emit = (event: SinkEvent): void => void events.push(event)
  const sink = createHttpSink({ name: 'cloud', config: sinkConfig(url, changes), emit })
  cleanups.push(() => sink.close())
  return { sink, events }
}

/** A TCP server that is no HTTP server. */
async function tcpServer(
  onConnection: Parameters<typeof createServer>[1],
): Promise<{ server: Server; url: string }> {
  const server = createServer(onConnection)
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  cleanups.push(async () => {
    await new Promise((resolve) => server.close(resolve))
  })
  return { server, url: `http://127.0.0.1:${(server.address() as { port: number }).port}/` }
}

describe('the answer table over real HTTP', () => {
  const rows: ReadonlyArray<readonly [string, Step, Partial<SinkAnswer>]> = [
    ['200 empty', {}, { kind: 'verdicts', ackedThrough: null, listed: [] }],
    ['201 plain text', { status: 201, body: 'created' }, { kind: 'verdicts', ackedThrough: null }],
    ['204', { status: 204 }, { kind: 'verdicts', ackedThrough: null }],
    ['200 JSON without members', { body: { ok: true } }, { kind: 'verdicts', ackedThrough: null }],
    ['ackedThrough', { body: { ackedThrough: 2 } }, { kind: 'verdicts', ackedThrough: 2 }],
    [
      '207 ackedThrough',
      { status: 207, body: { ackedThrough: 2 } },
      { kind: 'verdicts', ackedThrough: 2 },
    ],
    [
      'rejected',
      { body: { rejected: [{ seq: 2, status: 422, reason: 'too hot' }] } },
      {
        kind: 'verdicts',
        listed: [{ seq: 2, verdict: 'refused', code: '422', reason: 'too hot' }],
      },
    ],
    [
      'captive portal',
      { body: '<html>log in', headers: { 'content-type': 'text/html' } },
      { kind: 'hold', scope: 'sink' },
    ],
    ['over 1 MiB', { body: 'x'.repeat(1024 * 1024 + 1) }, { kind: 'hold', scope: 'sink' }],
    [
      'claims JSON',
      { body: 'oops', headers: { 'content-type': 'application/json' } },
      { kind: 'hold', scope: 'sink' },
    ],
    ['wrong types', { body: { ackedThrough: '2' } }, { kind: 'malformed' }],
    ['a seq outside', { body: { rejected: [{ seq: 4 }] } }, { kind: 'malformed' }],
    ['207 without members', { status: 207, body: {} }, { kind: 'malformed' }],
    ...[408, 409, 425, 429, 500, 502, 503, 504].map(
      (status) =>
        [
          String(status),
          { status },
          { kind: 'retry', code: String(status), retryAfterMs: null },
        ] as const,
    ),
    [
      '503 with seconds',
      { status: 503, headers: { 'retry-after': '7' } },
      { kind: 'retry', retryAfterMs: 7000 },
    ],
    [
      '429 with a date',
      {
        status: 429,
        headers: {
          date: 'Sun, 06 Nov 1994 08:49:37 GMT',
          'retry-after': 'Sun, 06 Nov 1994 08:49:57 GMT',
        },
      },
      { kind: 'retry', retryAfterMs: 20_000, sinkDateMs: Date.UTC(1994, 10, 6, 8, 49, 37) },
    ],
    [
      '503 with a date, but no Date',
      { status: 503, noDate: true, headers: { 'retry-after': 'Sun, 06 Nov 2094 08:49:57 GMT' } },
      { kind: 'retry', retryAfterMs: null, sinkDateMs: null },
    ],
    ['413', { status: 413 }, { kind: 'too-large' }],
    [
      '400',
      { status: 400, body: 'line 3 is bad' },
      { kind: 'refused', detail: 'answered 400 (line 3 is bad)' },
    ],
    ['422', { status: 422 }, { kind: 'refused' }],
    ...[202, 301, 302, 307, 308, 401, 403, 404, 405, 407, 410, 415, 501, 505].map(
      (status) =>
        [
          String(status),
          { status },
          { kind: 'hold', scope: 'sink', code: String(status) },
        ] as const,
    ),
  ]

  test.each(rows)('%s', async (_, step, expected) => {
    const { sink, server, events } = await setUp([step])
    const answer = await sink.send(batchOf(1, 3), never())
    expect(answer).toMatchObject(expected)
    expect(server.requests).toHaveLength(1)
    expect(events.length).toBe(answer.kind === 'verdicts' ? 0 : 1)
  })

  test('ack: body holds on an empty 200 and takes ackedThrough', async () => {
    const { sink } = await setUp([{}, { body: { ackedThrough: 3 } }], { ack: 'body' })
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('hold')
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject({
      kind: 'verdicts',
      ackedThrough: 3,
    })
  })

  test('maxRetryAfter cuts both forms', async () => {
    const date = 'Sun, 06 Nov 1994 08:49:37 GMT'
    const script = [
      { status: 503, headers: { 'retry-after': '999' } },
      { status: 503, headers: { date, 'retry-after': 'Sun, 06 Nov 1994 09:49:37 GMT' } },
    ]
    const { sink } = await setUp(script, { maxRetryAfter: 5000 })
    for (let n = 0; n < 2; n += 1) {
      expect(await sink.send(batchOf(1, 3), never())).toMatchObject({
        kind: 'retry',
        retryAfterMs: 5000,
      })
    }
  })

  test('I8: a redirect is not followed, so nothing is sent elsewhere', async () => {
    const elsewhere = await ScriptedSink.start()
    cleanups.push(() => elsewhere.close())
    const { sink } = await setUp([{ status: 307, headers: { location: elsewhere.url } }])
    const answer = await sink.send(batchOf(1, 3), never())
    expect(answer).toMatchObject({
      kind: 'hold',
      detail: expect.stringContaining(elsewhere.url) as string,
    })
    expect(elsewhere.requests).toHaveLength(0)
  })
})

describe('the request on the wire', () => {
  test('I4: every try of a batch has the same head and the same bytes', async () => {
    const { sink, server } = await setUp([{ status: 503 }, { drop: 'after' }, {}])
    const batch = batchOf(42, 44, { gaps: [expired(40, 41)] })
    for (let n = 0; n < 3; n += 1) await sink.send(batch, never())
    const [first, second, third] = server.requests
    expect(first?.headers['idempotency-key']).toMatch(
      /^"edge-01:k3f9x2m7q4w8z:telemetry:42-44:[0-9a-f]{8}"$/,
    )
    expect(first?.headers['sluice-gap']).toBe('40-41;reason=expired')
    expect(first?.headers['content-length']).toBe(String(batch.bodyBytes))
    expect(first?.headers['transfer-encoding']).toBeUndefined()
    expect(second?.rawHeaders).toEqual(first?.rawHeaders)
    expect(third?.rawHeaders).toEqual(first?.rawHeaders)
    for (const one of server.requests) expect(one.rawBody).toEqual(batch.body)
    expect(third?.lines.map((line) => (JSON.parse(line) as { seq: number }).seq)).toEqual([
      42, 43, 44,
    ])
  })

  test('a body of many chunks arrives whole, and is counted', async () => {
    const { sink, server } = await setUp([{}])
    const whole = batchOf(1, 2000)
    const bytes = whole.body
    const chunks: Uint8Array[] = []
    for (let at = 0; at < bytes.length; at += 97) chunks.push(bytes.subarray(at, at + 97))
    await sink.send(withBody(whole, chunks), never())
    expect(server.requests[0]?.rawBody).toEqual(bytes)
    expect(gunzipSync(server.requests[0]?.rawBody ?? Buffer.alloc(0)).length).toBeGreaterThan(
      bytes.length,
    )
    expect(sink.stats).toMatchObject({
      sentBytes: bytes.length,
      requests: { acked: 1 },
      inFlight: 0,
    })
  })

  test('without compression the lines go as they are', async () => {
    const { sink, server } = await setUp([{}], { compression: 'none' })
    await sink.send(batchOf(1, 3), never())
    expect(server.requests[0]?.headers['content-encoding']).toBeUndefined()
    expect(server.requests[0]?.rawBody.toString().split('\n')).toHaveLength(4)
  })

  test('path and query of the url are kept, configured headers are sent, own ones cannot be replaced', async () => {
    const server = await ScriptedSink.start()
    cleanups.push(() => server.close())
    const headers = {
      'X-Plant': { value: 'north' },
      'Content-Type': { value: 'text/plain' },
      'Sluice-Stream': { value: 'x' },
    }
    const { sink, events } = sinkTo(`${server.url}/v1?site=7`, {
      headers,
      bearerToken: { value: 's3cret' },
    })
    await sink.send(batchOf(1, 3), never())
    const [request] = server.requests
    expect(request?.path).toBe('/ingest/v1?site=7')
    expect(request?.method).toBe('POST')
    expect(request?.headers).toMatchObject({
      'x-plant': 'north',
      authorization: 'Bearer s3cret',
      'content-type': 'application/x-ndjson',
      'sluice-stream': 'telemetry',
    })
    expect(events.map((event) => event.type)).toEqual([
      'sink.header-ignored',
      'sink.header-ignored',
    ])
  })

  test('user and password in the url become Basic authentication and show up in no detail', async () => {
    const server = await ScriptedSink.start({ script: [{ status: 401 }, { drop: 'before' }] })
    cleanups.push(() => server.close())
    const { sink } = sinkTo(server.url.replace('http://', 'http://box:p%40ss@'))
    const answers = [
      await sink.send(batchOf(1, 1), never()),
      await sink.send(batchOf(1, 1), never()),
    ]
    const basic = `Basic ${Buffer.from('box:p@ss').toString('base64')}`
    expect(server.requests[0]?.headers.authorization).toBe(basic)
    expect(JSON.stringify(answers)).not.toMatch(/p@ss|p%40ss/)
  })

  test('a server that quotes what it does not take shows neither the token of the url nor the credentials', async () => {
    const server = await ScriptedSink.start({
      script: (request) => ({
        status: 404,
        body: `Cannot POST ${request.path} as ${request.headers.authorization}`,
      }),
    })
    cleanups.push(() => server.close())
    const { sink, events } = sinkTo(`${server.url}/tok_9f8e7d6c5b4a?key=abcdef`, {
      bearerToken: { value: 's3cret-of-ours' },
    })
    const answer = await sink.send(batchOf(1, 1), never())
    expect(answer).toMatchObject({
      kind: 'hold',
      detail: expect.stringContaining(
        'Cannot POST /ingest/(hidden)?(hidden) as Bearer (hidden)',
      ) as string,
    })
    expect(JSON.stringify([answer, events])).not.toMatch(/tok_9f8e|abcdef|s3cret/)
  })

  test('nor where its words are cut within a secret, nor in the reason of a refusal, nor the password of Basic', async () => {
    const token = 's3cret-of-ours-0123456789'
    const server = await ScriptedSink.start({
      script: ({ headers }) => ({
        body:
          headers.authorization === undefined
            ? {}
            : { rejected: [{ seq: 1, reason: `not by ${headers.authorization}` }] },
      }),
    })
    cleanups.push(() => server.close())
    const { sink } = sinkTo(server.url, { bearerToken: { value: token } })
    const refused = await sink.send(batchOf(1, 1), never())
    expect(JSON.stringify(refused)).toContain('not by Bearer (hidden)')
    for (let before = 90; before < 120; before += 1) {
      server.script = () => ({ status: 401, body: `${'x'.repeat(before)}${token}` })
      const words = JSON.stringify(await sink.send(batchOf(1, 1), never()))
      expect(words).toContain('xxx')
      // Fewer characters than a secret has are none.
      expect(words, `cut behind ${before}`).not.toContain(token.slice(0, 6))
    }
    server.script = () => ({ status: 401, body: 'box may not in by p@ssw0rd' })
    const basic = sinkTo(server.url.replace('//', '//box:p%40ssw0rd@')).sink
    expect(JSON.stringify(await basic.send(batchOf(1, 1), never()))).toContain('in by (hidden)')
  })

  test('a database in the query, which a receiver misses, is no secret; a password there is', async () => {
    const body = 'database not found: telemetry, for pass-of-ours'
    const server = await ScriptedSink.start({ script: () => ({ status: 404, body }) })
    cleanups.push(() => server.close())
    const { sink } = sinkTo(`${server.url}?db=telemetry&u=box&p=pass-of-ours`)
    const words = JSON.stringify(await sink.send(batchOf(1, 1), never()))
    expect(words).toContain('database not found: telemetry, for (hidden)')
  })

  test('one connection serves one request after the other; maxInFlight bounds how many there are', async () => {
    const one = await setUp([{}])
    for (let n = 1; n <= 5; n += 1) await one.sink.send(batchOf(n, n), never())
    expect(one.server.connectionsOpened).toBe(1)
    const three = await setUp([{ delayMs: 20 }], { maxInFlight: 3 })
    await Promise.all(
      Array.from({ length: 9 }, (_, n) => three.sink.send(batchOf(n + 1, n + 1), never())),
    )
    expect(three.server.connectionsOpened).toBe(3)
    expect(three.server.requests).toHaveLength(9)
  })
})

describe('the network', () => {
  test('nothing listens: a retry that names host, port, code and what to look at', async () => {
    const server = await ScriptedSink.start()
    const { url, port } = server
    await server.close()
    const { sink } = sinkTo(url)
    const answer = await sink.send(batchOf(1, 3), never())
    expect(answer).toMatchObject({ kind: 'retry', code: null, retryAfterMs: null })
    expect(answer).toMatchObject({ detail: expect.stringContaining(`127.0.0.1:${port}`) as string })
    expect(answer).toMatchObject({
      detail: expect.stringMatching(/nothing listens there.*ECONNREFUSED/) as string,
    })
    expect(sink.stats).toMatchObject({ sentBytes: 0, requests: { retry: 1 } })
  })

  test('a name that does not exist is a retry that says so', async () => {
    const { sink } = sinkTo('http://sink.invalid:9000/ingest')
    const answer = await sink.send(batchOf(1, 3), never())
    expect(answer).toMatchObject({ kind: 'retry', code: null })
    expect(answer).toMatchObject({
      detail: expect.stringMatching(/sink\.invalid:9000.*(ENOTFOUND|EAI_AGAIN)/) as string,
    })
  })

  test.each([
    ['cut before it was stored', { drop: 'before' }],
    ['lost after it was stored', { drop: 'after' }],
    ['cut in the middle of the body', { body: { ackedThrough: 3 }, cutBodyAt: 10 }],
    ['no HTTP at all', { rawBytes: '220 mail.example ESMTP\r\n' }],
  ] satisfies ReadonlyArray<readonly [string, Step]>)(
    'I4: an answer that is %s is a retry, and the next try is taken',
    async (_, step) => {
      const { sink, server } = await setUp([step, {}])
      expect(await sink.send(batchOf(1, 3), never())).toMatchObject({ kind: 'retry', code: null })
      expect(await sink.send(batchOf(1, 3), never())).toMatchObject({ kind: 'verdicts' })
      expect(server.requests[1]?.rawBody).toEqual(server.requests[0]?.rawBody)
    },
  )

  test('a half-open link ends at the time-out, and the next request takes a new connection', async () => {
    const { sink, server } = await setUp([{ halfOpen: true }, {}], { timeout: 500 })
    const answer = await sink.send(batchOf(1, 3), never())
    expect(answer).toMatchObject({ kind: 'retry', code: null, transfer: { timedOut: true } })
    expect(answer).toMatchObject({ detail: expect.stringContaining('within 500 ms') as string })
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts')
    expect(server.connectionsOpened).toBe(2)
    expect(sink.stats.requests.retry).toBe(1)
  })

  test('a sink that does not read is given up at the time-out', async () => {
    const { url } = await tcpServer((socket) => {
      socket.pause()
      socket.on('error', () => undefined)
      cleanups.push(async () => socket.destroy())
    })
    const { sink } = sinkTo(url, { timeout: 200 })
    const chunk = Buffer.alloc(1024 * 1024)
    const batch = {
      ...batchOf(1, 3),
      body: Array.from({ length: 32 }, () => chunk),
      bodyBytes: 32 * chunk.length,
    }
    const answer = await sink.send(batch, never())
    expect(answer).toMatchObject({
      kind: 'retry',
      detail: expect.stringContaining('within 200 ms') as string,
    })
    expect(sink.stats.sentBytes).toBeLessThan(batch.bodyBytes)
  })

  test('the time-out bounds the whole request: a trickled ack does not stretch it', async () => {
    const { sink } = await setUp(
      [{ body: ' '.repeat(1000), trickle: { bytes: 1, everyMs: 10, endless: true } }],
      { timeout: 200 },
    )
    const startedAt = performance.now()
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject({ kind: 'retry', code: null })
    expect(performance.now() - startedAt).toBeLessThan(2000)
  })

  test('a status that acks nothing counts although its body never ends', async () => {
    const endless = { bytes: 10, everyMs: 10, endless: true } as const
    const { sink } = await setUp(
      [
        {
          status: 503,
          body: 'down for repair ',
          headers: { 'retry-after': '9' },
          trickle: endless,
        },
      ],
      { timeout: 200 },
    )
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject({
      kind: 'retry',
      code: '503',
      retryAfterMs: 9000,
    })
  })

  test('I8: an endless 200 holds as soon as it is over 1 MiB', async () => {
    const { sink } = await setUp([
      { body: 'y'.repeat(65_536), trickle: { bytes: 65_536, everyMs: 1, endless: true } },
    ])
    const answer = await sink.send(batchOf(1, 3), never())
    expect(answer).toMatchObject({
      kind: 'hold',
      detail: expect.stringContaining('over 1048576') as string,
    })
  })

  test('an answer before the body was read is understood: 413 of a proxy', async () => {
    const { sink } = await setUp([{ status: 413, early: true }])
    const chunk = Buffer.alloc(256 * 1024, 0x61)
    const batch = {
      ...batchOf(1, 3),
      body: Array.from({ length: 16 }, () => chunk),
      bodyBytes: 16 * chunk.length,
    }
    expect((await sink.send(batch, never())).kind).toBe('too-large')
  })

  test('a keep-alive connection that the sink closed costs at most a retry', async () => {
    const { sink, server } = await setUp([{ closeAfter: true }, {}, {}])
    expect((await sink.send(batchOf(1, 1), never())).kind).toBe('verdicts')
    const kinds: string[] = []
    for (let n = 0; n < 2; n += 1) kinds.push((await sink.send(batchOf(2, 2), never())).kind)
    expect(kinds[1]).toBe('verdicts')
    expect(server.connectionsOpened).toBeGreaterThan(1)
  })

  test('an idle connection is closed a second before the sink said it would close it', async () => {
    const { sink, server } = await setUp([
      { headers: { connection: 'keep-alive', 'keep-alive': 'timeout=1' } },
    ])
    await sink.send(batchOf(1, 1), never())
    const { url } = await tcpServer((socket) => {
      const startedAt = performance.now()
      socket.on('error', () => undefined)
      socket.once('data', () =>
        socket.write('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 0\r\n\r\n'),
      )
      socket.once('end', () => ended(performance.now() - startedAt))
    })
    let ended: (ms: number) => void = () => undefined
    const closedAfter = new Promise<number>((resolve) => {
      ended = resolve
    })
    await sinkTo(url).sink.send(batchOf(1, 1), never())
    const ms = await closedAfter
    expect(ms).toBeGreaterThan(900)
    expect(ms).toBeLessThan(2000)
    // Not even one second: the next request does not risk it.
    await sink.send(batchOf(2, 2), never())
    expect(server.connectionsOpened).toBe(2)
  })

  test('an abort ends the request at once, as a retry', async () => {
    const { sink, server } = await setUp([{ halfOpen: true }])
    const controller = new AbortController()
    const sent = sink.send(batchOf(1, 3), controller.signal)
    await server.waitForRequests(1)
    controller.abort()
    expect(await sent).toMatchObject({ kind: 'retry', code: null })
    expect((await sink.send(batchOf(1, 3), controller.signal)).kind).toBe('retry')
    expect(server.requests).toHaveLength(1)
    expect(sink.stats).toMatchObject({ requests: { retry: 2 }, inFlight: 0 })
  })

  test('close ends what is in progress, as a retry, and sends nothing more', async () => {
    const { sink, server } = await setUp([{ halfOpen: true }])
    const sent = sink.send(batchOf(1, 3), never())
    await server.waitForRequests(1)
    await sink.close()
    expect((await sent).kind).toBe('retry')
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('retry')
    expect(server.requests).toHaveLength(1)
  })
})

test('counts: outcomes, latency, skew of the clock, last ack', async () => {
  const server = await ScriptedSink.start({
    script: [
      { headers: { date: 'Sun, 06 Nov 1994 08:49:37 GMT' } },
      { body: { ackedThrough: 1 } },
      { status: 503 },
      { status: 404 },
    ],
  })
  cleanups.push(() => server.close())
  const nowMs = Date.UTC(1994, 10, 6, 8, 49, 30, 500)
  const sink = createHttpSink({
    name: 'cloud',
    config: sinkConfig(server.url),
    emit: () => undefined,
    nowMs: () => nowMs,
  })
  cleanups.push(() => sink.close())
  await sink.send(batchOf(1, 3), never())
  expect(sink.stats.clockSkewSeconds).toBe(7)
  expect(sink.stats).toMatchObject({ lastAckAtMs: nowMs })
  for (let n = 0; n < 3; n += 1) await sink.send(batchOf(1, 3), never())
  expect(sink.stats.requests).toMatchObject({ acked: 1, partial: 1, retry: 1, hold: 1, refused: 0 })
  expect(sink.stats.requestSeconds.count).toBe(4)
  expect(sink.stats.requestSeconds.counts.reduce((sum, n) => sum + n, 0)).toBe(4)
  expect(sink.stats.requestSeconds.counts).toHaveLength(
    sink.stats.requestSeconds.bucketsSeconds.length + 1,
  )
})
