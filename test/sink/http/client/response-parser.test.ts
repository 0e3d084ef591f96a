/**
 * Bytes of an HTTP answer -> what it is, as RFC 9112 has it; the same however the bytes are cut.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LinkError } from '../../../../gateway/sink/http/client/link-error.ts'
import {
  MAX_HEAD_BYTES,
  ResponseParser,
} from '../../../../gateway/sink/http/client/response-parser.ts'

const LIMIT = 1000

interface Seen {
  readonly status?: number | undefined
  readonly body: string
  readonly isDone: boolean
  readonly isReusable: boolean
  readonly fault: string | null | undefined
  readonly error: string | null
}

/** @param ends the other side closes behind the last byte */
function read(text: string | Buffer, ends = false, cuts: readonly number[] = []): Seen {
  const bytes = Buffer.from(text as string, 'latin1')
  const parser = new ResponseParser(LIMIT)
  let error: string | null = null
  try {
    const places = [
      0,
      ...cuts.filter((at) => at > 0 && at < bytes.length).toSorted((a, b) => a - b),
      bytes.length,
    ]
    for (let n = 1; n < places.length; n += 1) parser.push(bytes.subarray(places[n - 1], places[n]))
    if (ends) parser.end()
  } catch (thrown) {
    if (!(thrown instanceof LinkError)) throw thrown
    error = thrown.code
  }
  return {
    status: parser.head?.status,
    body: Buffer.concat(parser.body).toString('latin1'),
    isDone: parser.isDone,
    isReusable: parser.isReusable,
    fault: parser.head?.fault,
    error,
  }
}

const ok = (headers: string, body = '', version = '1.1'): string =>
  `HTTP/${version} 200 OK\r\n${headers.replaceAll('\n', '\r\n')}${headers === '' ? '' : '\r\n'}\r\n${body}`

/** Name, answer, closes behind it, expected. */
type Row = readonly [name: string, answer: string, ends: boolean, expected: Partial<Seen>]

const WHOLE = { status: 200, isDone: true, error: null, fault: null }

