/** What an operator does about the spool as a whole. */
import type { RunningOperator } from '../../ports/operator.ts'
import { json, type Route, route } from './route.ts'

export function spoolRoutes(operator: RunningOperator): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/spool/backup',
      // All that devices sent, and the sessions of local subscribers: more than a look.
      access: 'operator',
      summary: 'The bytes of a backup, whole only if its end is there.',
      answers: { status: 200, contentType: 'application/octet-stream' },
      handle: async () => ({
        status: 200,
        contentType: 'application/octet-stream',
        body: operator.backup(),
      }),
    }),
    route({
      method: 'POST',
      path: '/api/spool/verify',
      access: 'operator',
      isSlow: true,
      summary: 'Reads every pending block and checks it, beside the running gateway.',
      answers: { status: 200, is: 'VerifyReport' },
      handle: async () => json(200, await operator.verify()),
    }),
    route({
      method: 'POST',
      path: '/api/spool/new-id',
      access: 'operator',
      summary: 'New records are numbered under a fresh spool id.',
      answers: { status: 200, is: 'SpoolId' },
      handle: async () => json(200, { spoolId: await operator.newSpoolId() }),
    }),
  ]
}
