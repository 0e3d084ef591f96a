/** What an operator does about single streams. */
import { z } from 'zod'
import type { Operator } from '../../ports/operator.ts'
import { AdminError } from '../errors.ts'
import { json, type Route, requireStream } from './route.ts'

const Drain = z.strictObject({ sink: z.string() })
const Park = z.strictObject({ seq: z.int().min(1) })

export function streamRoutes(operator: Operator): readonly Route[] {
  return [
    {
      method: 'POST',
      path: /^\/api\/streams\/([a-z0-9][a-z0-9-]{0,62})\/drain$/,
      handle: async ({ body }, [name = '']) => {
        const { sink } = parseDrain(body)
        await requireStream(name, operator)
        await operator.streams.drainTo(name, sink)
        return json(202, { draining: name, sink })
      },
    },
    {
      method: 'POST',
      path: /^\/api\/streams\/([a-z0-9][a-z0-9-]{0,62})\/park$/,
      handle: async ({ body }, [name = '']) => {
        const { seq } = parsePark(body)
        await requireStream(name, operator)
        await operator.streams.park(name, seq)
        return json(200, { parked: name, seq })
      },
    },
    {
      method: 'GET',
      path: /^\/api\/streams\/([a-z0-9][a-z0-9-]{0,62})\/records$/,
      handle: async ({ query }, [name = '']) => {
        await requireStream(name, operator)
        return json(200, await operator.streams.records(name, query.get('after')))
      },
    },
  ]
}

function parseDrain(body: unknown): z.infer<typeof Drain> {
  const parsed = Drain.safeParse(body)
  if (!parsed.success) throw new AdminError('ADMIN_BAD_REQUEST', 'send {"sink": "<name>"}')
  return parsed.data
}

function parsePark(body: unknown): z.infer<typeof Park> {
  const parsed = Park.safeParse(body)
  if (!parsed.success)
    throw new AdminError('ADMIN_BAD_REQUEST', 'send {"seq": <number of the record>}')
  return parsed.data
}
