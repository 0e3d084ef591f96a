/**
 * What a route is, and what routes do alike. A route says of itself who may ask for it, what it
 * takes and what it answers; the server and the OpenAPI document (openapi/) read it
 * there.
 */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { z } from 'zod'
import type { Operator } from '../../ports/operator.ts'
import { AdminError } from '../errors.ts'
import type { AnswerName } from '../openapi/answers.ts'
import type { Caller, Role } from '../sign-in/caller.ts'

/** A request that its guard let through. */
interface AdminRequest {
  /** By the names in the route's path. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** Parsed JSON; null without a body. */
  readonly body: unknown
  readonly headers: IncomingHttpHeaders
  /** The address of the other end. */
  readonly remote: string
  /** null: not asked for, the route is for anyone. */
  readonly caller: Caller | null
  /** Would the caller be let in now, too? For answers that last. */
  readonly mayStay: () => Promise<boolean>
}

export interface AdminAnswer {
  readonly status: number
  readonly contentType: string
  /** A function writes it by itself, for as long as the connection lasts. */
  readonly body: string | Uint8Array | AsyncIterable<Uint8Array> | ((out: ServerResponse) => void)
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  /** Content-Security-Policy. @default nothing at all */
  readonly policy?: string
}

/** What a route answers if all is well. */
type Answers =
  | { readonly status: number; readonly is: AnswerName }
  | { readonly status: number; readonly contentType: string }

interface RouteHead {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** `/api/streams/{stream}/park`: a name in braces stands for one segment. */
  readonly path: string
  /** The least that the caller has to be. */
  readonly access: 'anyone' | Role
  /** One line for the OpenAPI document. */
  readonly summary: string
  readonly answers: Answers
  /** Its answer may take longer than a connection may be idle. */
  readonly isSlow?: true
}

export interface Route extends RouteHead {
  readonly query: z.ZodType | null
  readonly body: z.ZodType | null
  /** Throws for what it cannot answer. */
  readonly handle: (request: AdminRequest) => Promise<AdminAnswer>
}

/** The names in braces of a path. */
type Params<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? Readonly<Record<Name, string>> & Params<Rest>
  : unknown

interface RouteText<Path extends string, Query, Body> extends RouteHead {
  readonly path: Path
  /** What it takes behind the `?`, as text each; its messages say what is wanted. */
  readonly query?: z.ZodType<Query>
  readonly body?: z.ZodType<Body>
  /** What to send, for a caller who sent another body. */
  readonly wanted?: string
  readonly handle: (asked: {
    readonly params: Params<Path>
    readonly query: Query
    readonly body: Body
    readonly request: AdminRequest
  }) => Promise<AdminAnswer>
}

/** A route whose query and body are checked before it is asked. */
export function route<const Path extends string, Query = undefined, Body = undefined>({
  query,
  body,
  wanted = 'another body',
  handle,
  ...head
}: RouteText<Path, Query, Body>): Route {
  return {
    ...head,
    query: query ?? null,
    body: body ?? null,
    handle: async (request) =>
      handle({
        params: request.params as Params<Path>,
        query: parse(query, Object.fromEntries(request.query), null) as Query,
        body: parse(body, request.body, `send ${wanted}`) as Body,
        request,
      }),
  }
}

/** @throws AdminError ADMIN_BAD_REQUEST with `message`, else with what the schema says */
function parse<T>(
  schema: z.ZodType<T> | undefined,
  value: unknown,
  message: string | null,
): unknown {
  if (schema === undefined) return undefined
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const said = parsed.error.issues[0]?.message ?? 'that is not understood'
  throw new AdminError('ADMIN_BAD_REQUEST', message ?? said)
}

/** How many a page has at most, as text of a query. @default 100 */
export function pageLimit(max: number): z.ZodType<number> {
  const wanted = `limit is a number from 1 to ${max}`
  return z
    .string()
    .regex(/^\d{1,6}$/, wanted)
    .transform(Number)
    .pipe(z.number().min(1, wanted).max(max, wanted))
    .prefault('100')
}

export function json(status: number, value: unknown): AdminAnswer {
  return {
    status,
    contentType: 'application/json; charset=utf-8',
    body: `${JSON.stringify(value, null, 2)}\n`,
  }
}

/** @throws AdminError that names the streams there are */
export async function requireStream(name: string, operator: Operator): Promise<void> {
  const names = (await operator.status()).streams.map((stream) => stream.name)
  if (names.includes(name)) return
  throw new AdminError(
    'ADMIN_NOT_FOUND',
    `there is no such stream; streams are: ${names.join(', ')}`,
  )
}
