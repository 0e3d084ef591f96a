/**
 * The contract of ports/appender.ts, over the spool and over the double that the broker's tests use
 * in its place: what holds for one of them and not for the other would make those tests worthless.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type Appender,
  type Journal,
  type Lane,
  MUST_WAIT,
  type RecoveredJournal,
  type Ticket,
} from '../../gateway/ports/appender.ts'
import type { Spool } from '../../gateway/spool/spool.ts'
import { MemoryAppender } from '../support/memory-appender.ts'
import {
  message,
  openSpool,
  pinNext,
  queueOf,
  STREAM,
  settleAll,
} from '../support/spool-fixture.ts'
import { useFolder } from '../support/spool-test.ts'

/** Streams of the tests: `narrow` can be made full. */
const NAMES = ['wide', 'narrow'] as const
type Name = (typeof NAMES)[number]

interface Subject {
  readonly appender: Appender
  /** Payloads of the durable records. */
  payloads(stream: Name): Promise<string[]>
  /** Durable dead letters of the stream's rules. */
  deadLetters(stream: Name): Promise<number>
  /** From here on `narrow` is full. */
  fill(): Promise<void>
  /** `narrow` has room again, and nothing that was there before. */
  makeRoom(): Promise<void>
  /** What is durable, opened anew. */
  restart(): Promise<Subject>
  close(): Promise<void>
}

async function overSpool(dataDir: string): Promise<Subject> {
  const streams = {
    wide: { ...STREAM, topics: ['wide/#'] },
    narrow: { ...STREAM, topics: ['narrow/#'], maxBytes: 1_000 },
  }
  const { spool } = await openSpool(dataDir, { streams })
  return {
    appender: spool.appender,
    payloads: (stream) => pendingPayloads(spool, stream),
    deadLetters: async (stream) => (await spool.deadLetters.list(stream, null, 100)).length,
    fill: async () => {
      const { appender } = spool
      for (;;) {
        const ticket = appender.append(lanesOf(appender, ['narrow']), message('0'))
        if (ticket === MUST_WAIT) return
        await durable(appender, ticket)
      }
    },
    makeRoom: async () => {
      const queue = queueOf(spool, 'narrow')
      const batch = await pinNext(queue, 100)
      if (batch) await settleAll(queue, batch)
    },
    restart: async () => {
      await spool.stop()
      return await overSpool(dataDir)
    },
    close: () => spool.stop(),
  }
}

async function pendingPayloads(spool: Spool, stream: Name): Promise<string[]> {
  const page = await spool.records(stream, null)
  return (page?.records ?? []).map((line) =>
    JSON.stringify((JSON.parse(line) as { payload: unknown }).payload),
  )
}

function overMemory(recovered?: ReturnType<MemoryAppender['crash']>): Subject {
  const specs = NAMES.map((name) => ({ name, topics: [`${name}/#`] }))
  const appender = new MemoryAppender(specs, recovered)
  return {
    appender,
    payloads: async (stream) => appender.payloads(stream),
    deadLetters: async (stream) =>
      appender.deadLetters.filter((letter) => letter.stream === stream).length,
    fill: async () => appender.setRoom('narrow', 0),
    makeRoom: async () => appender.setRoom('narrow', null),
    restart: async () => overMemory(appender.crash()),
    close: async () => undefined,
  }
}

function lanesOf(appender: Appender, names: readonly Name[] = NAMES): Lane[] {
  return appender.streams
    .filter(({ name }) => names.includes(name as Name))
    .map((stream) => ({ stream, envelope: stream.envelope('press-7', `${stream.name}/t`) }))
}

function durable(appender: Appender, ticket: Ticket): Promise<void> {
  if (appender.durableTicket >= ticket) return Promise.resolve()
  return new Promise((resolve) => {
    appender.onDurable((at) => {
      if (at >= ticket) resolve()
    })
  })
}

/** A set of names that rides in commits. */
class NameJournal implements Journal {
  readonly name = 'names'
  readonly names: string[] = []
  #pending: string[] = []

  add(name: string): void {
    this.names.push(name)
    this.#pending.push(name)
  }

  collect(): Uint8Array | null {
    const changes = this.#pending
    this.#pending = []
    return changes.length === 0 ? null : Buffer.from(changes.join())
  }

