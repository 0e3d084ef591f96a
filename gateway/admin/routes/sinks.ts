/** What an operator does about sinks. */
import type { RunningOperator } from '../../ports/operator.ts'
import { json, type Route, route } from './route.ts'

export function sinkRoutes(operator: RunningOperator): readonly Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/sinks/{sink}/retry',
      access: 'operator',
      summary: 'Probes the sink now.',
      answers: { status: 202, is: 'Retrying' },
      handle: async ({ params: { sink } }) => {
        await operator.retrySink(sink)
        return json(202, { retrying: sink })
      },
    }),
  ]
}
