/** What an operator may not do to a stream is refused with the code that gateway/cli/README.md explains. */
import { expect, test } from 'vitest'
import { spoolOperator } from '../gateway/operator.ts'
import { OrphanError } from '../gateway/spool/operations/orphans.ts'
import type { Spool } from '../gateway/spool/spool.ts'

const spool = {
  queues: [
    {
      stream: 'telemetry',
      ahead: () => [{ spoolId: 'k3f9', firstSeq: 7, lastSeq: 9, recordCount: 3 }],
    },
  ],
  orphans: {
    drainTo: async () => {
      throw new OrphanError('stream telemetry is configured')
    },
  },
} as unknown as Spool

test('a record that is not the first one that waits, a stream that is no orphan, one that is not there', async () => {
  const { streams } = spoolOperator(spool, null)
  await expect(streams.park('telemetry', 8)).rejects.toMatchObject({
    code: 'SLUICE_NOT_NEXT',
  })
  await expect(streams.park('nope', 7)).rejects.toMatchObject({
    code: 'ADMIN_NOT_FOUND',
    message: 'there is no stream nope; streams are: telemetry',
  })
  await expect(streams.drainTo('telemetry', 'cloud')).rejects.toMatchObject({
    code: 'SLUICE_NOT_ORPHANED',
  })
})

test('the spool is checked by one look at a time', async () => {
  const ends: ((found: { blocks: number; missing: number }) => void)[] = []
  const verifyAll = () => new Promise((resolve) => ends.push(resolve))
  const { verify } = spoolOperator({ verifier: { verifyAll }, damage: [] } as never, null)
  const first = verify()
  await expect(verify()).rejects.toMatchObject({ code: 'SLUICE_BUSY' })
  ends[0]?.({ blocks: 3, missing: 0 })
  expect(await first).toEqual({ blocks: 3, missing: 0, damage: [] })
  const second = verify()
  ends[1]?.({ blocks: 4, missing: 0 })
  expect(await second).toMatchObject({ blocks: 4 })
})
