/**
 * Answers as odd servers, proxies and dying links send them, over real sockets: an ack, a word that
 * is true, or a retry.
 */
import type { Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, expect, test } from 'vitest'
import type { SinkAnswer } from '../../../gateway/ports/sink.ts'
import { batchOf, never } from './batches.ts'
import { onRequests, RawSink } from './raw-sink.ts'

const cleanups: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Says this to each request; `end` closes behind it, `reset` resets. */
async function start(
  answer: string | Buffer,
  then: 'stay' | 'end' | 'reset' = 'stay',
): Promise<RawSink> {
  const say = (socket: Socket): void => {
    if (then === 'end') socket.end(answer)
    else socket.write(answer, () => (then === 'reset' ? socket.resetAndDestroy() : undefined))
  }
  const raw = await RawSink.start((socket) => onRequests(socket, () => say(socket)))
  cleanups.push(() => raw.close())
  return raw
}

const detailOf = (answer: SinkAnswer): string => ('detail' in answer ? answer.detail : '')
const gzipped = gzipSync('{"ackedThrough":3}')

const ACKS: ReadonlyArray<readonly [name: string, answer: string | Buffer, then?: 'end']> = [
  [
    'an unasked 100 before it',
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  ],
  [
    '102 and 103 before it',
    'HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 H\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  ],
  ['HTTP/1.0, closed', 'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nok\n', 'end'],
  ['HTTP/1.0, kept', 'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok'],
  [
    'no length, closed',
    'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"ok":true}',
    'end',
  ],
  ['closed without a word', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 'end'],
  ['204 with a length', 'HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok'],
  [
    '204 in chunks',
    'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  ],
  [
    'chunks and a length',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  ],
  [
    'a length that came twice',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok',
  ],
  [
    'trailers',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n',
  ],
  [
    '20 KB of headers',
    `HTTP/1.1 200 OK\r\nX-Policy: ${'x'.repeat(20_000)}\r\nContent-Length: 0\r\n\r\n`,
  ],
  [
    'gzip, unasked',
    Buffer.concat([
      Buffer.from(
        `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${gzipped.length}\r\n\r\n`,
      ),
      gzipped,
    ]),
  ],
  ['empty lines behind it', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n\r\n'],
]

test.each(ACKS.map(([name, answer, then]) => [name, answer, then ?? ('stay' as const)] as const))(
  'an ack: %s, three times',
  async (_, answer, then) => {
    const sink = (await start(answer, then)).sink()
    for (let n = 0; n < 3; n += 1) {
      const got = await sink.send(batchOf(3 * n + 1, 3 * n + 3), never())
      expect(got.kind, detailOf(got)).toBe('verdicts')
    }
  },
)

const NO_ACKS: ReadonlyArray<
  readonly [
    name: string,
    answer: string,
    then: 'stay' | 'end' | 'reset',
    kind: SinkAnswer['kind'],
    words: RegExp,
  ]
> = [
  [
    'a body shorter than its length',
    'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"ackedThrough":3}',
    'end',
    'retry',
    /cut short \(closed 2 bytes before the end/,
  ],
  [
    'chunks without an end',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n',
    'end',
    'retry',
    /cut short/,
  ],
  [
    'chunks, then a reset',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n',
    'reset',
    'retry',
    /ECONNRESET|cut short/,
  ],
  [
    'closed behind the headers of JSON',
    'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n',
    'end',
    'retry',
    /cut short .*announces JSON/,
  ],
  [
    'closed within the headers',
    'HTTP/1.1 200 OK\r\nContent-Le',
    'end',
    'retry',
    /closed the connection before it had answered/,
  ],
  [
    'closed after 100',
    'HTTP/1.1 100 Continue\r\n\r\n',
    'end',
    'retry',
    /closed the connection before it had answered/,
  ],
  [
    'two lengths',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk',
    'stay',
    'malformed',
    /Content-Length says both 2 and 3/,
  ],
  [
    'a length that is none',
    'HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok',
    'stay',
    'malformed',
    /Content-Length is 2x/,
  ],
  [
    'a coding of the transfer',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    'stay',
    'malformed',
    /Transfer-Encoding gzip was not asked for/,
  ],
  ['101', 'HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n', 'stay', 'hold', /answered 101/],
  ['ICY', 'ICY 200 OK\r\n\r\n', 'stay', 'retry', /does not speak HTTP.*"ICY 200 OK"/],
  [
    'a block page',
    'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\n<html>blocked</html>',
    'stay',
    'hold',
    /with HTML/,
  ],
  [
    '503 whose length is two',
    'HTTP/1.1 503 x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nno!',
    'stay',
    'retry',
    /answered 503/,
  ],
]

test.each(NO_ACKS)('no ack: %s', async (_, answer, then, kind, words) => {
  const raw = await start(answer, then)
  const sink = raw.sink({ timeout: 1000 })
  const got = await sink.send(batchOf(1, 3), never())
  expect(got.kind, detailOf(got)).toBe(kind)
  expect(detailOf(got)).toMatch(words)
  // What came may not have been all: nothing more goes over that connection.
  await sink.send(batchOf(1, 3), never())
  expect(raw.sockets).toHaveLength(2)
})
