import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseStoredLine } from '../../../device-sim/ledger/stored-line.ts'

const line = (payload: string, before = '', after = ''): Buffer =>
  Buffer.from(`{"id":"g:s:t:42","seq":42,${before}"device":"d","payload":${payload}${after}}`)

describe('stored line', () => {
  test('payload bytes come back digit by digit', () => {
    for (const payload of [
      '0.10',
      '12345678901234567890',
      '1e3',
      'null',
      '0',
      '""',
      '"a\\u00e9\\"}],\\\\"',
      '[1, 2 ,{"payload":3}]',
      '{"payload":"x","a":{"b":[]}}',
    ]) {
      expect(parseStoredLine(line(payload)).payload.toString()).toBe(payload)
    }
  })

  test('members before and behind the payload, known or not, do not matter', () => {
    const stored = parseStoredLine(
      line(
        '{"a":1}',
        '"topic":"x/\\"payload\\":1,","extra":{"payload":[9]},',
        ',"dup":true,"bootId":"p"',
      ),
    )
    expect(stored).toEqual({ device: 'd', seq: 42, payload: Buffer.from('{"a":1}') })
  })

  test('base64 payloads come back as bytes, an empty message too', () => {
    const of = (base64: string): Buffer =>
      parseStoredLine(Buffer.from(`{"seq":1,"device":"d","payloadBase64":"${base64}"}`)).payload
    expect(of('AP/+')).toEqual(Buffer.from([0, 255, 254]))
    expect(of('')).toEqual(Buffer.alloc(0))
  })

  test('a line that breaks the contract is refused', () => {
    for (const bad of [
      '[]',
      '{"seq":1,"payload":1}',
      '{"device":"d","payload":1}',
      '{"seq":0,"device":"d","payload":1}',
      '{"seq":1,"device":"d"}',
      '{"seq":1,"device":"d","payload":1,"payloadBase64":""}',
    ]) {
      expect(() => parseStoredLine(Buffer.from(bad)), bad).toThrow()
    }
  })

  test('any JSON comes back unchanged', () => {
    fc.assert(
      fc.property(fc.json(), (payload) => {
        expect(parseStoredLine(line(payload, '', ',"retain":true')).payload.toString()).toBe(
          payload,
        )
      }),
    )
  })
})
