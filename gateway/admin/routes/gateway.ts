/** What an operator does about the gateway as a whole. */
import type { RunningOperator } from '../../ports/operator.ts'
import { json, type Route, route } from './route.ts'

export function gatewayRoutes(operator: RunningOperator): readonly Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/leave',
      access: 'operator',
      summary: 'Takes the gateway out of service until its next start.',
      answers: { status: 202, is: 'Leaving' },
      handle: async () => {
        await operator.leave()
        return json(202, { leaving: true })
      },
    }),
  ]
}
