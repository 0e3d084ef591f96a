/** Answers of JetStream, as nats-server writes them, and what each means. */
import { describe, expect, test } from 'vitest'
import { readReply } from '../../../gateway/sink/nats/jetstream/reply.ts'

function read(text: string) {
  return readReply(Buffer.from(text), 'SLUICE')
}
function error(code: number, number: number, description: string): string {
  const said = { error: { code, err_code: number, description }, stream: 'SLUICE', seq: 0 }
  return JSON.stringify(said)
}

test('an ack, and one of a repeat', () => {
  expect(read('{"stream":"SLUICE", "seq":6}')).toEqual({ kind: 'stored', seq: 6, isRepeat: false })
  expect(read('{"stream":"SLUICE","seq":6,"duplicate":true,"domain":"hub"}')).toEqual({
    kind: 'stored',
    seq: 6,
    isRepeat: true,
  })
})

describe('no ack, whatever it looks like', () => {
  test.each([
    '',
    '+OK',
    'null',
    '[]',
    '"SLUICE"',
    '{}',
    '{"stream":"SLUICE"}',
    '{"stream":"SLUICE","seq":0}',
    '{"stream":"SLUICE","seq":"6"}',
    '{"stream":"SLUICE","seq":1.5}',
    '{"stream":"OTHER","seq":6}',
    '{"seq":6}',
    '{"error":{}}',
    '{"error":null,"stream":"SLUICE","seq":6}',
    '{"error":{"code":400,"description":"x"}}',
  ])('%s', (text) => {
    expect(read(text)).toMatchObject({ kind: 'malformed' })
  })
})

test.each([
  [400, 10071, 'wrong last sequence: 7', 7],
  [400, 10071, 'wrong last sequence: 0', 0],
  [400, 10164, 'wrong last sequence', null],
])('%i %i %s: another message is the last one', (code, number, words, found) => {
  expect(read(error(code, number, words))).toMatchObject({ kind: 'not-last', found })
})

test.each([
  [503, 10077, 'maximum messages exceeded', 'retry'],
  [503, 10008, 'JetStream system temporarily unavailable', 'retry'],
  [503, 10163, 'expected last sequence per subject temporarily unavailable', 'retry'],
  [500, 10118, 'stream is offline', 'retry'],
  [409, 10158, 'duplicate message id is in process', 'retry'],
  [429, 10167, 'too many requests', 'retry'],
  [503, 10039, 'JetStream not enabled for account', 'hold'],
  [404, 10059, 'stream not found', 'hold'],
  [400, 10060, 'expected stream does not match', 'hold'],
  [400, 10109, 'invalid operation on sealed stream', 'hold'],
  [400, 10002, 'resource limits exceeded for account', 'hold'],
  [500, 10047, 'insufficient storage resources available', 'hold'],
  [400, 10054, 'message size exceeds maximum allowed', 'too-large'],
  [400, 10097, 'header size exceeds maximum allowed of 64k', 'too-large'],
  [400, 19_999, 'something of a later version', 'hold'],
  [599, 19_999, 'something of a later version', 'retry'],
])('%i %i %s: %s', (code, number, words, kind) => {
  const reply = read(error(code, number, words))
  expect(reply).toMatchObject({ kind, code: String(number) })
  expect((reply as { detail: string }).detail).toContain(words)
})

test('who asks for less is heard', () => {
  expect(read(error(429, 10167, 'too many requests'))).toMatchObject({ throttled: true })
})
