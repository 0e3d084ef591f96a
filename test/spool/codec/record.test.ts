import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isJson } from '../../../gateway/spool/codec/json-scan.ts'
import {
  envelopeBytes,
  idOfLine,
  idPrefix,
  lineAt,
  lineOffsets,
  RecordBuffer,
  type RecordFields,
  renumber,
  requeueLine,
  seqOfLine,
  unsetClockBytes,
} from '../../../gateway/spool/codec/record.ts'

const PREFIX = idPrefix('edge-01', 'k3f9x2m7q4w8z', 'telemetry')
const RECEIVED_AT_MS = Date.parse('2026-11-23T03:05:00.123Z')

function fields(payload: Uint8Array | string, overrides: Partial<RecordFields> = {}): RecordFields {
  const bytes = Buffer.from(payload)
  return {
    idPrefix: PREFIX,
    seq: 42,
    envelope: envelopeBytes('press-7', 'plant/press-7/temp'),
    qos: 1,
    dup: false,
    retain: false,
    will: false,
    receivedAtMs: RECEIVED_AT_MS,
    payload: bytes,
    start: 0,
    end: bytes.length,
    json: isJson(bytes, 0, bytes.length),
    requeuedFrom: null,
    ...overrides,
  }
}

function lineOf(payload: Uint8Array | string, overrides: Partial<RecordFields> = {}): string {
  const buffer = new RecordBuffer(16)
  buffer.append(fields(payload, overrides))
  return buffer.bytes().toString()
}

