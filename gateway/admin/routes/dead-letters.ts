/** Dead letters: list, requeue, purge. */
import { z } from 'zod'
import type { DeadLetterSelection, Operator } from '../../ports/operator.ts'
import { json, pageLimit, type Route, requireStream, route } from './route.ts'

const MAX_IDS = 1_000

const Selection = z.union([
  z.strictObject({ stream: z.string(), ids: z.array(z.string().max(512)).min(1).max(MAX_IDS) }),
  z.strictObject({ stream: z.string(), all: z.literal(true) }),
])

const WANTED = `{"stream": "<name>", "ids": ["<id>", …]} with 1 to ${MAX_IDS} ids, or {"stream": "<name>", "all": true}`

const Page = z.object({
  stream: z.string('name the stream: ?stream=<name>'),
  limit: pageLimit(MAX_IDS),
  after: z
    .string()
    .regex(
      /^(ingest|refused):\d{1,16}$/,
      'after is the "next" of the page before, such as refused:17',
    )
    .optional(),
})

export function deadLetterRoutes(operator: Operator): readonly Route[] {
  const { deadLetters } = operator
  const change = { method: 'POST', access: 'operator', body: Selection, wanted: WANTED } as const
  return [
    route({
      method: 'GET',
      path: '/api/dead-letters',
      access: 'viewer',
      summary: 'A page of dead letters.',
      query: Page,
      answers: { status: 200, is: 'DeadLetterPage' },
      handle: async ({ query: { stream, after = null, limit } }) => {
        await requireStream(stream, operator)
        return json(200, await deadLetters.list({ stream, after, limit }))
      },
    }),
    route({
      ...change,
      path: '/api/dead-letters/requeue',
      summary: 'Puts dead letters back as new records of their stream.',
      answers: { status: 200, is: 'DeadLetterChange' },
      handle: async ({ body }) => {
        await requireStream(body.stream, operator)
        return json(200, await deadLetters.requeue(selectionOf(body)))
      },
    }),
    route({
      ...change,
      path: '/api/dead-letters/purge',
      summary: 'Removes dead letters for good.',
      answers: { status: 200, is: 'DeadLetterChange' },
      handle: async ({ body }) => {
        await requireStream(body.stream, operator)
        return json(200, await deadLetters.purge(selectionOf(body)))
      },
    }),
  ]
}

function selectionOf(body: z.infer<typeof Selection>): DeadLetterSelection {
  return { stream: body.stream, ids: 'all' in body ? 'all' : body.ids }
}
