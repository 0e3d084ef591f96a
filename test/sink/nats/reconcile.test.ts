/** What the last message of a subject tells of a batch, case by case. */
import { describe, expect, test } from 'vitest'
import {
  type LastMessage,
  type MessageOwner,
  type NextStep,
  nextStep,
  type StreamHistory,
} from '../../../gateway/sink/nats/jetstream/reconcile.ts'

const WHOLE: StreamHistory = { firstSeq: 1, lastSeq: 40, deleted: 0 }
const SHORTENED: StreamHistory = { firstSeq: 21, lastSeq: 40, deleted: 0 }

function queue(firstSeq: number, lastSeq: number, changes: Partial<MessageOwner> = {}) {
  return { gateway: 'edge-01', spoolId: 'a', stream: 'telemetry', firstSeq, lastSeq, ...changes }
}

interface Given {
  readonly last: LastMessage | null
  readonly note?: string
  readonly isNew?: boolean
  readonly history?: StreamHistory
  readonly whenGone?: 'send' | 'hold'
}

/** Of records 11 to 20. */
function step({ last, note, isNew = false, history = WHOLE, whenGone = 'hold' }: Given): NextStep {
  const batch = queue(11, 20)
  const end = last?.seq ?? 0
  return nextStep({ batch, note: note ?? null, isNew, last, end, history, whenGone })
}

describe('a last message of the same queue', () => {
  test('before the batch: it goes behind that one', () => {
    expect(step({ last: { seq: 7, owner: queue(1, 10) } })).toEqual({
      kind: 'send',
      after: 7,
      note: null,
      doubt: null,
    })
  })
  test.each([
    [11, 20, 20],
    [1, 20, 20],
    [11, 15, 15],
    [1, 30, 20],
    [15, 17, 17],
  ])('with records %i to %i of it: they are compared', (first, last, through) => {
    expect(step({ last: { seq: 7, owner: queue(first, last) } })).toEqual({
      kind: 'compare',
      through,
    })
  })
  test('that is further: the spool was rolled back', () => {
    expect(step({ last: { seq: 7, owner: queue(21, 30) } })).toMatchObject({
      kind: 'hold',
      cloned: true,
    })
  })
})

describe('a last message of another', () => {
  test.each([
    ['program', null],
    ['gateway', queue(1, 10, { gateway: 'edge-02' })],
    ['stream', queue(1, 10, { stream: 'events' })],
  ])('%s: the stream is held', (_, owner) => {
    const found = step({ last: { seq: 7, owner } })
    expect(found).toMatchObject({ kind: 'hold', cloned: false })
    expect((found as { detail: string }).detail).toMatch(/subject of their own/)
  })

  const former = { seq: 7, owner: queue(1, 90, { spoolId: 'z' }) }
  test('spool id: the first batch of a fresh one goes behind it, and that is noted', () => {
    expect(step({ last: former })).toEqual({
      kind: 'send',
      after: 7,
      note: 'after 7',
      doubt: null,
    })
    expect(step({ last: former, note: 'after 7' })).toMatchObject({ after: 7, note: null })
  })
  test('spool id that came behind a try, or behind a batch of this process: a clone', () => {
    for (const given of [{ note: 'after 6' }, { note: 'alone 40 0' }, { isNew: true }])
      expect(step({ last: former, ...given })).toMatchObject({ kind: 'hold', cloned: true })
  })
})

describe('no last message', () => {
  test('a batch that is new in this process is the first of its subject', () => {
    expect(step({ last: null, isNew: true, history: SHORTENED })).toEqual({
      kind: 'send',
      after: 0,
      note: null,
      doubt: null,
    })
  })
  test('in a stream that lost nothing: it is not there, and that is noted before it is sent', () => {
    for (const history of [WHOLE, { firstSeq: 0, lastSeq: 0, deleted: 0 }])
      expect(step({ last: null, history })).toEqual({
        kind: 'send',
        after: 0,
        note: `alone ${history.lastSeq} 0`,
        doubt: null,
      })
  })
  test.each([
    ['nothing was removed since', { firstSeq: 41, lastSeq: 60, deleted: 3 }, null],
    ['the head is still the same', { firstSeq: 2, lastSeq: 40, deleted: 3 }, null],
    ['its place was removed', { firstSeq: 42, lastSeq: 60, deleted: 3 }, 'stream has lost'],
    ['a message was deleted', { firstSeq: 2, lastSeq: 60, deleted: 4 }, 'stream has lost'],
  ])('after a try that was noted, and %s', (_, history, doubt) => {
    const note = 'alone 40 3'
    const found = step({ last: null, note, history, whenGone: 'send' })
    expect(found).toMatchObject({ kind: 'send', after: 0, note: null })
    const { doubt: said } = found as { doubt: string | null }
    if (doubt === null) expect(said).toBeNull()
    else expect(said).toContain(doubt)
    if (doubt !== null)
      expect(step({ last: null, note, history, whenGone: 'hold' })).toMatchObject({ kind: 'hold' })
  })
  test('without a note in a stream that lost messages: never taken for new without a word', () => {
    expect(step({ last: null, history: SHORTENED })).toMatchObject({ kind: 'hold', cloned: false })
    const found = step({ last: null, history: SHORTENED, whenGone: 'send' })
    expect(found).toMatchObject({ kind: 'send', note: 'alone 40 0' })
    expect((found as { doubt: string }).doubt).toMatch(/no message of its subject is left/)
  })
})
