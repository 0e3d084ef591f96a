/** What an operator does about the gateway as a whole. */
import type { RunningOperator } from '../../ports/operator.ts'
import { json, type Route } from './route.ts'

export function gatewayRoutes(operator: RunningOperator): readonly Route[] {
  return [
    {
      method: 'POST',
      path: /^\/api\/leave$/,
      handle: async () => {
        await operator.leave()
        return json(202, { leaving: true })
      },
    },
  ]
}
