/** What an operator does about single streams. */
import { z } from 'zod'
import type { Operator } from '../../ports/operator.ts'
import { json, type Route, requireStream, route } from './route.ts'

export function streamRoutes(operator: Operator): readonly Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/streams/{stream}/drain',
      access: 'operator',
      summary: 'Gives an orphaned stream to a sink.',
      body: z.strictObject({ sink: z.string() }),
      wanted: '{"sink": "<name>"}',
      answers: { status: 202, is: 'Draining' },
      handle: async ({ params: { stream }, body: { sink } }) => {
        await requireStream(stream, operator)
        await operator.streams.drainTo(stream, sink)
        return json(202, { draining: stream, sink })
      },
    }),
    route({
      method: 'POST',
      path: '/api/streams/{stream}/park',
      access: 'operator',
      summary: 'Parks the first record that waits.',
      body: z.strictObject({ seq: z.int().min(1) }),
      wanted: '{"seq": <number of the record>}',
      answers: { status: 200, is: 'Parked' },
      handle: async ({ params: { stream }, body: { seq } }) => {
        await requireStream(stream, operator)
        await operator.streams.park(stream, seq)
        return json(200, { parked: stream, seq })
      },
    }),
    route({
      method: 'GET',
      path: '/api/streams/{stream}/records',
      access: 'viewer',
      summary: 'A page of what is pending in a stream.',
      query: z.object({ after: z.string().optional() }),
      answers: { status: 200, is: 'RecordPage' },
      handle: async ({ params: { stream }, query: { after = null } }) => {
        await requireStream(stream, operator)
        return json(200, await operator.streams.records(stream, after))
      },
    }),
  ]
}