  checkpoint(): Uint8Array {
    return Buffer.from(this.names.join())
  }
}

function namesOf({ checkpoint, changes }: RecoveredJournal): string[] {
  const parts = [...(checkpoint === null ? [] : [checkpoint]), ...changes]
  return parts.flatMap((bytes) => Buffer.from(bytes).toString().split(',')).filter(Boolean)
}

const folder = useFolder()
let subject: Subject
afterEach(() => subject.close())

describe.each([
  ['the spool', overSpool],
  ['the double of the broker’s tests', async () => overMemory()],
])('%s', (_, open: (dataDir: string) => Promise<Subject>) => {
  beforeEach(async () => {
    subject = await open(folder.path)
  })

  test('I1: answers with the ticket of the open commit, which is durable only later', async () => {
    const { appender } = subject
    const ticket = appender.append(lanesOf(appender, ['wide']), message('1'))
    expect(ticket).toBeGreaterThan(appender.durableTicket)
    expect(appender.append(lanesOf(appender, ['wide']), message('2'))).toBe(ticket)
    expect(appender.touch()).toBe(ticket)
    await durable(appender, ticket)
    expect(await subject.payloads('wide')).toEqual(['1', '2'])
    const next = appender.append(lanesOf(appender, ['wide']), message('3'))
    expect(next).toBeGreaterThan(ticket)
    expect(await subject.payloads('wide')).toEqual(['1', '2'])
  })

  test('I2: tells of durable tickets in order, one commit after the other', async () => {
    const { appender } = subject
    const told: Ticket[] = []
    appender.onDurable((ticket) => told.push(ticket))
    for (let n = 0; n < 5; n++)
      await durable(appender, appender.append(lanesOf(appender, ['wide']), message(String(n))))
    expect(told.length).toBeGreaterThanOrEqual(5)
    expect(told).toEqual(told.toSorted((a, b) => a - b))
    expect(new Set(told).size).toBe(told.length)
    expect(appender.durableTicket).toBe(told.at(-1))
  })

  test('takes a message into each lane, and copies what it needs of the caller’s object', async () => {
    const { appender } = subject
    const reused = message('"first"')
    const ticket = appender.append(lanesOf(appender), reused)
    reused.payload.fill(0x20)
    await durable(appender, ticket)
    expect(await subject.payloads('wide')).toEqual(['"first"'])
    expect(await subject.payloads('narrow')).toEqual(['"first"'])
  })

  test('without lanes takes nothing, and has nothing to wait for', async () => {
    const { appender } = subject
    await durable(appender, appender.append(lanesOf(appender), message('1')))
    const before = appender.durableTicket
    const behind = appender.append(lanesOf(appender), message('2'))
    for (const qos of [0, 1, 2] as const)
      expect(appender.append([], message('3', { qos }))).toBe(before)
    expect(behind).toBeGreaterThan(before)
    await durable(appender, behind)
    expect(await subject.payloads('wide')).toEqual(['1', '2'])
  })

  test('is opened by a commit: no ticket is MUST_WAIT', () => {
    const { appender } = subject
    expect(appender.durableTicket).toBeGreaterThan(MUST_WAIT)
    expect(appender.append([], message('1'))).not.toBe(MUST_WAIT)
  })

  test('I6: takes nothing into any lane while one is full, and tells when there is room', async () => {
    const { appender } = subject
    await subject.fill()
    let told = 0
    appender.onSpace(() => {
      told += 1
    })
    for (const qos of [1, 2] as const)
      expect(appender.append(lanesOf(appender), message('7', { qos }))).toBe(MUST_WAIT)
    await durable(appender, appender.append(lanesOf(appender, ['wide']), message('8')))
    expect(await subject.payloads('wide')).toEqual(['8'])
    // Whoever was told too early offers it again.
    expect(appender.append(lanesOf(appender), message('7'))).toBe(MUST_WAIT)
    const before = told
    await subject.makeRoom()
    expect(told).toBeGreaterThan(before)
    const ticket = appender.append(lanesOf(appender), message('9'))
    expect(ticket).not.toBe(MUST_WAIT)
    await durable(appender, ticket)
    expect(await subject.payloads('wide')).toEqual(['8', '9'])
    expect(await subject.payloads('narrow')).toEqual(['9'])
  })

  test('I6: says whether a stream would keep a small message now', async () => {
    const { appender } = subject
    const accepted = (): string[] =>
      appender.streams.filter((stream) => appender.accepts(stream)).map(({ name }) => name)
    expect(accepted()).toEqual(['wide', 'narrow'])
    await subject.fill()
    expect(accepted()).toEqual(['wide'])
    await subject.makeRoom()
    expect(accepted()).toEqual(['wide', 'narrow'])
  })

  test('I6: drops QoS 0 for the stream that is full alone, and never lets it wait', async () => {
    const { appender } = subject
    await subject.fill()
    const before = await subject.payloads('narrow')
    const ticket = appender.append(lanesOf(appender), message('7', { qos: 0 }))
    expect(ticket).not.toBe(MUST_WAIT)
    await durable(appender, appender.touch())
    expect(await subject.payloads('wide')).toEqual(['7'])
    expect(await subject.payloads('narrow')).toEqual(before)
  })

  test('I9: keeps a refused message as a dead letter of each lane, and as no record', async () => {
    const { appender } = subject
    await subject.fill()
    const before = await subject.payloads('narrow')
    const refused = message('7', { refusal: 'the topic has too many levels' })
    const ticket = appender.append(lanesOf(appender), refused)
    expect(ticket).not.toBe(MUST_WAIT)
    await durable(appender, ticket)
    expect(await subject.deadLetters('wide')).toBe(1)
    expect(await subject.deadLetters('narrow')).toBe(1)
    expect(await subject.payloads('wide')).toEqual([])
    expect(await subject.payloads('narrow')).toEqual(before)
  })

  test('I3: takes a journal’s changes into the commit of the records, and gives them back', async () => {
    const { appender } = subject
    const journal = new NameJournal()
    expect(namesOf(appender.attach(journal))).toEqual([])
    const first = appender.append(lanesOf(appender, ['wide']), message('1'))
    journal.add('a')
    journal.add('b')
    await durable(appender, first)
    journal.add('c')
    await durable(appender, appender.touch())
    subject = await subject.restart()
    const again = new NameJournal()
    const recovered = namesOf(subject.appender.attach(again))
    expect(recovered).toEqual(['a', 'b', 'c'])
    for (const name of recovered) again.names.push(name)
    again.add('d')
    await durable(subject.appender, subject.appender.touch())
    subject = await subject.restart()
    expect(namesOf(subject.appender.attach(new NameJournal()))).toEqual(['a', 'b', 'c', 'd'])
    expect(await subject.payloads('wide')).toEqual(['1'])
  })

  test('takes each journal once', () => {
    subject.appender.attach(new NameJournal())
    expect(() => subject.appender.attach(new NameJournal())).toThrow(/names/)
  })

  test('keeps keyed values in name spaces of their own, durable with their tickets', async () => {
    const { appender } = subject
    const [retained, wills] = [appender.keyed('retained'), appender.keyed('wills')]
    const ticket = retained.put('t', Buffer.from('1'))
    expect(ticket).toBeGreaterThan(appender.durableTicket)
    wills.put('t', Buffer.from('2'))
    retained.put('u', Buffer.from('3'))
    await durable(appender, appender.touch())
    await durable(appender, retained.delete('u'))
    subject = await subject.restart()
    const entriesOf = async (space: 'retained' | 'wills'): Promise<string[]> =>
      (await subject.appender.keyed(space).entries()).map(
        ([key, value]) => `${key}=${Buffer.from(value).toString()}`,
      )
    expect(await entriesOf('retained')).toEqual(['t=1'])
    expect(await entriesOf('wills')).toEqual(['t=2'])
  })

  test('lets what is deleted lazily ride with the next commit', async () => {
    const { appender } = subject
    const copies = appender.keyed('copies')
    await durable(appender, copies.put('1', Buffer.from('x')))
    const ticket = copies.delete('1', true)
    expect(ticket).toBeGreaterThan(appender.durableTicket)
    // Two turns of the event loop, in which a commit that was due would have been closed.
    for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(appender.touch()).toBe(ticket)
    await durable(appender, ticket)
    expect(await copies.entries()).toEqual([])
  })
})
