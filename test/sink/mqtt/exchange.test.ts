/**
 * QoS 2 over kills, by a model broker: an exchange is cut after each packet that reaches the broker,
 * after each answer, and around each note, and goes on as after a restart. Exactly once means that
 * the broker delivered each message once. Defects are planted that must be seen.
 */
import { generate } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import { Random } from '../../../device-sim/random.ts'
import {
  Exchange,
  type ExchangeProgress,
  type Outgoing,
  type ReleasePhase,
} from '../../../gateway/sink/mqtt/client/exchange.ts'
import { noteText, type ReleaseNote, readNote } from '../../../gateway/sink/mqtt/client/note.ts'
import { SEED } from '../../support/seed.ts'
import { ModelBroker, type ModelLink } from './model-broker.ts'

const COUNT = 7
const WINDOW = 3
const EVER = Number.POSITIVE_INFINITY
const START: ReleaseNote = { done: 0, arrived: 0, refused: new Map() }

type Planted = 'note after PUBREL' | 'note forgotten' | 'published again behind a note'

/** A pinned batch, as the spool has it: its note outlives a process. */
class PinnedBatch {
  note: string | null = null
  /** The process dies at this note, before or behind it; null: at none. */
  dies: { at: number; when: 'before' | 'after' } | null = null
  #notes = 0
  /** Too large for what is taken in this life. */
  overLimit: readonly number[] = []
  readonly #count: number
  readonly #refusals: ReadonlySet<number>

  constructor(count = COUNT, refusals: readonly number[] = []) {
    this.#count = count
    this.#refusals = new Set(refusals)
  }

  async *messages(qos: 1 | 2): AsyncGenerator<Outgoing> {
    for (let seq = 1; seq <= this.#count; seq++) {
      const isOverLimit = this.overLimit.includes(seq)
      yield {
        seq,
        refusal: isOverLimit || this.#refusals.has(seq) ? 'unmappable' : null,
        isOverLimit,
        encode: (messageId, dup) => {
          const packet = { cmd: 'publish', topic: 't', payload: String(seq), qos } as const
          return generate({ ...packet, messageId, dup, retain: false }, { protocolVersion: 5 })
        },
      }
    }
  }

  release(link: ModelLink, planted: Planted | null): ReleasePhase {
    const noted = this.note === null ? START : readNote(this.note)
    const from =
      planted === 'published again behind a note' ? { ...noted, arrived: noted.done } : noted
    return { from, isKept: true, keep: async (note) => await this.#keep(note, link, planted) }
  }

  async #keep(note: ReleaseNote, link: ModelLink, planted: Planted | null): Promise<boolean> {
    const number = this.#notes++
    const text = noteText(note)
    if (text === null) return false
    if (this.dies?.at === number && this.dies.when === 'before') return this.#die(link)
    const store = (): void => {
      this.note = text
    }
    // The disk takes its time.
    if (planted === 'note after PUBREL') setTimeout(() => link.ended === null && store(), 5)
    else if (planted === null || planted === 'published again behind a note') {
      await new Promise(setImmediate)
      if (link.ended === null) store()
    }
    if (this.dies?.at === number) return this.#die(link)
    return true
  }

  async #die(link: ModelLink): Promise<boolean> {
    link.destroy({ kind: 'given-up' })
    return await Promise.reject(new Error('killed'))
  }
}

interface Cut {
  readonly in: number
  readonly out: number
  readonly dies: PinnedBatch['dies']
}

/** One process: until the batch is done, or it dies. */
async function live(
  broker: ModelBroker,
  batch: PinnedBatch,
  cut: Cut,
  { planted = null, qos = 2 }: { planted?: Planted | null; qos?: 1 | 2 } = {},
): Promise<ExchangeProgress> {
  const link = broker.connect(cut)
  batch.dies = cut.dies
  return await new Exchange({
    messages: batch.messages(qos),
    connection: link,
    version: '5',
    window: WINDOW,
    noSubscribers: 'accept',
    dupBefore: 0,
    release: qos === 1 ? null : batch.release(link, planted),
    timeoutMs: 1000,
  }).run()
}

const WHOLE: Cut = { in: EVER, out: EVER, dies: null }
/** PUBLISH and PUBREL for each message, and no more. */
const PACKETS = 2 * COUNT
const CUTS: readonly Cut[] = [
  ...Array.from({ length: PACKETS + 1 }, (_, n) => ({ ...WHOLE, in: n })),
  ...Array.from({ length: PACKETS + 1 }, (_, n) => ({ ...WHOLE, out: n })),
  ...Array.from({ length: COUNT }, (_, at) => at).flatMap((at) => [
    { ...WHOLE, dies: { at, when: 'before' } as const },
    { ...WHOLE, dies: { at, when: 'after' } as const },
  ]),
]

const PAYLOADS = Array.from({ length: COUNT }, (_, i) => String(i + 1))

/** Through all cuts of a list, one process after the other, then to the end. Wrong deliveries. */
async function wrongAfter(
  cuts: readonly Cut[],
  delivers: 'on release' | 'at once',
  planted: Planted | null = null,
): Promise<string[]> {
  const broker = new ModelBroker(delivers)
  const batch = new PinnedBatch()
  for (const cut of cuts) await live(broker, batch, cut, { planted })
  const last = await live(broker, batch, WHOLE, { planted })
  const wrong: string[] = []
  if (!last.isComplete) wrong.push('not complete')
  if (!broker.isClean) wrong.push('not released')
  if (broker.mostOpen > WINDOW) wrong.push(`${broker.mostOpen} open`)
  if (broker.delivered.join() !== PAYLOADS.join()) wrong.push(broker.delivered.join())
  return wrong
}

