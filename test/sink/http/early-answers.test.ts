/**
 * I8: a yes counts only if it can be the answer to this batch: not before the batch was sent, not
 * of another request. A no counts whenever it comes: proxies say 413 and 401 to the head of a
 * request.
 */
import { existsSync, readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import type { Batch } from '../../../gateway/ports/sink.ts'
import { batchOf, never, withBody } from './batches.ts'
import { onRequests, RawSink } from './raw-sink.ts'

const pem = (name: string): string =>
  fileURLToPath(new URL(`../../support/tls-sink/${name}`, import.meta.url))
const TLS = { cert: readFileSync(pem('server.pem')), key: readFileSync(pem('server.key')) }
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'

const cleanups: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function start(
  onConnection: (socket: Socket, index: number) => void,
  tls: boolean = false,
): Promise<RawSink> {
  const raw = await RawSink.start(onConnection, tls ? TLS : null)
  cleanups.push(() => raw.close())
  return raw
}

/** A batch whose body has this many bytes. */
function bigBatch(bodyBytes: number): Batch {
  return withBody(batchOf(1, 3), [Buffer.alloc(bodyBytes, 0x61)])
}

/** Reads the head of the request and no more, says this, and stays. */
function answersTheHead(answer: string): (socket: Socket) => void {
  return (socket) => {
    socket.once('data', () => {
      socket.pause()
      socket.write(answer)
    })
  }
}

const MORE_THAN_ANY_BUFFER = 48 * 1024 * 1024

describe.each([
  ['plain', false],
  ['TLS', true],
] as const)('an answer while the body is on its way, %s', (_, isTls) => {
  const trust = isTls ? { tls: { ca: pem('ca.pem'), cert: null, key: null } } : {}

  test.each([
    ['200', OK],
    ['204', 'HTTP/1.1 204 No Content\r\n\r\n'],
    ['202', 'HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n'],
    ['207 with a word', 'HTTP/1.1 207 x\r\nContent-Length: 18\r\n\r\n{"ackedThrough":3}'],
    ['200 behind interim answers', `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n${OK}`],
  ])('I8: %s is no ack', async (name, answer) => {
    const raw = await start(answersTheHead(answer), isTls)
    const got = await raw.sink(trust).send(bigBatch(MORE_THAN_ANY_BUFFER), never())
    expect(got, name).toMatchObject({
      kind: 'malformed',
      detail: expect.stringMatching(/bytes of the batch had been sent, before the rest/) as string,
    })
    expect(got.transfer?.bytes).toBeLessThan(MORE_THAN_ANY_BUFFER)
  })

  test.each([
    ['413', 'too-large'],
    ['400', 'refused'],
    ['503', 'retry'],
    ['401', 'hold'],
    ['307', 'hold'],
  ] as const)('%s counts, as %s', async (status, kind) => {
    const answer = `HTTP/1.1 ${status} Early\r\nContent-Length: 3\r\nRetry-After: 7\r\n\r\nno\n`
    const raw = await start(answersTheHead(answer), isTls)
    const got = await raw.sink(trust).send(bigBatch(MORE_THAN_ANY_BUFFER), never())
    expect(got).toMatchObject({ kind, code: status })
    if (got.kind === 'retry') expect(got.retryAfterMs).toBe(7000)
  })

  test('413 counts, though the sink cuts the connection over the bytes that it did not read', async () => {
    const raw = await start((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n', () => socket.destroy())
      })
    }, isTls)
    const sink = raw.sink(trust)
    for (let n = 0; n < 5; n += 1)
      expect((await sink.send(bigBatch(8 * 1024 * 1024), never())).kind).toBe('too-large')
  })

  test('and the next batch takes a new connection, because the rest of the old one never left', async () => {
    const raw = await start((socket, index) => {
      if (index === 0) answersTheHead(OK)(socket)
      else onRequests(socket, () => socket.write(OK))
    }, isTls)
    const sink = raw.sink(trust)
    expect((await sink.send(bigBatch(MORE_THAN_ANY_BUFFER), never())).kind).toBe('malformed')
    expect((await sink.send(bigBatch(1000), never())).kind).toBe('verdicts')
    expect(raw.sockets).toHaveLength(2)
  })

  test('whole batches of every size around the pieces are acked', async () => {
    const sizes: number[] = []
    const raw = await start(
      (socket) =>
        onRequests(socket, (_index, body) => {
          sizes.push(body.length)
          socket.write(OK)
        }),
      isTls,
    )
    const sink = raw.sink(trust)
    const wanted = [1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 81_920, 1_000_000, 3_000_001]
    for (const size of wanted) {
      expect((await sink.send(bigBatch(size), never())).kind, String(size)).toBe('verdicts')
    }
    expect(sizes).toEqual(wanted)
    expect(raw.sockets).toHaveLength(1)
  })
})

// Only Linux tells what a connection's buffer still holds.
describe.runIf(existsSync('/proc/net/tcp'))(
  'an answer while the kernel still holds the body',
  () => {
    test('I8: a sink that stops reading and says 200 got no batch, though this side has nothing left to write', async () => {
      const raw = await start((socket) => {
        socket.once('data', () => {
          socket.pause()
          // By then all of the body is in buffers; what the sink's own did not take is on this
          // side.
          setTimeout(() => socket.write(OK), 300)
        })
      })
      const sink = raw.sink()
      const batch = bigBatch(1024 * 1024)
      const got = await sink.send(batch, never())
      expect(sink.stats.sentBytes).toBe(batch.bodyBytes)
      expect(got).toMatchObject({ kind: 'malformed', code: '200' })
    })
  },
)

describe('an answer that belongs to another request', () => {
  test('I8: one that comes while nothing is asked ends the connection, and acks nothing', async () => {
    const raw = await start((socket, index) => {
      onRequests(socket, (request) => {
        if (index > 0) return
        socket.write(OK)
        if (request === 0) setTimeout(() => socket.write(OK), 20)
      })
    })
    const sink = raw.sink({ timeout: 200 })
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts')
    await new Promise((resolve) => raw.sockets[0]?.once('close', resolve))
    expect(await sink.send(batchOf(4, 6), never())).toMatchObject({ kind: 'retry', code: null })
    expect(raw.sockets).toHaveLength(2)
  })

  test('I8: one that lies in the buffer when the next request begins is not its answer', async () => {
    const raw = await start((socket, index) => {
      // Only the first request is ever answered.
      onRequests(socket, (request) => {
        if (index === 0 && request === 0) socket.write(OK)
      })
    })
    const sink = raw.sink({ timeout: 200 })
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts')
    // Written before the request, and not read yet: nothing of the event loop lies between the two
    // lines.
    raw.sockets[0]?.write(OK)
    const second = sink.send(batchOf(4, 6), never())
    expect(await second).toMatchObject({ kind: 'retry', code: null })
    expect(raw.sockets).toHaveLength(2)
  })

  test('I8: two at once: the first one counts, and the connection ends', async () => {
    const raw = await start((socket) => {
      onRequests(socket, () => socket.write(OK + OK))
    })
    const sink = raw.sink()
    for (let n = 1; n <= 3; n += 1)
      expect((await sink.send(batchOf(n, n), never())).kind).toBe('verdicts')
    expect(raw.sockets).toHaveLength(3)
  })

  test('I8: one that is there before the request is none, on a new connection too', async () => {
    const raw = await start((socket) => {
      socket.write(OK)
      socket.resume()
    })
    const got = await raw.sink().send(bigBatch(MORE_THAN_ANY_BUFFER), never())
    expect(got.kind).not.toBe('verdicts')
  })
})
