/** Dead letters: list, requeue, purge. */
import { z } from 'zod'
import type { DeadLetterQuery, DeadLetterSelection, Operator } from '../../ports/operator.ts'
import { AdminError } from '../errors.ts'
import { json, type Route, requireStream } from './route.ts'

const MAX_IDS = 1_000

const Selection = z.union([
  z.strictObject({ stream: z.string(), ids: z.array(z.string().max(512)).min(1).max(MAX_IDS) }),
  z.strictObject({ stream: z.string(), all: z.literal(true) }),
])

/** `<origin>:<number>`, as `next` of a page. */
const CURSOR = /^(ingest|refused):\d{1,16}$/

export function deadLetterRoutes(operator: Operator): readonly Route[] {
  const { deadLetters } = operator
  return [
    {
      method: 'GET',
      path: /^\/api\/dead-letters$/,
      handle: async ({ query }) => {
        const parsed = parseQuery(query)
        await requireStream(parsed.stream, operator)
        return json(200, await deadLetters.list(parsed))
      },
    },
    {
      method: 'POST',
      path: /^\/api\/dead-letters\/requeue$/,
      handle: async ({ body }) => {
        const selection = parseSelection(body)
        await requireStream(selection.stream, operator)
        return json(200, await deadLetters.requeue(selection))
      },
    },
    {
      method: 'POST',
      path: /^\/api\/dead-letters\/purge$/,
      handle: async ({ body }) => {
        const selection = parseSelection(body)
        await requireStream(selection.stream, operator)
        return json(200, await deadLetters.purge(selection))
      },
    },
  ]
}

function parseQuery(query: URLSearchParams): DeadLetterQuery {
  const stream = query.get('stream')
  if (stream === null) throw new AdminError('ADMIN_BAD_REQUEST', 'name the stream: ?stream=<name>')
  const limit = Number(query.get('limit') ?? '100')
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_IDS)
    throw new AdminError('ADMIN_BAD_REQUEST', `limit is a number from 1 to ${MAX_IDS}`)
  const after = query.get('after')
  if (after !== null && !CURSOR.test(after))
    throw new AdminError(
      'ADMIN_BAD_REQUEST',
      'after is the "next" of the page before, such as refused:17',
    )
  return { stream, after, limit }
}

function parseSelection(body: unknown): DeadLetterSelection {
  const parsed = Selection.safeParse(body)
  if (!parsed.success) {
    throw new AdminError(
      'ADMIN_BAD_REQUEST',
      `send {"stream": "<name>", "ids": ["<id>", …]} with 1 to ${MAX_IDS} ids, or {"stream": "<name>", "all": true}`,
    )
  }
  const { stream } = parsed.data
  return { stream, ids: 'all' in parsed.data ? 'all' : parsed.data.ids }
}
