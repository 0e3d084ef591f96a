/** What an operator does about the spool as a whole. */
import type { Operator } from '../../ports/operator.ts'
import { json, type Route } from './route.ts'

export function spoolRoutes(operator: Operator): readonly Route[] {
  return [
    {
      method: 'GET',
      path: /^\/api\/spool\/backup$/,
      handle: async () => ({
        status: 200,
        contentType: 'application/octet-stream',
        body: operator.backup(),
      }),
    },
    {
      method: 'POST',
      path: /^\/api\/spool\/new-id$/,
      handle: async () => json(200, { spoolId: await operator.newSpoolId() }),
    },
  ]
}