describe.each(['on release', 'at once'] as const)('a broker that delivers %s', (delivers) => {
  test('takes a whole batch once, in order, within the window', async () => {
    expect(await wrongAfter([], delivers)).toEqual([])
  })

  test(`takes it once over each of ${CUTS.length} cuts`, async () => {
    for (const cut of CUTS)
      expect(await wrongAfter([cut], delivers), JSON.stringify(cut)).toEqual([])
  })

  test(`takes it once over cuts of cuts, by chance (SLUICE_SEED=${SEED})`, async () => {
    const random = new Random(SEED, `cuts ${delivers}`)
    for (let run = 0; run < 150; run++) {
      const pick = (): Cut => CUTS[random.below(CUTS.length)] ?? WHOLE
      const cuts = Array.from({ length: 1 + random.below(4) }, pick)
      expect(await wrongAfter(cuts, delivers), JSON.stringify(cuts)).toEqual([])
    }
  })
})

test.each<Planted>(['note after PUBREL', 'note forgotten', 'published again behind a note'])(
  'a defect is seen: %s',
  async (planted) => {
    const wrong: string[] = []
    for (const cut of CUTS) wrong.push(...(await wrongAfter([cut], 'on release', planted)))
    expect(wrong).not.toEqual([])
  },
)

describe('records that are refused', () => {
  test('by the broker are said, also by a process that did not see the answer', async () => {
    for (const cut of CUTS) {
      const broker = new ModelBroker('on release')
      broker.codes.set('2', 0x99)
      const batch = new PinnedBatch()
      await live(broker, batch, cut)
      const last = await live(broker, batch, WHOLE)
      expect(last.isComplete).toBe(true)
      expect(last.refused, JSON.stringify(cut)).toMatchObject([{ seq: 2, code: '0x99' }])
      expect(broker.delivered).toEqual(PAYLOADS.filter((one) => one !== '2'))
    }
  })

  test('here are said as well, and take no place in the window', async () => {
    for (const cut of CUTS) {
      const broker = new ModelBroker('on release')
      const batch = new PinnedBatch(COUNT, [1, 4, 7])
      await live(broker, batch, cut)
      const last = await live(broker, batch, WHOLE)
      expect(
        last.refused.map(({ seq }) => seq),
        JSON.stringify(cut),
      ).toEqual([1, 4, 7])
      expect(broker.delivered).toEqual(['2', '3', '5', '6'])
    }
  })

  test.each([
    { what: 'more', before: [2, 5], after: [] },
    { what: 'less', before: [], after: [2, 5] },
  ])('for their size, as $what is taken after a cut: delivered or said', async (limits) => {
    for (const cut of CUTS) {
      const broker = new ModelBroker('on release')
      const batch = new PinnedBatch()
      batch.overLimit = limits.before
      await live(broker, batch, cut)
      batch.overLimit = limits.after
      const last = await live(broker, batch, WHOLE)
      const judged = [...broker.delivered, ...last.refused.map(({ seq }) => String(seq))]
      expect(judged.toSorted(), JSON.stringify(cut)).toEqual(PAYLOADS)
    }
  })

  test('more than a note can hold stop the batch, and nothing is released twice', async () => {
    const broker = new ModelBroker('on release')
    const count = 600
    for (let seq = 2; seq <= count; seq += 2) broker.codes.set(String(seq), 0x99)
    const { isComplete, stop } = await live(broker, new PinnedBatch(count), WHOLE)
    expect({ isComplete, stop }).toEqual({ isComplete: false, stop: 'note-too-long' })
    expect(new Set(broker.delivered).size).toBe(broker.delivered.length)
  })
})

test('a message that is not taken now stops the batch there, and it goes on from there', async () => {
  const broker = new ModelBroker('on release')
  broker.codes.set('4', 0x97)
  const batch = new PinnedBatch()
  const first = await live(broker, batch, WHOLE)
  expect(first).toMatchObject({ isComplete: false, done: 3, stop: { code: 0x97 } })
  broker.codes.clear()
  expect(await live(broker, batch, WHOLE)).toMatchObject({ isComplete: true, refused: [] })
  expect(broker.delivered).toEqual(PAYLOADS)
})

test('QoS 1: a cut repeats at most the window', async () => {
  for (const cut of CUTS.filter(({ dies }) => dies === null)) {
    const broker = new ModelBroker('on release')
    const { doneThroughSeq, isComplete } = await live(broker, new PinnedBatch(), cut, { qos: 1 })
    const done = doneThroughSeq ?? 0
    expect(isComplete).toBe(done === COUNT)
    expect(broker.delivered.slice(0, done)).toEqual(PAYLOADS.slice(0, done))
    expect(broker.delivered.length - done).toBeLessThanOrEqual(WINDOW)
  }
})

test('a note is read as it was written, and no other text is', () => {
  const refused = new Map([
    [3, 0x99],
    [4, 0x99],
    [9, 0x90],
  ])
  const note = { done: 2, arrived: 12, refused }
  const text = noteText(note)
  expect(text).toBe('1 2 12 3-4:153 9:144')
  expect(readNote(text ?? '')).toEqual(note)
  for (const wrong of ['', '2 0 0', '1 5 4', '1 0 9 x', 'released'])
    expect(() => readNote(wrong)).toThrow(/another form/)
})
