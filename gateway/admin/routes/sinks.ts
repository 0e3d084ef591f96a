/** What an operator does about sinks. */
import type { RunningOperator } from '../../ports/operator.ts'
import { json, type Route } from './route.ts'

export function sinkRoutes(operator: RunningOperator): readonly Route[] {
  return [
    {
      method: 'POST',
      path: /^\/api\/sinks\/([a-z0-9][a-z0-9-]{0,62})\/retry$/,
      handle: async (_, [name = '']) => {
        await operator.retrySink(name)
        return json(202, { retrying: name })
      },
    },
  ]
}
