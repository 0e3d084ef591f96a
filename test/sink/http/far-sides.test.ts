/**
 * The HTTP sink against two far sides that know nothing of it: the reference cloud, and a receiver
 * in Python's standard library written from the contract. A plain driver stands for the drain: it
 * sends what is not acked until it is.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Cloud } from '../../../device-sim/cloud/cloud.ts'
import { readStore } from '../../../device-sim/cloud/store/store.ts'
import { createHttpSink } from '../../../gateway/sink/http/http-sink.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { type RunningProcess, reapProcesses, startProcess } from '../../support/process.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { batchOf, never, recordLine, sinkConfig } from './batches.ts'

let dir = ''
const cleanups: Array<() => Promise<unknown>> = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-far-'))
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  await reapProcesses()
  rmSync(dir, { recursive: true })
})

function sinkTo(url: string): ConfiguredSink {
  const sink = createHttpSink({
    name: 'cloud',
    config: sinkConfig(url, { ack: 'body', timeout: 2000 }),
    emit: () => undefined,
  })
  cleanups.push(() => sink.close())
  return sink
}

interface Outcome {
  readonly retries: number
  readonly partials: number
  readonly refused: number[]
}

/**
 * Sends `first` to `last` in batches of `size` until all are acked or refused. @throws when it
 * takes too many tries
 */
async function deliver(
  sink: ConfiguredSink,
  first: number,
  last: number,
  size: number,
): Promise<Outcome> {
  const refused: number[] = []
  let [retries, partials] = [0, 0]
  for (let at = first; at <= last; ) {
    if (retries + partials > 2000) throw new Error(`stuck at ${at}`)
    const batch = batchOf(at, Math.min(at + size - 1, last))
    const answer = await sink.send(batch, never())
    if (answer.kind === 'retry') {
      retries += 1
      continue
    }
    if (answer.kind !== 'verdicts' || answer.ackedThrough === null)
      throw new Error(JSON.stringify(answer))
    if (answer.ackedThrough < batch.lastSeq) partials += 1
    at = answer.ackedThrough + 1
    if (answer.listed[0]?.seq === at) {
      refused.push(at)
      at += 1
    }
  }
  return { retries, partials, refused }
}

const expected = (first: number, last: number, without: readonly number[] = []): string[] =>
  Array.from({ length: last - first + 1 }, (_, n) => first + n)
    .filter((seq) => !without.includes(seq))
    .map((seq) => recordLine(seq).slice(0, -1))

describe('the reference cloud', () => {
  test('I4: through cut requests, lost answers, 503s, partial acks and refusals every record is stored once, unchanged', async () => {
    const cloud = await Cloud.start({
      dir,
      seed: 7,
      faults: [
        { kind: 'drop-request', share: 0.1 },
        { kind: 'lost-answer', share: 0.2 },
        { kind: 'busy', share: 0.1 },
        { kind: 'partial', share: 0.2, keep: 0.6 },
        { kind: 'refuse', match: { share: 0.01 } },
      ],
    })
    cleanups.push(() => cloud.close())
    const outcome = await deliver(sinkTo(cloud.url), 1, 3000, 50)
    const lines: string[] = []
    for await (const one of readStore(dir)) lines.push(one.line.toString())
    expect(lines).toEqual(expected(1, 3000, outcome.refused))
    const { faults, repeats, violations } = cloud.stats
    expect({ ...faults, violations }).toMatchObject({ violations: 0 })
    for (const kind of ['drop-request', 'lost-answer', 'busy', 'partial', 'refuse'] as const) {
      expect(faults[kind], kind).toBeGreaterThan(0)
    }
    expect(outcome.refused.length).toBeGreaterThan(0)
    expect(repeats).toBeGreaterThan(0)
  })

  test('an outage is retries with words, and delivery goes on behind it', async () => {
    const cloud = await Cloud.start({ dir, faults: [{ kind: 'outage' }] })
    cleanups.push(() => cloud.close())
    const sink = sinkTo(cloud.url)
    const answer = await sink.send(batchOf(1, 3), never())
    expect(answer).toMatchObject({
      kind: 'retry',
      detail: expect.stringContaining('ECONNREFUSED') as string,
    })
    cloud.faults.clear()
    while ((await sink.send(batchOf(1, 3), never())).kind === 'retry')
      await new Promise((resolve) => setTimeout(resolve, 5))
    expect(cloud.stats).toMatchObject({ records: 3, faults: { outage: 1 } })
  })

  test('Retry-After in both forms arrives as the wait that the cloud meant', async () => {
    const cloud = await Cloud.start({
      dir,
      faults: [
        { kind: 'busy', retryAfter: { seconds: 4 }, count: 1 },
        { kind: 'busy', status: 429, retryAfter: { dateSeconds: 30 }, count: 1 },
      ],
    })
    cleanups.push(() => cloud.close())
    const sink = sinkTo(cloud.url)
    expect(await sink.send(batchOf(1, 1), never())).toMatchObject({
      code: '503',
      retryAfterMs: 4000,
    })
    const dated = await sink.send(batchOf(1, 1), never())
    const waitMs = dated.kind === 'retry' ? (dated.retryAfterMs ?? 0) : 0
    expect(waitMs).toBeGreaterThanOrEqual(29_000)
    expect(waitMs).toBeLessThanOrEqual(31_000)
  })
})

describeWithTool(
  'python3',
  "a receiver in Python's standard library, written from the contract",
  () => {
    const program = fileURLToPath(new URL('../../support/receiver.py', import.meta.url))

    async function receive(
      ...options: string[]
    ): Promise<{ readonly url: string; readonly receiver: RunningProcess }> {
      const receiver = startProcess('python3', [
        program,
        '--db',
        join(dir, 'records.db'),
        ...options,
      ])
      const { text } = await receiver.waitForLine(/^http/)
      return { url: text, receiver }
    }

    async function stored(url: string): Promise<string[]> {
      const text = await (await fetch(url.replace('/ingest', '/records?stream=telemetry'))).text()
      return text.split('\n').slice(0, -1)
    }

    test('I4: through 503s, lost answers, partial acks and refusals every record is stored once, unchanged', async () => {
      const { url } = await receive(
        '--lose',
        '0.2',
        '--busy',
        '0.1',
        '--partial',
        '0.2',
        '--refuse',
        ':77"',
        '--seed',
        '3',
      )
      const outcome = await deliver(sinkTo(url), 1, 1000, 25)
      expect(outcome.refused).toEqual([77])
      expect(await stored(url)).toEqual(expected(1, 1000, [77]))
      const stats = (await (await fetch(url.replace('/ingest', '/stats'))).json()) as Record<
        string,
        number
      >
      for (const kind of ['lost', 'busy', 'partial', 'refused', 'repeats'])
        expect(stats[kind], kind).toBeGreaterThan(0)
      expect(stats['bad']).toBe(0)
    })

    test('I4: killed hard after an ack that was lost, it knows what it has', async () => {
      const first = await receive('--lose', '1')
      expect((await sinkTo(first.url).send(batchOf(1, 40), never())).kind).toBe('retry')
      await first.receiver.reap()
      const second = await receive()
      const outcome = await deliver(sinkTo(second.url), 1, 60, 40)
      expect(outcome).toEqual({ retries: 0, partials: 0, refused: [] })
      expect(await stored(second.url)).toEqual(expected(1, 60))
      const stats = (await (await fetch(second.url.replace('/ingest', '/stats'))).json()) as Record<
        string,
        number
      >
      expect(stats).toMatchObject({ stored: 20, repeats: 40 })
    })
  },
)
