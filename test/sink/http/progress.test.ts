/**
 * A try is given up for lack of progress, not for its length: slow and dead links, over real
 * sockets.
 */
import { existsSync } from 'node:fs'
import type { Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { Batch } from '../../../gateway/ports/sink.ts'
import { queueIn } from '../../../gateway/sink/http/client/send-queue.ts'
import { batchOf, never, withBody } from './batches.ts'
import { RawSink } from './raw-sink.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'

const cleanups: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

function bigBatch(bodyBytes: number): Batch {
  return withBody(batchOf(1, 3), [Buffer.alloc(bodyBytes, 0x61)])
}

/**
 * Takes `bytes` every `everyMs`, up to `stopsAt` if that is given, and answers when `total` have
 * come.
 */
function slowReader(
  socket: Socket,
  pace: {
    readonly bytes: number
    readonly everyMs: number
    readonly total: number
    readonly stopsAt?: number
  },
): void {
  let got = 0
  socket.pause()
  const timer = setInterval(() => {
    const chunk = (socket.read(Math.min(pace.bytes, socket.readableLength)) ??
      Buffer.alloc(0)) as Buffer
    got += chunk.length
    if (got >= (pace.stopsAt ?? Number.POSITIVE_INFINITY)) clearInterval(timer)
    if (got < pace.total) return
    clearInterval(timer)
    socket.write(OK)
  }, pace.everyMs)
  socket.once('close', () => clearInterval(timer))
}

async function start(onConnection: (socket: Socket) => void): Promise<RawSink> {
  const raw = await RawSink.start(onConnection)
  cleanups.push(() => raw.close())
  return raw
}

describe('a sink that takes its time', () => {
  test('a body that takes many times the time-out arrives, as long as it moves', async () => {
    const batch = bigBatch(6 * 1024 * 1024)
    const raw = await start((socket) =>
      slowReader(socket, { bytes: 64 * 1024, everyMs: 20, total: batch.bodyBytes }),
    )
    const sink = raw.sink({ timeout: 500 })
    const answer = await sink.send(batch, never())
    expect(answer.kind).toBe('verdicts')
    const { bytes = 0, ms = 0, timedOut } = answer.transfer ?? {}
    expect({ bytes, timedOut }).toEqual({ bytes: batch.bodyBytes, timedOut: false })
    expect(ms).toBeGreaterThan(2 * 500)
  })

  test.runIf(existsSync('/proc/net/tcp'))(
    'also when this side wrote all of it long ago, and only the kernel still sends',
    async () => {
      const batch = bigBatch(2 * 1024 * 1024)
      const raw = await start((socket) =>
        slowReader(socket, { bytes: 64 * 1024, everyMs: 50, total: batch.bodyBytes }),
      )
      const sink = raw.sink({ timeout: 600 })
      const answer = await sink.send(batch, never())
      expect(answer.kind).toBe('verdicts')
      expect(answer.transfer?.ms).toBeGreaterThan(2 * 600)
    },
  )

  test('an answer that comes in pieces is waited for', async () => {
    const raw = await start((socket) => {
      socket.once('data', () => {
        const pieces =
          'HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{"ackedThrough":    3}'.match(/.{1,6}/gs) ??
          []
        const timer = setInterval(() => {
          const piece = pieces.shift()
          if (piece === undefined) clearInterval(timer)
          else socket.write(piece)
        }, 60)
      })
    })
    // Ten pieces, 60 ms apart: longer than the time-out, shorter than twice of it.
    const answer = await raw.sink({ timeout: 400 }).send(batchOf(1, 3), never())
    expect(answer).toMatchObject({ kind: 'verdicts', ackedThrough: 3 })
  })
})

describe('a sink that stops', () => {
  test('in the middle of the body: noticed within twice the time-out, with how far it came', async () => {
    const batch = bigBatch(48 * 1024 * 1024)
    const raw = await start((socket) =>
      slowReader(socket, {
        bytes: 1024 * 1024,
        everyMs: 10,
        total: batch.bodyBytes,
        stopsAt: 4 * 1024 * 1024,
      }),
    )
    const sink = raw.sink({ timeout: 400 })
    const answer = await sink.send(batch, never())
    expect(answer).toMatchObject({
      kind: 'retry',
      detail: expect.stringMatching(
        /within 400 ms \(TIMEOUT, \d+ of 50331648 bytes taken\)/,
      ) as string,
    })
    expect(answer.transfer).toMatchObject({ timedOut: true })
    expect(answer.transfer?.bytes).toBeGreaterThanOrEqual(4 * 1024 * 1024)
    expect(answer.transfer?.bytes).toBeLessThan(batch.bodyBytes)
  })

  test('and never answers a small batch: given up at the time-out', async () => {
    const raw = await start((socket) => void socket.resume())
    const startedAt = performance.now()
    const answer = await raw.sink({ timeout: 200 }).send(batchOf(1, 3), never())
    expect(answer).toMatchObject({ kind: 'retry', transfer: { timedOut: true } })
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(190)
  })
})

test('an answer that trickles holds a large batch no longer than a small one', async () => {
  const batch = bigBatch(2 * 1024 * 1024)
  const raw = await start((socket) => {
    let got = 0
    let timer: NodeJS.Timeout | undefined
    socket.on('data', (chunk: Buffer) => {
      got += chunk.length
      if (got < batch.bodyBytes || timer !== undefined) return
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n')
      timer = setInterval(() => socket.write(' '), 10)
    })
    socket.once('close', () => clearInterval(timer))
  })
  const answer = await raw.sink({ timeout: 200 }).send(batch, never())
  expect(answer).toMatchObject({
    kind: 'retry',
    detail: expect.stringMatching(
      /the rest of the answer was not there \d+ ms after its head/,
    ) as string,
  })
}, 10_000)

test('what moves, but slower than minBytesPerSecond on the whole, is given up', async () => {
  const batch = bigBatch(48 * 1024 * 1024)
  const raw = await start((socket) =>
    slowReader(socket, { bytes: 256 * 1024, everyMs: 20, total: batch.bodyBytes }),
  )
  const answer = await raw
    .sink({ timeout: 300, minBytesPerSecond: 480 * 1024 * 1024 })
    .send(batch, never())
  expect(answer).toMatchObject({
    kind: 'retry',
    transfer: { timedOut: true },
    detail: expect.stringMatching(/not done within 700 ms \(TOO_SLOW/) as string,
  })
})

test('the table of the kernel: the queue of the connection between two ports', () => {
  const table = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   0: 0100007F:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1',
    '   1: 0100007F:9C40 0100007F:2328 01 0001E240:00000000 01:00000014 00000000     0        0 2',
    '   2: 0100007F:2328 0100007F:9C40 01 00000000:00000123 00:00000000 00000000     0        0 3',
  ].join('\n')
  expect(queueIn(table, 40_000, 9000)).toBe(123_456)
  expect(queueIn(table, 9000, 40_000)).toBe(0)
  expect(queueIn(table, 40_001, 9000)).toBeNull()
})