describe('RecordBuffer', () => {
  it('writes the line of the ingest contract, byte for byte', () => {
    expect(lineOf('{"celsius":21.4}')).toBe(
      '{"id":"edge-01:k3f9x2m7q4w8z:telemetry:42","seq":42,"device":"press-7","topic":"plant/press-7/temp",' +
        '"qos":1,"receivedAt":"2026-11-23T03:05:00.123Z","payload":{"celsius":21.4}}\n',
    )
  })

  it('keeps the bytes of a JSON payload: digits, spaces, order, escapes', () => {
    const payload = ' {"b":1.10e+02,"a":12345678901234567890, "a":"\\u00e9é\\/"} '
    expect(lineOf(payload)).toContain(`"payload":${payload}}\n`)
  })

  it.each(['null', '0', '""', 'false'])('carries the payload %s as JSON', (payload) => {
    expect(lineOf(payload)).toContain(`,"payload":${payload}}\n`)
  })

  it('turns line breaks between tokens into spaces, whether the payload is short or long', () => {
    const text = `{\r\n  "a": "x\\ny",\n\r"b": [${'1,\n'.repeat(2000)}2]}\n`
    for (const payload of ['[1,\r\n2]\n', text]) {
      const line = lineOf(payload)
      expect(line).toContain(`"payload":${payload.replaceAll(/[\r\n]/g, ' ')}}\n`)
      expect(line.indexOf('\n')).toBe(line.length - 1)
      expect(JSON.parse(line).payload).toEqual(JSON.parse(payload))
    }
  })

  it('does not change the payload that it was given', () => {
    const payload = Buffer.from('[1,\n2]')
    new RecordBuffer(16).append({ ...fields(payload), payload })
    expect(payload.toString()).toBe('[1,\n2]')
  })

  it('carries bytes that are not JSON as base64, as node encodes them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const line = JSON.parse(lineOf(bytes, { json: false }))
        expect(line.payloadBase64).toBe(Buffer.from(bytes).toString('base64'))
        expect('payload' in line).toBe(false)
      }),
    )
  })

  it('carries an empty message as an empty payloadBase64', () => {
    expect(lineOf('')).toContain(',"payloadBase64":""}\n')
  })

  it('takes only the part of the read buffer that is the payload', () => {
    const around = fields('xx[7]yy', { start: 2, end: 5, json: true })
    const buffer = new RecordBuffer(16)
    buffer.append(around)
    buffer.append({ ...around, json: false })
    const [first, second] = buffer.bytes().toString().split('\n')
    expect(JSON.parse(first ?? '').payload).toEqual([7])
    expect(JSON.parse(second ?? '').payloadBase64).toBe(Buffer.from('[7]').toString('base64'))
  })

  it('adds the optional members only where they are true', () => {
    const line = JSON.parse(
      lineOf('1', {
        qos: 2,
        dup: true,
        retain: true,
        will: true,
        requeuedFrom: 'edge-01:old:telemetry:7',
        clock: unsetClockBytes('b00t', 1234.9),
      }),
    )
    expect(line).toMatchObject({ qos: 2, dup: true, retain: true, will: true })
    expect(line).toMatchObject({ requeuedFrom: 'edge-01:old:telemetry:7' })
    expect(line).toMatchObject({ clock: 'unset', bootId: 'b00t', uptimeMs: 1234 })
    const plain = JSON.parse(lineOf('1', { qos: 0 }))
    expect(Object.keys(plain)).toEqual([
      'id',
      'seq',
      'device',
      'topic',
      'qos',
      'receivedAt',
      'payload',
    ])
  })

  it.each([
    1,
    9,
    10,
    99,
    999_999_999,
    1_000_000_000,
    1_000_000_007,
    2 ** 31,
    2 ** 32,
    10 ** 15,
    2 ** 53 - 1,
  ])('writes the seq %d', (seq) => {
    const line = lineOf('1', { seq })
    expect(line.startsWith(`{"id":"edge-01:k3f9x2m7q4w8z:telemetry:${seq}","seq":${seq},`)).toBe(
      true,
    )
    expect(seqOfLine(Buffer.from(line))).toBe(seq)
  })

  it('writes receivedAt as Date.toISOString does, whatever the clock did between records', () => {
    const buffer = new RecordBuffer(16)
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.integer({ min: 0, max: 253_402_300_799_999 }),
            fc.integer({ min: RECEIVED_AT_MS, max: RECEIVED_AT_MS + 3000 }),
          ),
          { maxLength: 8 },
        ),
        (times) => {
          buffer.clear()
          for (const receivedAtMs of times) buffer.append(fields('1', { receivedAtMs }))
          const written = [
            ...buffer
              .bytes()
              .toString()
              .matchAll(/"receivedAt":"([^"]*)"/g),
          ].map((m) => m[1])
          expect(written).toEqual(times.map((ms) => new Date(ms).toISOString()))
        },
      ),
    )
  })

  it('cuts a clock that is far off to the years that RFC 3339 has', () => {
    expect(lineOf('1', { receivedAtMs: -5 })).toContain('"1970-01-01T00:00:00.000Z"')
    expect(lineOf('1', { receivedAtMs: 1e15 })).toContain('"9999-12-31T23:59:59.999Z"')
  })

  it('escapes any device and topic so that the line stays one JSON line', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (device, topic) => {
        const line = lineOf('1', { envelope: envelopeBytes(device, topic) })
        expect(line.indexOf('\n')).toBe(line.length - 1)
        expect(JSON.parse(line)).toMatchObject({ device, topic })
      }),
    )
  })

  it('grows to what it is given, and forgets it when cleared', () => {
    const buffer = new RecordBuffer(1)
    const payload = JSON.stringify('x'.repeat(100_000))
    for (let seq = 1; seq <= 20; seq += 1) buffer.append(fields(payload, { seq }))
    expect(buffer.recordCount).toBe(20)
    const lines = buffer.bytes().toString().trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line).seq)).toEqual(
      Array.from({ length: 20 }, (_, n) => n + 1),
    )
    expect(buffer.byteLength).toBe(buffer.bytes().length)
    buffer.clear()
    expect([buffer.byteLength, buffer.recordCount, buffer.bytes().length]).toEqual([0, 0, 0])
  })
})

