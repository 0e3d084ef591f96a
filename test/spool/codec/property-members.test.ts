/** Properties of MQTT 5 as members of a record: which, in which order, of what a device sends. */
import { expect, it } from 'vitest'
import type { MessageProperties } from '../../../gateway/ports/appender.ts'
import { isJson } from '../../../gateway/spool/codec/json-scan.ts'
import {
  propertyMembers,
  RECORD_PROPERTIES,
} from '../../../gateway/spool/codec/property-members.ts'
import {
  envelopeBytes,
  idPrefix,
  lineAt,
  RecordBuffer,
  recordOfLine,
  requeueLine,
} from '../../../gateway/spool/codec/record.ts'

const NONE: MessageProperties = {
  expirySeconds: null,
  payloadFormat: null,
  contentType: null,
  responseTopic: null,
  correlationData: null,
  userProperties: [],
}

const ALL: MessageProperties = {
  expirySeconds: 60,
  payloadFormat: 1,
  contentType: 'application/json',
  responseTopic: 'replies/7',
  correlationData: Buffer.of(0, 255, 7),
  userProperties: [
    ['unit', '°C'],
    ['site', 'hall "2"'],
    ['unit', 'K'],
  ],
}

/** As JSON wants it, in the record's own bytes. */
function membersOf(
  names: readonly (typeof RECORD_PROPERTIES)[number][],
  properties: MessageProperties,
): string | null {
  const bytes = propertyMembers(names, false, properties)
  return bytes === null ? null : Buffer.from(bytes).toString()
}

it('writes the named properties in one order, user properties with order and repeats', () => {
  const expected =
    '"payloadFormat":1,"contentType":"application/json","responseTopic":"replies/7",' +
    '"correlationData":"AP8H","userProperties":[["unit","°C"],["site","hall \\"2\\""],["unit","K"]]'
  expect(membersOf(RECORD_PROPERTIES, ALL)).toBe(expected)
  expect(membersOf([...RECORD_PROPERTIES].reverse(), ALL)).toBe(expected)
})

it('leaves out what is not named, and what the message does not have', () => {
  expect(membersOf(['contentType'], ALL)).toBe('"contentType":"application/json"')
  expect(membersOf(RECORD_PROPERTIES, { ...NONE, contentType: 'x' })).toBe('"contentType":"x"')
  expect(membersOf(RECORD_PROPERTIES, NONE)).toBeNull()
  expect(membersOf(['userProperties'], { ...ALL, userProperties: [] })).toBeNull()
})

it('keeps a property that is there and empty, or 0', () => {
  const properties = {
    ...NONE,
    contentType: '',
    correlationData: Buffer.alloc(0),
    payloadFormat: 0,
  }
  expect(membersOf(RECORD_PROPERTIES, properties)).toBe(
    '"payloadFormat":0,"contentType":"","correlationData":""',
  )
})

it('does not let a user property pass for a member of the record, also when it is requeued', () => {
  const hostile: MessageProperties = {
    ...NONE,
    contentType: ',"payload":1,"receivedAt":"1999-01-01T00:00:00.000Z"',
    userProperties: [
      ['payload', ',"payload":{"celsius":99}'],
      ['requeuedFrom', '","payloadBase64":"AAAA'],
      ['\n', '\u0001'],
    ],
  }
  const buffer = new RecordBuffer(16)
  const payload = Buffer.from('{"celsius":21.4}')
  const prefix = idPrefix('edge-01', 'k3f9x2m7q4w8z', 'telemetry')
  buffer.append({
    idPrefix: prefix,
    seq: 42,
    envelope: envelopeBytes('press-7', 'plant/press-7/temp'),
    qos: 1,
    dup: false,
    retain: false,
    will: true,
    receivedAtMs: Date.parse('2026-11-23T03:05:00.123Z'),
    payload,
    start: 0,
    end: payload.length,
    json: isJson(payload, 0, payload.length),
    requeuedFrom: null,
    properties: propertyMembers(RECORD_PROPERTIES, false, hostile),
  })
  const line = lineAt(buffer.bytes(), 0)
  const requeued = requeueLine(line, prefix, 43)
  for (const [bytes, seq] of [
    [line, 42],
    [requeued, 43],
  ] as const) {
    const record = recordOfLine(bytes)
    expect(record).toMatchObject({ seq, device: 'press-7', topic: 'plant/press-7/temp' })
    expect(Buffer.from(record.payload)).toEqual(payload)
    expect(new Date(record.receivedAtMs).toISOString()).toBe('2026-11-23T03:05:00.123Z')
    expect(JSON.parse(bytes.toString())).toMatchObject({
      will: true,
      contentType: hostile.contentType,
      userProperties: hostile.userProperties,
      payload: { celsius: 21.4 },
    })
  }
})
