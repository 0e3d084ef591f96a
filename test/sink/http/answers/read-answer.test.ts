/**
 * The contract's answer table, row by row, decided without IO. http-sink.test.ts shows the same
 * over sockets.
 */
import { brotliCompressSync, gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { SinkAnswer } from '../../../../gateway/ports/sink.ts'
import { type HttpAnswer, MAX_ANSWER_BYTES } from '../../../../gateway/sink/http/answers/answer.ts'
import type { AnswerConfig } from '../../../../gateway/sink/http/answers/config.ts'
import { readAnswer } from '../../../../gateway/sink/http/answers/read-answer.ts'
import { answerRules } from '../../../../gateway/sink/http/answers/rules.ts'
import { isRetryStatus } from '../../../../gateway/sink/http/answers/statuses.ts'

const CONFIG = {
  ack: 'status',
  ackStatus: [200, 201, 204],
  answers: {},
  maxRetryAfter: 3_600_000,
} as const
const RULES = answerRules(CONFIG)
const BATCH = { firstSeq: 10, lastSeq: 20 }
const HTML = '<!doctype html><html><title>Welcome to Airport WiFi</title></html>'

interface Given {
  readonly body?: string | Uint8Array
  readonly headers?: HttpAnswer['headers']
  readonly ack?: AnswerConfig['ack']
  readonly ackStatus?: readonly number[]
  readonly bodyTooLong?: boolean
  readonly answers?: AnswerConfig['answers']
}

function read(status: number, given: Given = {}): SinkAnswer {
  const body =
    typeof given.body === 'string' ? Buffer.from(given.body) : (given.body ?? Buffer.alloc(0))
  const answer = {
    status,
    headers: given.headers ?? {},
    body,
    bodyTooLong: given.bodyTooLong ?? false,
  }
  const { ack = CONFIG.ack, ackStatus = CONFIG.ackStatus, answers = CONFIG.answers } = given
  return readAnswer(answer, answerRules({ ...CONFIG, ack, ackStatus, answers }), BATCH)
}

function verdicts(status: number, body: unknown, given: Given = {}): SinkAnswer {
  return read(status, { ...given, body: JSON.stringify(body) })
}

const ALL_ACKED = { kind: 'verdicts', ackedThrough: null, listed: [] }

describe('answers: a status that means something else at this sink', () => {
  test.each([
    [409, 'acked', ALL_ACKED],
    [403, 'refused', { kind: 'refused' }],
    [400, 'too-large', { kind: 'too-large' }],
    [500, 'hold', { kind: 'hold', scope: 'sink' }],
    [404, 'retry', { kind: 'retry' }],
  ] as const)('%i is %s', (status, meaning, outcome) => {
    expect(read(status, { answers: { [status]: meaning } })).toMatchObject({
      ...outcome,
      code: String(status),
    })
    expect(read(status)).not.toMatchObject(outcome)
    expect(read(status, { answers: { 499: meaning } })).toEqual(read(status))
  })

  test('Retry-After of a status that is a retry here is obeyed', () => {
    const given = { headers: { 'retry-after': '7' }, answers: { 404: 'retry' } } as const
    expect(read(404, given)).toMatchObject({ kind: 'retry', retryAfterMs: 7000 })
  })

  test('whatever a page says beside 409: the status acks', () => {
    expect(read(409, { body: HTML, answers: { 409: 'acked' } })).toMatchObject(ALL_ACKED)
  })
})

describe('answers: classes, tables, and statuses by their meaning', () => {
  test.each([
    [{ '2xx': 'acked' }, 226, ALL_ACKED],
    [{ '2xx': 'acked' }, 207, { kind: 'malformed' }],
    [{ '5xx': 'hold' }, 503, { kind: 'hold' }],
    [{ '5xx': 'hold', '503': 'retry' }, 503, { kind: 'retry', scope: 'sink' }],
    [{ '5xx': 'hold' }, 499, { kind: 'hold' }],
    [{ '3xx': 'retry' }, 302, { kind: 'retry' }],
    [{ '4xx': 'retry' }, 413, { kind: 'retry' }],
    [{ '4xx': 'refused' }, 400, { kind: 'refused' }],
    [{ '4xx': 'refused' }, 418, { kind: 'refused' }],
    [{ ack: ['200'], retry: ['5xx', '429'], hold: ['401'], refuse: ['400'] }, 200, ALL_ACKED],
    [{ ack: ['200'] }, 204, { kind: 'hold' }],
    [{ ack: ['200'], refuse: ['4xx'], tooLarge: ['400'] }, 400, { kind: 'too-large' }],
    [{ 202: 'acked' }, 202, ALL_ACKED],
    [{ 202: 'acked' }, 200, { kind: 'hold' }],
    [{ 204: 'retry' }, 200, ALL_ACKED],
    [{ 204: 'retry' }, 204, { kind: 'retry' }],
  ] as const)('%j: %i', (answers, status, outcome) => {
    expect(read(status, { answers })).toMatchObject(outcome)
  })

  test('a class that refuses leaves what speaks of the sink, or has a row of its own, alone', () => {
    const answers = { '4xx': 'refused' }
    for (const status of [401, 402, 403, 404, 405, 407, 408, 410, 412, 413, 421, 425, 429, 431])
      expect(read(status, { answers }), String(status)).toEqual(read(status))
    expect(read(403, { answers: { ...answers, 403: 'refused' } })).toMatchObject({
      kind: 'refused',
    })
  })

  test('status: the body says nothing, and a page is still no ack', () => {
    const answers = { table: 'status' }
    for (const body of ['', 'stored', '{"ok":false}', '{"errors":[1]}', '{"ackedThrough":3', '{'])
      expect(read(200, { answers, body }), body).toMatchObject(ALL_ACKED)
    expect(read(200, { answers, body: '{"ackedThrough":11}' })).toMatchObject(ALL_ACKED)
    for (const body of [HTML, '<?xml version="1.0"?><x/>', '<soap/>'])
      expect(read(200, { answers, body }), body).toMatchObject({ kind: 'hold', scope: 'sink' })
    expect(read(200, { answers, bodyTooLong: true })).toMatchObject({ kind: 'hold' })
    expect(read(207, { answers })).toMatchObject({ kind: 'hold' })
    expect(read(200, { answers, body: HTML, ack: 'any-body' })).toMatchObject(ALL_ACKED)
  })

  test('a page under a 2xx that answers lists is no ack either', () => {
    expect(read(202, { body: HTML, answers: { ack: ['202'] } })).toMatchObject({ kind: 'hold' })
  })
})

describe('every record is acked', () => {
  test.each([200, 201, 204])('%i with an empty body', (status) => {
    expect(read(status)).toMatchObject(ALL_ACKED)
  })

  test.each([
    ['plain text', 'stored, thank you', { 'content-type': 'text/plain' }],
    ['plain text without a type', 'OK', {}],
    ['JSON without the members', '{"status":"ok"}', { 'content-type': 'application/json' }],
    ['a JSON list', '[]', { 'content-type': 'application/json' }],
    ['JSON null', 'null', { 'content-type': 'application/json; charset=utf-8' }],
    ['nothing, though it says JSON', '', { 'content-type': 'application/json' }],
    ['nothing, though it says HTML', ' \n', { 'content-type': 'text/html' }],
    ['a byte order mark before JSON', '\ufeff{"ok":true}', { 'content-type': 'application/json' }],
  ])('200 with %s', (_, body, headers) => {
    expect(read(200, { body, headers })).toMatchObject(ALL_ACKED)
  })

  test('a status of ackStatus that the table holds otherwise', () => {
    expect(read(202, { ackStatus: [202] })).toMatchObject(ALL_ACKED)
    expect(read(200, { ackStatus: [202] })).toMatchObject({ kind: 'hold' })
  })
})

describe('ackedThrough', () => {
  test.each([0, 9, 15, 20, 21, Number.MAX_SAFE_INTEGER])('%i is handed over as it is', (n) => {
    expect(verdicts(200, { ackedThrough: n })).toMatchObject({
      kind: 'verdicts',
      ackedThrough: n,
      listed: [],
    })
  })

  test('counts with 207, with ack: body, and under whatever type a small server sends', () => {
    expect(verdicts(207, { ackedThrough: 15 })).toMatchObject({
      kind: 'verdicts',
      ackedThrough: 15,
    })
    expect(verdicts(200, { ackedThrough: 20 }, { ack: 'body' })).toMatchObject({ ackedThrough: 20 })
    for (const type of ['text/plain', 'text/html; charset=utf-8', 'application/octet-stream']) {
      const headers = { 'content-type': type }
      expect(verdicts(200, { ackedThrough: 12 }, { headers })).toMatchObject({ ackedThrough: 12 })
    }
  })

  test('-0 is 0', () => {
    expect(read(200, { body: '{"ackedThrough":-0}' })).toMatchObject({ ackedThrough: 0 })
  })

  test.each(['"15"', '15.5', '-1', 'null', 'true', '[15]', '{}', '9007199254740992', '1e400'])(
    '%s is malformed: nothing is acked',
    (value) => {
      expect(read(200, { body: `{"ackedThrough":${value}}` }).kind).toBe('malformed')
    },
  )
})

describe('rejected', () => {
  test.each([
    [200, 'acked'],
    [204, 'acked'],
    [409, 'acked'],
    [408, 'retry'],
    [425, 'retry'],
    [429, 'retry'],
    [500, 'retry'],
    [501, 'retry'],
    [503, 'retry'],
    [505, 'retry'],
    [599, 'retry'],
    [400, 'refused'],
    [413, 'refused'],
    [422, 'refused'],
    [404, 'refused'],
    [302, 'refused'],
    [100, 'refused'],
    [600, 'refused'],
    [0, 'refused'],
    [-1, 'refused'],
  ])('an entry with status %i is %s', (status, verdict) => {
    const answer = verdicts(200, { rejected: [{ seq: 12, status, reason: 'because' }] })
    expect(answer).toMatchObject({
      listed: [{ seq: 12, verdict, code: String(status), reason: 'because' }],
    })
  })

  test('no status, or null: refused', () => {
    const listed = [
      { seq: 10, verdict: 'refused', code: null, reason: null },
      { seq: 11, verdict: 'refused', code: null, reason: null },
    ]
    expect(
      verdicts(200, { rejected: [{ seq: 10 }, { seq: 11, status: null, reason: null }] }),
    ).toMatchObject({ listed })
  })

  test('an empty list is a word, so everything is acked also with ack: body and 207', () => {
    expect(verdicts(200, { rejected: [] }, { ack: 'body' })).toMatchObject(ALL_ACKED)
    expect(verdicts(207, { rejected: [] })).toMatchObject(ALL_ACKED)
  })

  test('comes in order of seq, each once, beside ackedThrough', () => {
    const rejected = [
      { seq: 19, status: 422 },
      { seq: 11, status: 503 },
      { seq: 19, status: 400 },
    ]
    const answer = verdicts(207, { ackedThrough: 10, rejected })
    expect(answer).toMatchObject({ kind: 'verdicts', ackedThrough: 10 })
    expect(answer.kind === 'verdicts' && answer.listed.map((one) => one.seq)).toEqual([11, 19])
  })

  test.each([
    ['not a list', { rejected: {} }],
    ['null', { rejected: null }],
    ['a list of numbers', { rejected: [12] }],
    ['a list of lists', { rejected: [[12, 422]] }],
    ['no seq', { rejected: [{ status: 422 }] }],
    ['a seq that is text', { rejected: [{ seq: '12', status: 422 }] }],
    ['a seq below the batch', { rejected: [{ seq: 9, status: 422 }] }],
    ['a seq above the batch', { rejected: [{ seq: 21, status: 422 }] }],
    ['a status that is text', { rejected: [{ seq: 12, status: '422' }] }],
    ['a reason that is no text', { rejected: [{ seq: 12, status: 422, reason: 7 }] }],
    [
      'one seq with two verdicts',
      {
        rejected: [
          { seq: 12, status: 422 },
          { seq: 12, status: 503 },
        ],
      },
    ],
    ['one good entry beside a bad one', { rejected: [{ seq: 12, status: 422 }, {}] }],
    ['bad beside a good ackedThrough', { ackedThrough: 20, rejected: 'none' }],
  ])('%s is malformed: nothing is acked, nothing refused', (_, body) => {
    expect(verdicts(200, body).kind).toBe('malformed')
  })

  test('a reason is cut and cleaned before it gets into logs and dead letters', () => {
    const reason = `\u001b[31mred\u0000\nline ${'x'.repeat(2000)}`
    const answer = verdicts(200, { rejected: [{ seq: 12, status: 422, reason }] })
    const kept = answer.kind === 'verdicts' ? (answer.listed[0]?.reason ?? '') : ''
    expect(kept).toMatch(/^\[31mred line x+…$/)
    expect(kept.length).toBeLessThanOrEqual(501)
  })
})

describe('I8: no ack, however friendly the status', () => {
  test.each([200, 201, 207])('%i with HTML, by type or by look, holds the sink', (status) => {
    const hold = { kind: 'hold', scope: 'sink' }
    expect(read(status, { body: HTML, headers: { 'content-type': 'text/html' } })).toMatchObject(
      hold,
    )
    expect(
      read(status, { body: 'please log in', headers: { 'content-type': 'text/html' } }),
    ).toMatchObject(hold)
    expect(
      read(status, { body: `\n ${HTML}`, headers: { 'content-type': 'text/plain' } }),
    ).toMatchObject(hold)
    expect(read(status, { body: '<!-- portal --><script>', headers: {} })).toMatchObject(hold)
  })

  test.each([
    [
      'XML',
      '<?xml version="1.0"?><SendMessageResponse><ok/></SendMessageResponse>',
      { 'content-type': 'text/xml' },
    ],
    ['XML', '<Envelope xmlns="urn:x"/>', { 'content-type': 'application/soap+xml; charset=utf-8' }],
    ['markup', '<stored/>', { 'content-type': 'text/plain' }],
    [
      'HTML',
      '<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x">\n<html xmlns="x"/>',
      { 'content-type': 'text/xml' },
    ],
    ['HTML', HTML, {}],
  ])('other markup holds, too, and is called what it is: %s', (name, body, headers) => {
    expect(read(200, { body, headers })).toMatchObject({
      kind: 'hold',
      detail: expect.stringContaining(`but with ${name}: `) as string,
    })
  })

  test.each([
    [{ error: 'quota exceeded', success: false }, 'success is false'],
    [{ ok: false, error: 'invalid_auth' }, 'ok is false'],
    [{ error: { code: 7 } }, 'it has error'],
    [{ errors: true, items: [] }, 'it has errors'],
    [{ errors: [{ line: 3 }] }, 'it has errors'],
    [{ status: 'error', message: 'disk full' }, 'status is error'],
  ])('JSON that says that it failed holds: %j', (body, words) => {
    for (const ack of ['status', 'body'] as const) {
      const answer = verdicts(200, body, { ack })
      expect(answer).toMatchObject({ kind: 'hold', scope: 'sink' })
      if (answer.kind === 'hold') expect(answer.detail).toContain(words)
    }
  })

  test.each([
    { error: null },
    { errors: [] },
    { errors: false },
    { error: '', success: true },
    { errors: 0 },
    { error: {} },
    { status: 'ok' },
    { success: 'false alarm' },
    { ok: 1 },
  ])('JSON that says that nothing failed is an ack: %j', (body) => {
    expect(verdicts(200, body)).toMatchObject(ALL_ACKED)
  })

  test('what a sink says of single records comes before what it says of itself', () => {
    expect(verdicts(200, { ackedThrough: 12, error: 'disk full' })).toMatchObject({
      ackedThrough: 12,
    })
  })

  test('an echo of one record and an echo of several are the same: JSON that says nothing', () => {
    const record = '{"id":"a:b:c:10","seq":10,"payload":{"error":"sensor"}}\n'
    for (const type of ['application/x-ndjson', 'application/json', 'text/plain']) {
      for (const count of [1, 2, 11]) {
        const given = { body: record.repeat(count), headers: { 'content-type': type } }
        expect(read(200, given), `${count} as ${type}`).toMatchObject(ALL_ACKED)
        expect(read(200, { ...given, ack: 'body' }).kind).toBe('hold')
      }
    }
    expect(read(200, { body: '{"a":1}\n{"a":' }).kind).toBe('hold')
    expect(read(200, { body: '{"a":1}\n{"ackedThrough":20}' }).kind).toBe('malformed')
  })

  test.each(['none', 'identity', 'UTF-8', 'utf8', 'binary', '', 'identity, none'])(
    'Content-Encoding %j is none: the body is read as it is',
    (encoding) => {
      const headers = { 'content-encoding': encoding }
      expect(read(200, { body: 'ok', headers })).toMatchObject(ALL_ACKED)
      expect(read(200, { body: '{"ackedThrough":12}', headers })).toMatchObject({
        ackedThrough: 12,
      })
      expect(read(200, { body: HTML, headers }).kind).toBe('hold')
    },
  )

  test('several encodings are undone from the last to the first', () => {
    const body = gzipSync(brotliCompressSync('{"ackedThrough":12}'))
    for (const encoding of ['br, gzip', ['br', 'x-gzip'], 'identity, br, gzip']) {
      expect(read(200, { body, headers: { 'content-encoding': encoding } })).toMatchObject({
        ackedThrough: 12,
      })
    }
    expect(read(200, { body, headers: { 'content-encoding': 'gzip, br' } }).kind).toBe('hold')
    expect(read(200, { body: 'ok', headers: { 'content-encoding': 'zstd' } })).toMatchObject({
      kind: 'hold',
      detail: expect.stringContaining('not asked for (zstd)') as string,
    })
  })

  test('an early yes, or one whose end nobody knows, is malformed; whatever says no counts', () => {
    const given = {
      status: 200,
      headers: {},
      body: Buffer.from('{"ackedThrough":20}'),
      bodyTooLong: false,
    }
    for (const status of [200, 201, 202, 204, 207]) {
      expect(readAnswer({ ...given, status, earlyAt: 17 }, RULES, BATCH)).toMatchObject({
        kind: 'malformed',
        detail: expect.stringContaining('when 17 bytes') as string,
      })
      expect(
        readAnswer({ ...given, status, fault: 'Content-Length says both 2 and 3' }, RULES, BATCH),
      ).toMatchObject({
        kind: 'malformed',
        detail: expect.stringContaining('says both 2 and 3') as string,
      })
    }
    const rules = answerRules({ ...CONFIG, answers: { 409: 'acked' } })
    expect(readAnswer({ ...given, status: 409, earlyAt: 0 }, rules, BATCH).kind).toBe('malformed')
    for (const [status, kind] of [
      [413, 'too-large'],
      [503, 'retry'],
      [401, 'hold'],
      [400, 'refused'],
    ] as const)
      expect(readAnswer({ ...given, status, earlyAt: 0, fault: 'x' }, RULES, BATCH).kind).toBe(kind)
  })

  test('a body over 1 MiB holds, also when a small one is inflated to it', () => {
    const hold = {
      kind: 'hold',
      scope: 'sink',
      detail: expect.stringContaining('over 1048576 bytes') as string,
    }
    expect(read(200, { body: '{"ackedThrough":20}', bodyTooLong: true })).toMatchObject(hold)
    const bomb = gzipSync(Buffer.alloc(MAX_ANSWER_BYTES + 1, 0x20))
    expect(read(200, { body: bomb, headers: { 'content-encoding': 'gzip' } })).toMatchObject(hold)
  })

  test.each([
    ['by its type', 'stored', { 'content-type': 'application/json' }],
    ['by a suffix type', 'stored', { 'content-type': 'application/problem+json; charset=utf-8' }],
    ['by its first character', '{"ackedThrough":2', {}],
    ['cut in the middle, as plain text', '{"rejected":[{"seq":1', { 'content-type': 'text/plain' }],
  ])('a body that claims JSON and is not holds: %s', (_, body, headers) => {
    expect(read(200, { body, headers })).toMatchObject({ kind: 'hold', scope: 'sink' })
  })

  test.each([
    ['an empty body', ''],
    ['plain text', 'ok'],
    ['JSON without the members', '{"ok":true}'],
    ['a JSON list', '[{"ackedThrough":20}]'],
    ['the members one level down', '{"result":{"ackedThrough":20}}'],
  ])('ack: body and %s holds', (_, body) => {
    expect(read(200, { body, ack: 'body' })).toMatchObject({ kind: 'hold', scope: 'sink' })
  })

  test.each(['', 'ok', '{"ok":true}', '[]'])('207 with %j is malformed', (body) => {
    expect(read(207, { body }).kind).toBe('malformed')
  })
})

describe('retry', () => {
  const statuses = [408, 409, 425, 429, 500, 502, 503, 504, 507, 511, 520, 598, 599]
  test.each(statuses)('%i sends the same bytes again', (status) => {
    expect(read(status)).toMatchObject({ kind: 'retry', code: String(status), retryAfterMs: null })
  })

  test('Retry-After counts in both forms, cut at maxRetryAfter, the longer one if there are two', () => {
    const date = 'Mon, 23 Nov 2026 03:00:00 GMT'
    const wait = (headers: HttpAnswer['headers']): unknown => {
      const answer = read(503, { headers })
      return answer.kind === 'retry' ? answer.retryAfterMs : answer.kind
    }
    expect(wait({ 'retry-after': '30' })).toBe(30_000)
    expect(wait({ 'retry-after': 'Mon, 23 Nov 2026 03:02:00 GMT', date })).toBe(120_000)
    expect(wait({ 'retry-after': 'Mon, 23 Nov 2026 03:02:00 GMT' })).toBeNull()
    expect(wait({ 'retry-after': '999999' })).toBe(3_600_000)
    expect(wait({ 'retry-after': ['5', '60'] })).toBe(60_000)
    expect(wait({ 'retry-after': 'whenever' })).toBeNull()
  })

  test('Retry-After beside verdicts is handed over, too', () => {
    const answer = verdicts(207, { ackedThrough: 12 }, { headers: { 'retry-after': '9' } })
    expect(answer).toMatchObject({ kind: 'verdicts', ackedThrough: 12, retryAfterMs: 9000 })
  })

  test('the words of the body are in the detail, on one line', () => {
    const answer = read(503, { body: 'database\n\tis down \u0007' })
    expect(answer).toMatchObject({ detail: 'answered 503 (database is down)' })
  })
})

test('413 is too large; 400 and 422 refuse', () => {
  expect(read(413).kind).toBe('too-large')
  expect(read(400, { body: HTML }).kind).toBe('refused')
  expect(read(422, { body: '{"ackedThrough":20}' }).kind).toBe('refused')
})

describe('I8: everything else holds', () => {
  const sinkWide = [
    202, 203, 205, 206, 226, 300, 301, 302, 303, 304, 307, 308, 401, 402, 403, 404, 405, 406, 407,
    410, 411,
  ]
  const more = [414, 415, 416, 417, 418, 421, 423, 424, 426, 428, 451, 499, 501, 505, 600, 999]
  test.each([...sinkWide, ...more])('%i holds the sink', (status) => {
    const answer = read(status, { body: '{"ackedThrough":20}' })
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', code: String(status) })
  })

  test('431 holds the stream alone: only its headers are too long', () => {
    expect(read(431)).toMatchObject({ kind: 'hold', scope: 'stream' })
  })

  test('I4: 412 holds the stream, and names what ends it: other records are stored under its numbers', () => {
    const detail = expect.stringContaining('sluice spool new-id') as string
    expect(read(412)).toMatchObject({ kind: 'hold', scope: 'stream', cloned: true, detail })
    expect(read(404)).toMatchObject({ cloned: false })
  })

  test('a redirect says where to, and that it is not followed', () => {
    const answer = read(302, { headers: { location: 'http://portal.example/login' } })
    expect(answer).toMatchObject({
      detail: expect.stringMatching(/portal\.example.*not followed/) as string,
    })
  })
})

test('the Date of the answer is handed over, or null', () => {
  expect(read(200, { headers: { date: 'Sun, 06 Nov 1994 08:49:37 GMT' } }).sinkDateMs).toBe(
    Date.UTC(1994, 10, 6, 8, 49, 37),
  )
  expect(read(200, { headers: { date: 'today' } }).sinkDateMs).toBeNull()
  expect(read(200).sinkDateMs).toBeNull()
})

test('an encoding that a server forces on its answer is undone, a false one holds', () => {
  const body = Buffer.from('{"ackedThrough":15}')
  expect(
    read(200, { body: gzipSync(body), headers: { 'content-encoding': 'gzip' } }),
  ).toMatchObject({
    ackedThrough: 15,
  })
  expect(
    read(200, { body: brotliCompressSync(body), headers: { 'content-encoding': 'br' } }),
  ).toMatchObject({
    ackedThrough: 15,
  })
  expect(read(200, { body, headers: { 'content-encoding': 'gzip' } }).kind).toBe('hold')
  expect(read(200, { body, headers: { 'content-encoding': 'zstd-of-ours' } }).kind).toBe('hold')
})

test('I8: whatever bytes a sink answers, reading them never throws and acks only by the table', () => {
  const anyStatus = fc.integer({ min: 100, max: 999 })
  const anyBody = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map((text) => Buffer.from(text)),
  )
  const anyHeaders = fc.dictionary(
    fc.constantFrom('content-type', 'content-encoding', 'date', 'retry-after', 'location'),
    fc.oneof(fc.string(), fc.constantFrom('application/json', 'text/html', 'gzip', '5')),
  )
  fc.assert(
    fc.property(anyStatus, anyBody, anyHeaders, (status, body, headers) => {
      const answer = readAnswer({ status, headers, body, bodyTooLong: false }, RULES, BATCH)
      if (answer.kind === 'verdicts') expect([200, 201, 204, 207]).toContain(status)
      if (answer.kind === 'retry') expect(isRetryStatus(status)).toBe(true)
      if (answer.kind === 'refused') expect([400, 422]).toContain(status)
    }),
    { numRuns: 2000 },
  )
})
