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
  })
  await expect(streams.drainTo('telemetry', 'cloud')).rejects.toMatchObject({
    code: 'SLUICE_NOT_ORPHANED',
  })
})
