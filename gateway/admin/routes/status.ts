/** The status document. */
import type { Operator } from '../../ports/operator.ts'
import { json, type Route } from './route.ts'

export function statusRoutes(operator: Operator): readonly Route[] {
  return [
    {
      method: 'GET',
      path: /^\/api\/status$/,
      handle: async () => json(200, await operator.status()),
    },
  ]
}
