/**
 * What was moved aside, by mistake or because a disk could not read it, comes back at the
 * operator's word (I4, I5, I7).
 */
import { cp, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { pendingByCounters } from '../../../gateway/spool/stream/counters.ts'
import { openSpool, pinNext, queueOf, STREAM } from '../../support/spool-fixture.ts'
import { appendReadings, deliverAll, useFolder } from '../../support/spool-test.ts'

const folder = useFolder()

const OPTIONS = { ballastBytes: 4096 } as const
const NAME = 'spool.damaged-1764000000000'

/** 30 records in three blocks, of which the sink has 4; one of these is refused and undecided. */
async function oldStore(): Promise<{ readonly spoolId: string; readonly ids: string[] }> {
  const { spool } = await openSpool(folder.path, OPTIONS)
  for (let block = 0; block < 3; block++) await appendReadings(spool, block * 10 + 1, 10)
  const queue = queueOf(spool)
  const batch = await pinNext(queue, 4)
  if (!batch) throw new Error('nothing is pending')
  await queue.settle({
    throughSeq: 4,
    refused: [{ seq: 2, code: '422', reason: 'test', line: await batch.line(2) }],
    deadLetter: [],
    gapsReported: true,
    keepOuterLastSeq: null,
  })
  const ids = [2, ...Array.from({ length: 26 }, (_, i) => i + 5)].map(
    (seq) => `edge-01:${spool.spoolId}:telemetry:${seq}`,
  )
  const { spoolId } = spool
  await spool.stop()
  return { spoolId, ids }
}

describe('sluice spool restore-aside', () => {
  it('I4, I5: puts pending records back behind what waits, under their own ids, once', async () => {
    const old = await oldStore()
    await rename(join(folder.path, 'spool'), join(folder.path, NAME))
    const { spool } = await openSpool(folder.path, OPTIONS)
    expect(spool.spoolId).not.toBe(old.spoolId)
    await appendReadings(spool, 101, 3)
    expect(await spool.leftAside()).toEqual([
      {
        name: NAME,
        unreadable: [],
        streams: [{ name: 'telemetry', spoolIds: [old.spoolId], records: 27 }],
      },
    ])
    expect(await spool.restoreLeftAside(NAME)).toBe(27)
    await appendReadings(spool, 201, 2)
    await expect(spool.restoreLeftAside(NAME)).rejects.toMatchObject({
      code: 'SLUICE_NOT_RESTORED',
    })
    expect(await spool.leftAside()).toEqual([])
    await spool.stop()

    // Not in memory alone.
    const { spool: again } = await openSpool(folder.path, OPTIONS)
    expect(again.damage).toEqual([])
    const lines = await deliverAll(again, 7)
    const payloads = lines.map(({ payload }) => (payload as { n: number }).n)
    expect(payloads.slice(0, 3)).toEqual([101, 102, 103])
    expect(lines.slice(3, -2).map(({ id }) => id)).toEqual(old.ids)
    expect(payloads.slice(3, -2)).toEqual([2, ...Array.from({ length: 26 }, (_, i) => i + 5)])
    expect(payloads.slice(-2)).toEqual([201, 202])
    expect(new Set(lines.map(({ id }) => id)).size).toBe(lines.length)
    const { counters } = again.streams.get('telemetry')?.state ?? {}
    expect(counters).toMatchObject({ received: 32, delivered: 32, dropped: { corrupt: 0 } })
    expect(counters && pendingByCounters(counters)).toBe(0)

    // Under its old name once more: it is known.
    await rename(join(folder.path, `${NAME}.restored`), join(folder.path, NAME))
    await expect(again.restoreLeftAside(NAME)).rejects.toThrow('delivered twice')
    expect(await readdir(folder.path)).toContain(NAME)
    await again.stop()
  })

  it('I4: refuses what the store that is in use has, and streams that are not configured', async () => {
    const old = await oldStore()
    await cp(join(folder.path, 'spool'), join(folder.path, NAME), { recursive: true })
    const { spool } = await openSpool(folder.path, OPTIONS)
    await expect(spool.restoreLeftAside(NAME)).rejects.toThrow(old.spoolId)
    expect(queueOf(spool).pendingRecords).toBe(26)
    await spool.stop()

    await rename(join(folder.path, 'spool'), join(folder.path, 'elsewhere'))
    const streams = { other: STREAM }
    const { spool: other } = await openSpool(folder.path, { ...OPTIONS, streams })
    await expect(other.restoreLeftAside(NAME)).rejects.toThrow(
      'stream telemetry, which is not in the configuration',
    )
    await expect(other.restoreLeftAside('../elsewhere')).rejects.toThrow('nothing was left aside')
    await other.stop()
  })
})
