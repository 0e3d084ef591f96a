/**
 * The admin server's paths: what each takes and answers. Requests were guarded before they get here
 * (guard.ts); bodies are parsed JSON of bounded size.
 */
import { z } from 'zod'
import type { Health } from '../observe/health.ts'
import type { Status } from '../observe/status.ts'
import {
  type AdminActions,
  AdminError,
  type DeadLetterQuery,
  type DeadLetterSelection,
} from './actions.ts'

/** What the routes show. */
export interface AdminViews {
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>
  live(): Health
  ready(): Health
  status(): Status
  /** Names of all streams, orphaned ones included. */
  streams(): readonly string[]
}

export interface AdminRequest {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  /** Parsed; null without a body. */
  readonly body: unknown
}

export interface AdminAnswer {
  readonly status: number
  readonly contentType: string
  readonly body: string | AsyncIterable<Uint8Array>
  /** Content-Security-Policy. @default nothing at all */
  readonly policy?: string
}

const MAX_IDS = 1_000

const Selection = z.union([
  z.strictObject({ stream: z.string(), ids: z.array(z.string().max(512)).min(1).max(MAX_IDS) }),
  z.strictObject({ stream: z.string(), all: z.literal(true) }),
])

const Drain = z.strictObject({ sink: z.string() })
const Park = z.strictObject({ seq: z.int().min(1) })

/** `<origin>:<number>`, as `next` of a page. */
const CURSOR = /^(ingest|refused):\d{1,16}$/

type Handler = (request: AdminRequest, match: readonly string[]) => Promise<AdminAnswer>

interface Route {
  readonly method: 'GET' | 'POST'
  readonly path: RegExp
  readonly handle: Handler
}

/** A function that answers requests; throws {@link AdminError} for those that it cannot. */
export function createRoutes(
  views: AdminViews,
  actions: AdminActions,
): (request: AdminRequest) => Promise<AdminAnswer> {
  const routes: readonly Route[] = [
    { method: 'GET', path: /^\/$/, handle: async () => pageAnswer(views) },
    // A browser asks for it wherever it looks.
    {
      method: 'GET',
      path: /^\/favicon\.ico$/,
      handle: async () => ({ status: 200, contentType: 'image/x-icon', body: '' }),
    },
    {
      method: 'GET',
      path: /^\/metrics$/,
      handle: async () => metricsAnswer(await views.metrics()),
    },
    { method: 'GET', path: /^\/livez$/, handle: async () => healthAnswer(views.live()) },
    { method: 'GET', path: /^\/readyz$/, handle: async () => healthAnswer(views.ready()) },
    { method: 'GET', path: /^\/api\/status$/, handle: async () => json(200, views.status()) },
    {
      method: 'POST',
      path: /^\/api\/sinks\/([a-z0-9][a-z0-9-]{0,62})\/retry$/,
      handle: async (_, [name = '']) => {
        if (!(await actions.retrySink(name)))
          throw new AdminError('ADMIN_NOT_FOUND', `no sink is named ${name}`)
        return json(202, { retrying: name })
      },
    },
    {
      method: 'GET',
      path: /^\/api\/dead-letters$/,
      handle: async ({ query }) =>
        json(200, await actions.deadLetters.list(listQuery(query, views))),
    },
    {
      method: 'POST',
      path: /^\/api\/dead-letters\/requeue$/,
      handle: async ({ body }) =>
        json(200, await actions.deadLetters.requeue(parseSelection(body, views))),
    },
    {
      method: 'POST',
      path: /^\/api\/dead-letters\/purge$/,
      handle: async ({ body }) =>
        json(200, await actions.deadLetters.purge(parseSelection(body, views))),
    },
    {
      method: 'POST',
      path: /^\/api\/streams\/([a-z0-9][a-z0-9-]{0,62})\/drain$/,
      handle: async ({ body }, [name = '']) => {
        const { sink } = parseDrain(body)
        await actions.streams.drainTo(knownStream(name, views), sink)
        return json(202, { draining: name, sink })
      },
    },
    {
      method: 'POST',
      path: /^\/api\/streams\/([a-z0-9][a-z0-9-]{0,62})\/park$/,
      handle: async ({ body }, [name = '']) => {
        const { seq } = parsePark(body)
        await actions.streams.park(knownStream(name, views), seq)
        return json(200, { parked: name, seq })
      },
    },
    {
      method: 'GET',
      path: /^\/api\/streams\/([a-z0-9][a-z0-9-]{0,62})\/records$/,
      handle: async ({ query }, [name = '']) =>
        json(200, await actions.streams.records(knownStream(name, views), query.get('after'))),
    },
    {
      method: 'GET',
      path: /^\/api\/spool\/backup$/,
      handle: async () => ({
        status: 200,
        contentType: 'application/octet-stream',
        body: actions.backup(),
      }),
    },
    {
      method: 'POST',
      path: /^\/api\/spool\/new-id$/,
      handle: async () => json(200, { spoolId: await actions.newSpoolId() }),
    },
  ]
  return (request) => dispatch(routes, request)
}

