/** The status document. */
import type { Operator } from '../../ports/operator.ts'
import { json, type Route, route } from './route.ts'

export function statusRoutes(operator: Operator): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/status',
      access: 'viewer',
      summary: 'How the gateway stands: counters, backlog, limits, sinks, spool, broker.',
      answers: { status: 200, is: 'Status' },
      handle: async () => json(200, await operator.status()),
    }),
  ]
}
