/**
 * The named tables of receivers, against what their servers answer: recorded (InfluxDB 1.6,
 * ClickHouse 18.16), or as their documents and sources have it (the others).
 */
import { describe, expect, test } from 'vitest'
import type { SinkAnswer } from '../../../../gateway/ports/sink.ts'
import type { HttpAnswer } from '../../../../gateway/sink/http/answers/answer.ts'
import { readAnswer } from '../../../../gateway/sink/http/answers/read-answer.ts'
import { answerRules } from '../../../../gateway/sink/http/answers/rules.ts'
import type { AnswerTableName } from '../../../../gateway/sink/http/answers/tables.ts'

/** Records 10 to 20 without 13, which has no place in the format. */
const SEQS = [10, 11, 12, 14, 15, 16, 17, 18, 19, 20]
const SENT = { firstSeq: 10, lastSeq: 20, seqs: SEQS }
const HTML = '<!doctype html><html><title>Welcome to Airport WiFi</title></html>'
const ALL_ACKED = { kind: 'verdicts', ackedThrough: null, listed: [] }

type Given = Partial<Omit<HttpAnswer, 'status' | 'body'>>

function reader(table: AnswerTableName) {
  const rules = answerRules({
    ack: 'status',
    ackStatus: [200, 201, 204],
    answers: { table },
    maxRetryAfter: 3_600_000,
  })
  return (status: number, body: unknown = '', given: Given = {}): SinkAnswer => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const answer = { headers: {}, bodyTooLong: false, ...given, status, body: Buffer.from(text) }
    return readAnswer(answer, rules, SENT)
  }
}

function refused(seq: number, code: string, reason: string | RegExp) {
  const words = typeof reason === 'string' ? reason : expect.stringMatching(reason)
  return { seq, verdict: 'refused', code, reason: words }
}

describe.each(['influx', 'victoria-metrics', 'questdb', 'es-bulk', 'clickhouse', 'otlp'] as const)(
  '%s: what is no word of the receiver',
  (table) => {
    const read = reader(table)

    test.each([200, 201, 204])('I8: a page behind %i holds', (status) => {
      expect(read(status, HTML)).toMatchObject({ kind: 'hold', scope: 'sink' })
      expect(read(status, '{"error"')).toMatchObject({ kind: 'hold' })
      expect(read(status, { error: 'database not found' })).toMatchObject({ kind: 'hold' })
    })

    test.each([202, 301, 302, 401, 403, 404, 405, 407, 410])('I8: %i holds', (status) => {
      expect(read(status)).toMatchObject({ kind: 'hold' })
      expect(read(status, HTML)).toMatchObject({ kind: 'hold' })
    })

    test.each([408, 429, 500, 502, 503, 504])('%i is tried again', (status) => {
      expect(read(status)).toMatchObject({ kind: 'retry' })
      expect(read(status, HTML)).toMatchObject({ kind: 'retry' })
      const given = { headers: { 'retry-after': '7' } }
      expect(read(status, '', given)).toMatchObject({ kind: 'retry', retryAfterMs: 7000 })
    })

    test('413 is too large', () => {
      expect(read(413)).toMatchObject({ kind: 'too-large' })
    })

    test('what comes before all was sent acks nothing', () => {
      for (const [status, body] of [
        [204, ''],
        [200, '{}'],
        [200, { items: SEQS.map(() => ({ create: { status: 201 } })) }],
      ] as const)
        expect(read(status, body, { earlyAt: 10 })).toMatchObject({ kind: 'malformed' })
    })
  },
)