const ROWS: readonly Row[] = [
  ['a length', ok('Content-Length: 2', 'ok'), false, { ...WHOLE, body: 'ok', isReusable: true }],
  ['a length of 0', ok('Content-Length: 0'), false, { ...WHOLE, body: '', isReusable: true }],
  ['no reason phrase', 'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n', false, WHOLE],
  ['LF alone (2.2)', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok', false, { ...WHOLE, body: 'ok' }],
  ['space before the colon (5.1)', ok('Content-Length : 2', 'ok'), false, { ...WHOLE, body: 'ok' }],
  [
    'an obsolete fold (5.2)',
    ok('X-Long: a\n\tb\nContent-Length: 2', 'ok'),
    false,
    { ...WHOLE, body: 'ok' },
  ],
  [
    'Latin-1 in a header',
    ok('X-Name: M\xfcller\nContent-Length: 2', 'ok'),
    false,
    { ...WHOLE, body: 'ok' },
  ],
  [
    'Connection: close',
    ok('Connection: close\nContent-Length: 2', 'ok'),
    false,
    { ...WHOLE, isReusable: false },
  ],
  [
    'bytes behind it',
    ok('Content-Length: 2', 'ok\r\n'),
    false,
    { ...WHOLE, body: 'ok', isReusable: false },
  ],
  [
    'HTTP/1.0',
    ok('Content-Length: 2', 'ok', '1.0'),
    false,
    { ...WHOLE, body: 'ok', isReusable: false },
  ],
  [
    'HTTP/1.0, kept',
    ok('Connection: Keep-Alive\nContent-Length: 2', 'ok', '1.0'),
    false,
    { ...WHOLE, isReusable: true },
  ],
  // RFC 9110, 15.2: interim answers, asked for or not.
  [
    '100 unasked',
    `HTTP/1.1 100 Continue\r\n\r\n${ok('Content-Length: 0')}`,
    false,
    { ...WHOLE, isReusable: true },
  ],
  [
    '102, 103',
    `HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 H\r\nLink: </x>\r\n\r\n${ok('Content-Length: 0')}`,
    false,
    WHOLE,
  ],
  [
    '100 and then nothing',
    'HTTP/1.1 100 Continue\r\n\r\n',
    true,
    { error: 'CLOSED', isDone: false },
  ],
  [
    '101 is no interim answer',
    'HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n',
    false,
    { status: 101, isDone: true },
  ],
  // RFC 9112, 6.3, rule 1.
  [
    '204',
    'HTTP/1.1 204 No Content\r\n\r\n',
    false,
    { status: 204, isDone: true, isReusable: true, fault: null },
  ],
  [
    '204 with a length',
    'HTTP/1.1 204 x\r\nContent-Length: 2\r\n\r\nok',
    false,
    { status: 204, isDone: true, body: '', isReusable: false },
  ],
  [
    '204 with chunks',
    'HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    false,
    { status: 204, isDone: true, body: '', isReusable: false },
  ],
  [
    '204 with a length of 0',
    'HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n',
    false,
    { status: 204, isDone: true, isReusable: true },
  ],
  // Rules 3 and 4.
  [
    'chunks',
    ok('Transfer-Encoding: chunked', '2\r\nok\r\n3;a=b\r\nay!\r\n0\r\nX-Sum: 1\r\n\r\n'),
    false,
    { ...WHOLE, body: 'okay!', isReusable: true },
  ],
  [
    'chunks and a length: the chunks count',
    ok('Content-Length: 1\nTransfer-Encoding: chunked', '2\r\nok\r\n0\r\n\r\n'),
    false,
    { ...WHOLE, body: 'ok', isReusable: false },
  ],
  [
    'chunks over HTTP/1.0 (6.1)',
    ok('Connection: keep-alive\nTransfer-Encoding: chunked', '2\r\nok\r\n0\r\n\r\n', '1.0'),
    false,
    { ...WHOLE, body: 'ok', isReusable: false },
  ],
  [
    'chunked twice',
    ok('Transfer-Encoding: chunked, chunked'),
    false,
    { isDone: true, isReusable: false, fault: 'Transfer-Encoding says chunked twice' },
  ],
  [
    'a coding that nobody asked for',
    ok('Transfer-Encoding: gzip, chunked'),
    false,
    { isDone: true, isReusable: false, fault: 'Transfer-Encoding gzip was not asked for' },
  ],
  [
    'chunks that end early',
    ok('Transfer-Encoding: chunked', '2\r\nok\r\n'),
    true,
    { error: 'CUT_SHORT', isDone: false },
  ],
  [
    'chunks without their last line',
    ok('Transfer-Encoding: chunked', '2\r\nok\r\n0\r\n'),
    true,
    { error: 'CUT_SHORT', isDone: false },
  ],
  [
    'a chunk that is longer than it says',
    ok('Transfer-Encoding: chunked', '2\r\nokay\r\n0\r\n\r\n'),
    false,
    { error: 'NOT_HTTP' },
  ],
  [
    'a chunk without a size',
    ok('Transfer-Encoding: chunked', 'ok\r\n0\r\n\r\n'),
    false,
    { error: 'NOT_HTTP' },
  ],
  // Rules 5 and 6.
  [
    'a length that came twice',
    ok('Content-Length: 2\nContent-Length: 2', 'ok'),
    false,
    { ...WHOLE, body: 'ok', isReusable: true },
  ],
  [
    'a length that is a list of the same',
    ok('Content-Length: 2, 2', 'ok'),
    false,
    { ...WHOLE, body: 'ok' },
  ],
  [
    'two lengths',
    ok('Content-Length: 2\nContent-Length: 3', 'okk'),
    false,
    { isDone: true, isReusable: false, fault: 'Content-Length says both 2 and 3' },
  ],
  [
    'a length that is none',
    ok('Content-Length: -1'),
    false,
    { isDone: true, isReusable: false, fault: 'Content-Length is -1, not a number of bytes' },
  ],
  [
    'fewer bytes than the length',
    ok('Content-Length: 3', 'ok'),
    true,
    { error: 'CUT_SHORT', isDone: false },
  ],
  // Rule 8.
  [
    'until the connection ends',
    ok('Content-Type: text/plain', 'ok'),
    true,
    { ...WHOLE, body: 'ok', isReusable: false },
  ],
  ['not ended yet', ok('', 'ok'), false, { isDone: false, body: 'ok' }],
  ['closed behind the head', ok(''), true, { ...WHOLE, body: '' }],
  [
    'closed behind a head that announces JSON',
    ok('Content-Type: application/json'),
    true,
    { error: 'CUT_SHORT' },
  ],
  // No answer at all.
  ['a mail server', '220 mail.example ESMTP\r\n', false, { error: 'NOT_HTTP' }],
  ['a mail server that does not end its line', '220 mail', false, { error: 'NOT_HTTP' }],
  ['ICY', 'ICY 200 OK\r\n\r\n', false, { error: 'NOT_HTTP' }],
  ['HTTP/2', 'HTTP/2.0 200 OK\r\n\r\n', false, { error: 'NOT_HTTP' }],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n', false, { error: 'NOT_HTTP' }],
  ['a line that is no header', ok('what is this'), false, { error: 'NOT_HTTP' }],
  ['nothing', '', true, { error: 'CLOSED' }],
  ['half a head', 'HTTP/1.1 200 OK\r\nContent-Le', true, { error: 'CLOSED', isDone: false }],
  ['20 KB of headers', ok(`X-Policy: ${'x'.repeat(20_000)}\nContent-Length: 0`), false, WHOLE],
  [
    'headers without an end',
    `HTTP/1.1 200 OK\r\n${'X-A: 1\r\n'.repeat(MAX_HEAD_BYTES / 8)}`,
    false,
    { error: 'HEAD_TOO_LONG' },
  ],
  [
    'one endless header',
    `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(MAX_HEAD_BYTES)}`,
    false,
    { error: 'HEAD_TOO_LONG' },
  ],
  [
    'interim answers without an end',
    'HTTP/1.1 102 P\r\n\r\n'.repeat(101),
    false,
    { error: 'NOT_HTTP' },
  ],
]

test.each(ROWS)('%s', (_, answer, ends, expected) => {
  expect(read(answer, ends)).toMatchObject(expected)
})

describe('however the bytes are cut', () => {
  test.each(ROWS.filter(([, answer]) => answer.length < 1000))('%s', (_, answer, ends) => {
    const whole = read(answer, ends)
    const bytewise = read(
      answer,
      ends,
      Array.from({ length: answer.length }, (__, n) => n),
    )
    // How much of a body that is no answer was read before that was seen is no matter.
    const said = ({ error, ...rest }: Seen): unknown => (error === null ? rest : error)
    expect(said(bytewise)).toEqual(said(whole))
    fc.assert(
      fc.property(fc.array(fc.nat(answer.length), { maxLength: 6 }), (cuts) => {
        expect(said(read(answer, ends, cuts))).toEqual(said(whole))
      }),
      { numRuns: 50 },
    )
  })
})

test('a body over the limit is not read on, and its connection not used again', () => {
  for (const answer of [
    ok('Content-Length: 2000', 'x'.repeat(2000)),
    ok('Transfer-Encoding: chunked', `7d0\r\n${'x'.repeat(2000)}\r\n0\r\n\r\n`),
    ok('', 'x'.repeat(2000)),
  ]) {
    const parser = new ResponseParser(LIMIT)
    parser.push(Buffer.from(answer))
    expect(parser).toMatchObject({ tooLong: true, isDone: true, isReusable: false })
  }
})

test('any bytes end in an answer, a wait or a word, never in a crash', () => {
  const part = fc.constantFrom(
    'HTTP/1.1 200 OK\r\n',
    'HTTP/1.0 503 x\n',
    'Content-Length: 3\r\n',
    'Content-Length: 99999999999999999999\r\n',
    'Transfer-Encoding: chunked\r\n',
    '\r\n',
    '\n',
    '3\r\nabc\r\n',
    '0\r\n\r\n',
    'fffffffffffff\r\n',
    ' x',
    ':',
    '\0',
    '{}',
    'HTTP/1.1 100 C\r\n\r\n',
  )
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), fc.boolean(), (parts, ends) => {
      const seen = read(parts.join(''), ends)
      expect(seen.isDone || seen.error !== null || !ends).toBe(true)
    }),
    { numRuns: 2000 },
  )
})
