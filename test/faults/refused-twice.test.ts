/** A record that is refused, goes back to its place when the sink is held, and is refused again. */
import { expect, it } from 'vitest'
import type { LoadedBatch } from '../../gateway/ports/stream-queue.ts'
import type { SpoolQueue } from '../../gateway/spool/queue/queue.ts'
import {
  durable,
  lanes,
  linesOf,
  message,
  openSpool,
  pinNext,
  queueOf,
} from '../support/spool-fixture.ts'
import { useFolder } from '../support/spool-test.ts'

const folder = useFolder()

async function next(queue: SpoolQueue, maxRecords: number): Promise<LoadedBatch> {
  const batch = await pinNext(queue, maxRecords)
  if (!batch) throw new Error('nothing is pending')
  return batch
}

it('I8, I9: becomes a dead letter with all its bytes, and is not counted as damaged', async () => {
  const { spool } = await openSpool(folder.path, { ballastBytes: 4096 })
  const to = lanes(spool, 'd', 't')
  for (const n of [1, 2]) spool.appender.append(to, message(`{"n":${n}}`))
  await durable(spool, spool.appender.touch())
  const queue = queueOf(spool)

  const refuse = async (
    batch: LoadedBatch,
    deadLetter: number[],
    throughSeq: number,
  ): Promise<void> => {
    const refused = [{ seq: 1, code: '422', reason: 'no', line: await batch.line(1) }]
    await queue.settle({
      throughSeq,
      refused,
      deadLetter,
      gapsReported: false,
      keepOuterLastSeq: null,
    })
  }
  await refuse(await next(queue, 1), [], 1)
  await queue.returnParked()
  expect(queue.ahead(1)[0]?.firstSeq).toBe(1)
  const again = await next(queue, 1)
  expect((await linesOf(again)).map(({ seq }) => seq)).toEqual([1])
  await refuse(again, [], 1)
  const later = await next(queue, 1)
  await queue.settle({
    throughSeq: later.pin.lastSeq,
    refused: [],
    deadLetter: [1],
    gapsReported: true,
    keepOuterLastSeq: null,
  })

  const letters = await spool.deadLetters.list('telemetry', null, 10)
  expect(
    letters.map(({ seq, line }) => [seq, (JSON.parse(line) as { payload: unknown }).payload]),
  ).toEqual([[1, { n: 1 }]])
  const { counters } = queue.spool.view
  expect(counters).toMatchObject({ received: 2, delivered: 1, deadLettered: 1 })
  expect(counters.dropped.corrupt).toBe(0)
  await spool.stop()
})