async function dispatch(routes: readonly Route[], request: AdminRequest): Promise<AdminAnswer> {
  const method = request.method === 'HEAD' ? 'GET' : request.method
  let methods: string | null = null
  for (const route of routes) {
    const match = route.path.exec(request.path)
    if (match === null) continue
    if (route.method === method) return route.handle(request, match.slice(1))
    methods = route.method
  }
  if (methods !== null) throw new AdminError('ADMIN_METHOD', `${request.path} takes ${methods}`)
  throw new AdminError('ADMIN_NOT_FOUND', 'no such path')
}

function listQuery(query: URLSearchParams, views: AdminViews): DeadLetterQuery {
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
  return { stream: knownStream(stream, views), after, limit }
}

function parseSelection(body: unknown, views: AdminViews): DeadLetterSelection {
  const parsed = Selection.safeParse(body)
  if (!parsed.success) {
    throw new AdminError(
      'ADMIN_BAD_REQUEST',
      `send {"stream": "<name>", "ids": ["<id>", …]} with 1 to ${MAX_IDS} ids, or {"stream": "<name>", "all": true}`,
    )
  }
  const stream = knownStream(parsed.data.stream, views)
  return { stream, ids: 'all' in parsed.data ? 'all' : parsed.data.ids }
}

function parseDrain(body: unknown): { readonly sink: string } {
  const parsed = Drain.safeParse(body)
  if (!parsed.success) throw new AdminError('ADMIN_BAD_REQUEST', 'send {"sink": "<name>"}')
  return parsed.data
}

function parsePark(body: unknown): { readonly seq: number } {
  const parsed = Park.safeParse(body)
  if (!parsed.success)
    throw new AdminError('ADMIN_BAD_REQUEST', 'send {"seq": <number of the record>}')
  return parsed.data
}

function knownStream(stream: string, views: AdminViews): string {
  const names = views.streams()
  if (names.includes(stream)) return stream
  throw new AdminError(
    'ADMIN_NOT_FOUND',
    `there is no such stream; streams are: ${names.join(', ')}`,
  )
}

function metricsAnswer({ contentType, text }: { contentType: string; text: string }): AdminAnswer {
  return { status: 200, contentType, body: text }
}

async function pageAnswer(views: AdminViews): Promise<AdminAnswer> {
  // With the first look: a start loads nothing that no device waits for.
  const { PAGE_POLICY, pageHtml } = await import('./page.ts')
  const body = pageHtml(views.status(), views.ready())
  return { status: 200, contentType: 'text/html; charset=utf-8', body, policy: PAGE_POLICY }
}

function healthAnswer({ ok, reasons }: Health): AdminAnswer {
  return json(ok ? 200 : 503, { status: ok ? 'ok' : 'failed', reasons })
}

function json(status: number, value: unknown): AdminAnswer {
  return {
    status,
    contentType: 'application/json; charset=utf-8',
    body: `${JSON.stringify(value, null, 2)}\n`,
  }
}
