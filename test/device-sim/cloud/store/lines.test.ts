import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Judge,
  judgeLines,
  linePrefix,
  seqOfLine,
} from '../../../../device-sim/cloud/store/lines.ts'
import { line, QUEUE } from '../client.ts'

const bodyOf = (seqs: readonly number[]): Buffer =>
  Buffer.from(seqs.map((seq) => `${line(seq)}\n`).join(''))
const claim = (seqs: readonly number[]): Parameters<typeof judgeLines>[1] => ({
  ...QUEUE,
  firstSeq: seqs[0] ?? 0,
  lastSeq: seqs.at(-1) ?? 0,
  recordCount: seqs.length,
})

describe('the seq of a line', () => {
  const seq = (text: string): number =>
    seqOfLine(Buffer.from(text), 0, Buffer.byteLength(text), linePrefix(QUEUE))

  test('is read from its place, whatever its length', () => {
    for (const n of [1, 9, 10, 4242, Number.MAX_SAFE_INTEGER]) expect(seq(line(n))).toBe(n)
  })

  test('is found by JSON when the line has another shape', () => {
    expect(seq('{"seq":42,"id":"edge-01:k3f9x2m7q4w8z:telemetry:42","payload":1}')).toBe(42)
    expect(seq('{ "id" : "other:queue:s:7", "seq" : 7 }')).toBe(7)
    expect(seq('{"id":"edge-01:k3f9x2m7q4w8z:telemetry:42","future":{"seq":1},"seq":42}')).toBe(42)
  })

  test.each([
    '',
    '{}',
    'null',
    '[42]',
    '{"seq":"42"}',
    '{"seq":0}',
    '{"seq":-1}',
    '{"seq":1.5}',
    '{"seq":9007199254740993}',
    '{"id":"edge-01:k3f9x2m7q4w8z:telemetry:42","seq":42,"payload":{"a":1',
    'not JSON at all, not JSON at all, not JSON at all, not JSON at all',
  ])('there is none in %j', (text) => {
    expect(seq(text)).toBe(-1)
  })

  test('the fast way and JSON agree on any line that JSON can read', () => {
    fc.assert(
      fc.property(fc.nat(), fc.json(), fc.string(), (n, payload, device) => {
        const text = `{"id":"edge-01:k3f9x2m7q4w8z:telemetry:${n}","seq":${n},"device":${JSON.stringify(device)},"payload":${payload}}`
        expect(seq(text)).toBe(n === 0 ? -1 : n)
      }),
    )
  })
})

describe('the rule of the contract', () => {
  const judge = (
    seqs: readonly number[],
    highest: number,
    how: Judge | null = null,
  ): ReturnType<typeof judgeLines> => judgeLines(bodyOf(seqs), claim(seqs), highest, how)

  test('skips what is known and takes the rest as one run of bytes', () => {
    const seqs = [5, 6, 7, 8, 9]
    const judged = judge(seqs, 6)
    expect(judged).toMatchObject({
      repeats: 2,
      stored: 3,
      firstStored: 7,
      lastStored: 9,
      missing: [],
      stop: null,
    })
    if (typeof judged === 'string') throw new Error(judged)
    expect(bodyOf(seqs).subarray(judged.fromByte, judged.toByte)).toEqual(bodyOf([7, 8, 9]))
  })

  test('stops at the first line that is not stored; nothing behind it is taken', () => {
    const refuse8: Judge = (_, seq) => (seq === 8 ? 'refuse' : 'store')
    expect(judge([7, 8, 9], 6, refuse8)).toMatchObject({
      stored: 1,
      lastStored: 7,
      stop: { seq: 8, refused: true },
    })
    const postpone: Judge = (_, __, index) => (index < 2 ? 'store' : 'postpone')
    expect(judge([7, 8, 9], 6, postpone)).toMatchObject({
      stored: 2,
      lastStored: 8,
      stop: { seq: 9, refused: false },
    })
    expect(judge([7, 8, 9], 6, () => 'postpone')).toMatchObject({
      stored: 0,
      stop: { seq: 7, refused: false },
    })
  })

  test('a known line is never judged again', () => {
    const asked: number[] = []
    judge([5, 6, 7], 6, (_, seq) => {
      asked.push(seq)
      return 'store'
    })
    expect(asked).toEqual([7])
  })

  test('notes the holes in front of and between new records, not those below the highest', () => {
    expect(judge([3, 5, 9, 12, 13], 5)).toMatchObject({
      missing: [
        { first: 6, last: 8 },
        { first: 10, last: 11 },
      ],
    })
    expect(judge([4, 5], 0)).toMatchObject({ missing: [{ first: 1, last: 3 }] })
  })

  test.each([
    ['no LF at the end', Buffer.from(line(1)), claim([1]), /does not end with LF/],
    ['a line without seq', Buffer.from(`${line(1)}\n{}\n`), claim([1, 2]), /line 2 is no record/],
    ['an empty line', Buffer.from(`${line(1)}\n\n`), claim([1, 2]), /line 2 is no record/],
    ['seqs out of order', bodyOf([2, 1]), { ...claim([1, 2]) }, /seq 1 behind 2/],
    ['a seq twice', bodyOf([1, 1]), claim([1, 1]), /seq 1 behind 1/],
    ['another count', bodyOf([1, 2]), { ...claim([1, 2]), recordCount: 1 }, /2 lines, but/],
    ['another first seq', bodyOf([1, 2]), { ...claim([1, 2]), firstSeq: 2 }, /first seq 1, but/],
    ['another last seq', bodyOf([1, 2]), { ...claim([1, 2]), lastSeq: 3 }, /last seq 2, but/],
    ['nothing', Buffer.alloc(0), claim([1]), /0 lines, but/],
  ])('a body with %s is judged as a whole: nothing of it is stored', (_, body, said, why) => {
    expect(judgeLines(body, said, 0, null)).toMatch(why)
  })

  test('splits on LF only, as U+2028 and U+0085 may stand inside strings', () => {
    const text =
      '{"id":"edge-01:k3f9x2m7q4w8z:telemetry:1","seq":1,"payload":"a\u2028b\u0085c\\r"}\n'
    expect(judgeLines(Buffer.from(text), claim([1]), 0, null)).toMatchObject({ stored: 1 })
  })
})