describe('influx', () => {
  const read = reader('influx')

  test('204 acks', () => {
    expect(read(204)).toMatchObject(ALL_ACKED)
    expect(read(204, '', { earlyAt: 10 })).toMatchObject({ kind: 'malformed' })
  })

  test.each([
    'partial write: field type conflict: input field "f" on measurement "m" is type string, already exists as type float dropped=1',
    'partial write: points beyond retention policy dropped=3',
    `partial write: unable to parse 'm,a=b': missing fields\nunable to parse 'm f= 1': missing field value dropped=0`,
    `unable to parse 'm,a=b f=1e400 10': invalid float`,
  ])('InfluxDB 1: nobody knows which: %s', (error) => {
    expect(read(400, { error })).toMatchObject({ kind: 'refused', code: '400' })
  })

  test.each([
    [404, 'database not found: "nodb"'],
    [400, 'database is required'],
    [500, 'retention policy not found: weekly'],
    [400, 'partial write: max-series-per-database limit exceeded: (1000000) dropped=1'],
    [400, 'partial write: write /var/lib/influxdb/0000: no space left on device dropped=2'],
    [400, 'partial write: max-values-per-tag limit exceeded (100000/100000): dropped=1'],
  ])('I8, InfluxDB 1: %i %s holds', (status, error) => {
    expect(read(status, { error })).toMatchObject({ kind: 'hold' })
  })

  test('InfluxDB 1: its own troubles are tried again', () => {
    expect(read(500, { error: 'timeout' })).toMatchObject({ kind: 'retry' })
    expect(read(503, { error: 'engine: cache-max-memory-size exceeded' })).toMatchObject({
      kind: 'retry',
    })
  })

  test.each([
    [400, 'invalid', "unable to parse 'm f=': missing field value", 'refused'],
    [
      422,
      'unprocessable entity',
      'failure writing points to database: partial write: field type conflict: input field "f" on measurement "m" is type string, already exists as type float dropped=1',
      'refused',
    ],
    [404, 'not found', 'bucket "raw" not found', 'hold'],
    [401, 'unauthorized', 'unauthorized access', 'hold'],
    [400, 'invalid', 'invalid precision; valid precision units are ns, us, ms, and s', 'hold'],
    [429, 'too many requests', 'org has exceeded limited_write plan limit', 'retry'],
  ] as const)('InfluxDB 2: %i %s: %s', (status, code, message, kind) => {
    expect(read(status, { code, message })).toMatchObject({ kind })
  })

  const line = (line_number: unknown, error_message = 'No fields were provided') => ({
    original_line: 'cpu,host=a val= 123',
    line_number,
    error_message,
  })
  const PARTIAL = 'partial write of line protocol occurred'

  test('InfluxDB 3: the lines that it lists are refused, the others are there', () => {
    expect(read(400, { error: PARTIAL, data: [line(4), line(2), line(2)] })).toMatchObject({
      kind: 'verdicts',
      ackedThrough: null,
      listed: [
        refused(11, '400', 'No fields were provided'),
        refused(14, '400', 'No fields were provided'),
      ],
    })
  })

  test('InfluxDB 3: a list that cannot be relied on acks nothing', () => {
    const lists = [
      [],
      [line(0)],
      [line(11)],
      [line('2')],
      [line(2), null],
      Array.from({ length: 100 }, () => line(1)),
      line(2),
      null,
    ]
    for (const data of lists)
      expect(read(400, { error: PARTIAL, data })).toMatchObject({ kind: 'refused' })
    const said = { error: 'parsing failed for write_lp endpoint', data: [line(2)] }
    expect(read(400, said)).toMatchObject({ kind: 'refused' })
    expect(read(400, { error: PARTIAL, data: [line(2)] }, { earlyAt: 3 })).toMatchObject({
      kind: 'malformed',
    })
  })

  test('QuestDB: the line that it names is looked for', () => {
    const body =
      '{"code":"invalid","message":"failed to parse line protocol: errors encountered on line(s):\\nerror in line 2: table: t, column: b; cast error from protocol type: FLOAT to column type: SYMBOL","line":2,"errorId":"8f0c6e3b-1"}'
    expect(reader('questdb')(400, body)).toMatchObject({ kind: 'refused' })
    // Older ones do not escape their words.
    expect(reader('questdb')(400, body.replace('\\n', '\n'))).toMatchObject({ kind: 'refused' })
  })
})

describe('es-bulk', () => {
  const read = reader('es-bulk')
  const item = (status: number, type?: string, reason = 'why') => ({
    create: type === undefined ? { status } : { status, error: { type, reason } },
  })
  const items = (changes: Readonly<Record<number, unknown>> = {}) => ({
    errors: true,
    items: SEQS.map((seq) => changes[seq] ?? item(201)),
  })
  const CONFLICT = item(409, 'version_conflict_engine_exception')

  test('I4: each stored is acked, and so is one that was there already', () => {
    expect(read(200, items())).toMatchObject(ALL_ACKED)
    expect(read(200, items(Object.fromEntries(SEQS.map((seq) => [seq, CONFLICT]))))).toMatchObject(
      ALL_ACKED,
    )
  })

  test.each([
    'mapper_parsing_exception',
    'document_parsing_exception',
    'strict_dynamic_mapping_exception',
    'illegal_argument_exception',
  ])('a document that is refused by %s is that record', (type) => {
    expect(
      read(200, items({ 12: item(400, type, 'failed to parse'), 14: CONFLICT })),
    ).toMatchObject({
      kind: 'verdicts',
      listed: [refused(12, '400', `${type}: failed to parse`)],
    })
  })

  test.each([
    [429, 'es_rejected_execution_exception'],
    [503, 'unavailable_shards_exception'],
    [500, 'engine_exception'],
  ])('I2: from one that is to be sent again, %i %s, nothing is judged', (status, type) => {
    const answer = read(
      200,
      items({ 12: item(status, type), 15: item(400, 'mapper_parsing_exception') }),
    )
    expect(answer).toMatchObject({
      kind: 'verdicts',
      listed: [{ seq: 12, verdict: 'retry', code: String(status) }],
    })
  })

  test.each([
    [404, 'index_not_found_exception'],
    [403, 'cluster_block_exception'],
    [403, 'security_exception'],
    [400, 'invalid_index_name_exception'],
    [400, 'index_closed_exception'],
    [409, 'something_else'],
  ])(
    'I8: %i %s is no word on a record: what is before it is settled, then it holds',
    (status, type) => {
      expect(read(200, items({ 12: item(status, type) }))).toMatchObject({
        kind: 'verdicts',
        listed: [{ seq: 12, verdict: 'retry' }],
      })
      expect(read(200, items({ 10: item(status, type) }))).toMatchObject({
        kind: 'hold',
        detail: expect.stringContaining(type),
      })
    },
  )

  test('items that are not those of the request are malformed', () => {
    expect(read(200, { items: items().items.slice(1) })).toMatchObject({ kind: 'malformed' })
    expect(read(200, items({ 12: {} }))).toMatchObject({ kind: 'malformed' })
    expect(read(200, items({ 12: { create: { status: '201' } } }))).toMatchObject({
      kind: 'malformed',
    })
  })

  test('I8: a request that is refused as a whole says nothing of a record', () => {
    expect(read(400, { error: { type: 'illegal_argument_exception' } })).toMatchObject({
      kind: 'hold',
    })
    expect(read(200, { took: 1 })).toMatchObject({ kind: 'hold' })
  })
})

