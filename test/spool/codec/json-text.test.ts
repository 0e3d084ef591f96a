/**
 * Text as a JSON string is byte for byte what JSON.stringify makes of it, and what is no UTF-8 is
 * no text.
 */
import { isUtf8 } from 'node:buffer'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { putText, textBytes } from '../../../gateway/spool/codec/json-text.ts'
import { RecordBuffer } from '../../../gateway/spool/codec/record.ts'

/** Written between other bytes, so that a write beside its place shows. */
function escaped(bytes: Uint8Array): string | null {
  const framed = Buffer.concat([Buffer.from('<"'), bytes, Buffer.from('">')])
  const [start, end] = [2, 2 + bytes.length]
  const length = textBytes(framed, start, end)
  if (length < 0) return null
  const out = Buffer.alloc(length + 2, '|')
  expect(putText(out, 1, framed, start, end)).toBe(1 + length)
  expect(out[0]).toBe(0x7c)
  expect(out[length + 1]).toBe(0x7c)
  return out.toString('utf8', 1, 1 + length)
}

it('escapes as JSON.stringify does', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
      const bytes = Buffer.from(text)
      expect(escaped(bytes)).toBe(JSON.stringify(bytes.toString('utf8')).slice(1, -1))
    }),
    { numRuns: 2_000 },
  )
  const all = Array.from({ length: 0x80 }, (_, code) => String.fromCharCode(code)).join('')
  expect(escaped(Buffer.from(all))).toBe(JSON.stringify(all).slice(1, -1))
})

it('takes for UTF-8 what RFC 3629 does', () => {
  const lead = fc.constantFrom(
    0xc0,
    0xc1,
    0xc2,
    0xdf,
    0xe0,
    0xe1,
    0xed,
    0xef,
    0xf0,
    0xf3,
    0xf4,
    0xf5,
    0xff,
  )
  const rest = fc.constantFrom(0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0x41)
  const sequence = fc
    .tuple(lead, fc.array(rest, { maxLength: 3 }))
    .map(([first, more]) => [first, ...more])
  fc.assert(
    fc.property(fc.array(sequence, { maxLength: 4 }), (parts) => {
      const bytes = Buffer.from(parts.flat())
      expect(escaped(bytes) !== null).toBe(isUtf8(bytes))
    }),
    { numRuns: 5_000 },
  )
})

it('makes a line that says every payload as text, JSON too', () => {
  const text = (payload: string): unknown => {
    const bytes = Buffer.from(payload)
    const buffer = new RecordBuffer(1)
    buffer.append({
      idPrefix: Buffer.from('{"id":"g:s:t:'),
      seq: 1,
      envelope: Buffer.from('"device":"d","topic":"t"'),
      qos: 1,
      dup: false,
      retain: false,
      will: false,
      receivedAtMs: 0,
      payload: bytes,
      start: 0,
      end: bytes.length,
      json: true,
      textLength: textBytes(bytes, 0, bytes.length),
      requeuedFrom: null,
    })
    return (JSON.parse(buffer.bytes().toString()) as { payload: unknown }).payload
  }
  for (const payload of [
    'Online',
    '{"n":1.10}',
    '',
    '"quoted"',
    'zwei\nZeilen \u2028 ü €',
    '\u0000',
  ]) {
    expect(text(payload)).toBe(payload)
  }
})
