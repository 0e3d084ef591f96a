/** What tests of the spool set up and do again and again; for files that vitest runs. */
import { afterEach, beforeEach } from 'vitest'
import type { Spool } from '../../gateway/spool/spool.ts'
import {
  durable,
  lanes,
  linesOf,
  message,
  pinNext,
  queueOf,
  settleAll,
  temporaryFolder,
} from './spool-fixture.ts'

/** A folder of its own for each test of the file. */
export function useFolder(): { readonly path: string } {
  const folder = { path: '' }
  let remove = async (): Promise<void> => undefined
  beforeEach(async () => {
    const made = await temporaryFolder()
    folder.path = made.path
    remove = made.remove
  })
  afterEach(() => remove())
  return folder
}

/** Readings `{"n":…}` of one device, in one commit; resolves when they are durable. */
export async function appendReadings(spool: Spool, from: number, count: number): Promise<void> {
  const to = lanes(spool, 'd', 't')
  let ticket = 0
  for (let n = from; n < from + count; n++)
    ticket = spool.appender.append(to, message(`{"n":${n}}`))
  await durable(spool, ticket)
}

/** Delivers all that waits, in batches of so many records. */
export async function deliverAll(
  spool: Spool,
  batchRecords = 1_000,
): Promise<Awaited<ReturnType<typeof linesOf>>> {
  const queue = queueOf(spool)
  const lines: Awaited<ReturnType<typeof linesOf>> = []
  while (queue.pendingRecords > 0) {
    const batch = await pinNext(queue, batchRecords)
    if (!batch) throw new Error('records are pending, and none can be pinned')
    lines.push(...(await linesOf(batch)))
    await settleAll(queue, batch)
  }
  return lines
}