describe('clickhouse', () => {
  const read = reader('clickhouse')

  test('200 with nothing acks', () => {
    expect(read(200)).toMatchObject(ALL_ACKED)
  })

  test.each([
    [
      500,
      'Code: 27, e.displayText() = DB::Exception: Cannot parse input: expected " before: x"}: (while read the value of key temp): (at row 2)\n, e.what() = DB::Exception',
    ],
    [
      400,
      "Code: 27. DB::Exception: Cannot parse input: expected '\"' before: 'x\"}': (at row 2): While executing ParallelParsingBlockInputFormat. (CANNOT_PARSE_INPUT_ASSERTION_FAILED)",
    ],
  ])('%i: a row is refused: %s', (status, body) => {
    expect(read(status, body)).toMatchObject({
      kind: 'refused',
      detail: expect.stringMatching(/row/),
    })
  })

  test.each([
    [
      500,
      'Code: 117, e.displayText() = DB::Exception: Unknown field found while parsing JSONEachRow format: unknown: (at row 1)\n, e.what() = DB::Exception',
    ],
    [
      404,
      "Code: 60, e.displayText() = DB::Exception: Table default.nope doesn't exist., e.what() = DB::Exception",
    ],
    [
      404,
      'Code: 115, e.displayText() = DB::Exception: Unknown setting insert_deduplication_token, e.what() = DB::Exception',
    ],
    [
      401,
      'Code: 193, e.displayText() = DB::Exception: Wrong password for user writer, e.what() = DB::Exception',
    ],
    [400, 'Code: 16. DB::Exception: No such column extra in table. (NO_SUCH_COLUMN_IN_TABLE)'],
    [500, 'Code: 98765. DB::Exception: What no version says yet. (NEW)'],
  ])('I8: %i holds: %s', (status, body) => {
    expect(read(status, body)).toMatchObject({ kind: 'hold' })
  })

  test('a setting that the server does not know: what to do about it', () => {
    const body = 'Code: 115. DB::Exception: Unknown setting async_inserts. (UNKNOWN_SETTING)'
    expect(read(404, body)).toMatchObject({
      kind: 'hold',
      detail: expect.stringMatching(/async_inserts.*does not know a setting.*remove it/),
    })
  })

  test('busy, full and read-only ones are tried again', () => {
    for (const code of [202, 241, 242, 243, 252, 285, 319])
      expect(read(500, `Code: ${code}. DB::Exception: later. (X)`)).toMatchObject({ kind: 'retry' })
  })

  test('I8: an exception behind a 200 is no ack', () => {
    expect(
      read(200, 'Code: 241. DB::Exception: Memory limit. (MEMORY_LIMIT_EXCEEDED)'),
    ).toMatchObject({ kind: 'retry' })
    const headers = { 'x-clickhouse-exception-code': '27' }
    expect(read(200, '', { headers })).toMatchObject({ kind: 'refused' })
    expect(read(200, 'Ok.')).toMatchObject({ kind: 'hold' })
  })
})

describe('otlp', () => {
  const read = reader('otlp')
  const partial = (rejectedLogRecords: unknown, errorMessage = '') => ({
    partialSuccess: { rejectedLogRecords, errorMessage },
  })

  test('200 acks, with a warning too', () => {
    for (const body of ['', '{}', { partialSuccess: {} }, partial('0', 'use v2'), partial(0)])
      expect(read(200, body)).toMatchObject(ALL_ACKED)
  })

  test('I9: all rejected are all refused; some are looked for', () => {
    const all = SEQS.map((seq) => refused(seq, '200', /^10 of 10 records were rejected: bad$/))
    expect(read(200, partial('10', 'bad'))).toMatchObject({ kind: 'verdicts', listed: all })
    expect(read(200, partial(2, 'bad'))).toMatchObject({
      kind: 'refused',
      detail: expect.stringContaining('2 of 10 records were rejected: bad'),
    })
  })

  test('what makes no sense acks nothing', () => {
    for (const body of [partial('11'), partial(-1), partial('x'), { partialSuccess: 1 }])
      expect(read(200, body)).toMatchObject({ kind: 'malformed' })
    expect(read(200, { ok: true })).toMatchObject({ kind: 'hold' })
    expect(read(400, { code: 3, message: 'bad' })).toMatchObject({ kind: 'refused' })
  })
})