function someLines(count: number, firstSeq = 41): Buffer {
  const buffer = new RecordBuffer(16)
  for (let n = 0; n < count; n += 1) {
    // A payload and a device that try to look like the members that are searched for.
    const payload =
      n % 2 === 0 ? `{"seq":9,"receivedAt":"x","requeuedFrom":"y","n":${n}}` : 'not json'
    const envelope = envelopeBytes('","seq":7,"receivedAt":"', ',"requeuedFrom":"z"')
    buffer.append(fields(payload, { seq: firstSeq + n, envelope }))
  }
  return Buffer.from(buffer.bytes())
}

describe('lines', () => {
  it('are found by their line feeds', () => {
    const raw = someLines(300)
    const offsets = lineOffsets(raw)
    expect(offsets).toHaveLength(301)
    expect(offsets[300]).toBe(raw.length)
    for (const n of [0, 1, 150, 299]) {
      const line = lineAt(raw, n)
      expect(line.equals(raw.subarray(offsets[n], offsets[n + 1]))).toBe(true)
      expect(seqOfLine(line)).toBe(41 + n)
      expect(idOfLine(line)).toBe(`edge-01:k3f9x2m7q4w8z:telemetry:${41 + n}`)
    }
    expect(() => lineAt(raw, 300)).toThrow(RangeError)
    expect(lineOffsets(Buffer.from('\n\n\n'))).toEqual(new Uint32Array([0, 1, 2, 3]))
    expect(lineOffsets(Buffer.alloc(0))).toEqual(new Uint32Array([0]))
  })

  it('are no records without id and seq', () => {
    expect(() => seqOfLine(Buffer.from('{"a":1}\n'))).toThrow('not a record')
    expect(() => idOfLine(Buffer.from('\n'))).toThrow('not a record')
  })
})

describe('renumber', () => {
  it.each([1, 999_998, 10 ** 12])(
    'gives new ids and seqs from %d on and keeps every other byte',
    (newFirstSeq) => {
      const raw = someLines(5, 8)
      const prefix = idPrefix('edge-01', 'fresh', 'telemetry')
      const lines = renumber(raw, prefix, newFirstSeq).toString().trimEnd().split('\n')
      const before = raw.toString().trimEnd().split('\n')
      for (const [n, line] of lines.entries()) {
        const seq = newFirstSeq + n
        expect(
          line.startsWith(`{"id":"edge-01:fresh:telemetry:${seq}","seq":${seq},"device":`),
        ).toBe(true)
        expect(line.slice(line.indexOf('"device"'))).toBe(
          before[n]?.slice(before[n]?.indexOf('"device"')),
        )
      }
      expect(lines).toHaveLength(5)
    },
  )
})

describe('requeueLine', () => {
  it('gives a new id and seq, names the old one, and keeps every other byte', () => {
    for (const line of [lineAt(someLines(2), 0), lineAt(someLines(2), 1)]) {
      const old = line.toString()
      const requeued = requeueLine(line, PREFIX, 1000).toString()
      expect(requeued).toBe(
        old
          .replace(
            /^\{"id":"([^"]*)","seq":\d+/,
            '{"id":"edge-01:k3f9x2m7q4w8z:telemetry:1000","seq":1000',
          )
          .replace(
            '"2026-11-23T03:05:00.123Z"',
            (time) => `${time},"requeuedFrom":"${idOfLine(line)}"`,
          ),
      )
      expect(JSON.parse(requeued)).toMatchObject({ requeuedFrom: idOfLine(line), seq: 1000 })
    }
  })

  it('replaces an older requeuedFrom, and gives what append would have written', () => {
    const raw = lineOf('[1]', { seq: 5, dup: true, requeuedFrom: 'edge-01:old:telemetry:1' })
    const requeued = requeueLine(Buffer.from(raw), PREFIX, 77)
    const requeuedFrom = 'edge-01:k3f9x2m7q4w8z:telemetry:5'
    expect(requeued.toString()).toBe(lineOf('[1]', { seq: 77, dup: true, requeuedFrom }))
  })
})
