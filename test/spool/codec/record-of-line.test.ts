import fc from 'fast-check'
import { expect, test } from 'vitest'
import { recordOfLine } from '../../../gateway/spool/codec/record.ts'

test('a line taken apart has the members that JSON.parse finds, whatever names there are', () => {
  const odd = fc.constantFrom('","topic":"x', '\\', '"', '\u2028', '","seq":9,"device":"', '}', '')
  const name = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), odd)
  const clock = fc.constantFrom({}, { clock: 'unset', uptimeMs: 5 }, { requeuedFrom: 'a:b:c:1' })
  fc.assert(
    fc.property(name, name, fc.nat(), clock, fc.jsonValue(), (device, topic, n, more, payload) => {
      const receivedAt = '2026-11-23T03:05:00.123Z'
      const head = { id: `a:b:c:${n + 1}`, seq: n + 1, device, topic, qos: n % 3, receivedAt }
      const line = Buffer.from(`${JSON.stringify({ ...head, ...more, payload })}\n`)
      const parsed = JSON.parse(line.toString()) as typeof head
      const record = recordOfLine(line)
      const { id, seq, qos } = parsed
      expect(record).toMatchObject({ id, seq, qos, device: parsed.device, topic: parsed.topic })
      expect(record.receivedAtMs).toBe(Date.parse(receivedAt))
      expect(JSON.parse(Buffer.from(record.payload).toString())).toEqual(
        JSON.parse(JSON.stringify(payload)),
      )
    }),
    { numRuns: 1000 },
  )
})
