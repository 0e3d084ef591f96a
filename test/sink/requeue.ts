/**
 * What the suite of the sink port does with a whole queue behind the sink: a record that became a
 * dead letter is requeued. A receiver that refuses one is made to, and mended; to one that refuses
 * nothing the stream gives it, for which it was too large.
 */
import { expect } from 'vitest'
import { Drain } from '../../gateway/drain/drain.ts'
import { sinkConfig } from '../drain/harness.ts'
import { streamConfig } from '../support/configs.ts'
import {
  durable,
  lanes,
  message,
  openSpool,
  queueOf,
  SINK,
  temporaryFolder,
} from '../support/spool-fixture.ts'
import type { ConformanceBench } from './conformance.ts'

const MAX_RECORD_BYTES = 1000
const SETTLED_MS = 20_000
/** Refused, or too large, of the readings 1 to 5. */
const POISON = 2

/** Delivered once, under a new id behind the others; the receiver knows of no record under the old. */
export async function requeueIsDelivered({
  receiver,
  newSink,
  harness,
}: ConformanceBench): Promise<void> {
  const folder = await temporaryFolder()
  const sink = newSink()
  const stream = streamConfig({ sink: sink.name, maxRecordBytes: MAX_RECORD_BYTES })
  const { spool } = await openSpool(folder.path, {
    streams: { telemetry: stream },
    sinks: { [sink.name]: SINK },
  })
  const drain = new Drain({
    sinks: [{ sink, config: sinkConfig() }],
    queues: spool.queues,
    notes: spool.notes,
    emit: () => undefined,
  })
  const queue = queueOf(spool)
  const settled = async (letters: number): Promise<void> => {
    const state = async () => ({
      pending: queue.pendingRecords,
      parked: queue.parked.length,
      letters: (await spool.deadLetters.list('telemetry', null, 10)).length,
    })
    const wanted = { pending: 0, parked: 0, letters }
    await expect.poll(state, { timeout: SETTLED_MS }).toEqual(wanted)
  }
  const ids = async (): Promise<string[]> => {
    const all = await receiver.ids()
    return harness.promise === 'exactly once' ? all : [...new Set(all)]
  }
  const idsOf = (...seqs: readonly number[]): string[] =>
    seqs.map((seq) => `edge-01:${spool.spoolId}:telemetry:${seq}`)
  try {
    const mend = (await receiver.refuse?.(POISON)) ?? null
    const filling = mend === null ? 'x'.repeat(MAX_RECORD_BYTES) : 'x'
    const to = lanes(spool, 'press-7', 'plant/press-7')
    let ticket = 0
    for (let n = 1; n <= 5; n++)
      ticket = spool.appender.append(
        to,
        message(`{"celsius":${n},"note":"${n === POISON ? filling : ''}"}`),
      )
    await durable(spool, ticket)
    await drain.start()
    await settled(1)
    // One that a stream refused was given no number.
    const [known, fresh] = mend === null ? [[1, 2, 3, 4], 5] : [[1, 3, 4, 5], 6]
    expect(await ids()).toEqual(idsOf(...known))
    await mend?.()
    expect(await spool.deadLetters.requeue('telemetry', 'all')).toMatchObject({ requeued: 1 })
    await settled(0)
    expect(await ids()).toEqual(idsOf(...known, fresh))
    const gaps = (await receiver.gaps()).join()
    if (mend === null) expect(gaps).toBe('')
    else expect(gaps).toMatch(/2.*dead-lettered/s)
    const { delivered, requeued, deadLettered } = queue.spool.view.counters
    expect({ delivered, requeued, deadLettered }).toEqual({
      delivered: 5,
      requeued: 1,
      deadLettered: 1,
    })
  } finally {
    await drain.stop(1000)
    await spool.stop()
    await folder.remove()
  }
}
