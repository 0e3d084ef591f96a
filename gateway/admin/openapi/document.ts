/**
 * The OpenAPI 3.1 document of the admin server, made of its table of routes: what each takes, who
 * may, what it answers. Pure.
 */
import { z } from 'zod'
import type { Route } from '../routes/route.ts'
import { ANSWERS } from './answers.ts'

type JsonSchema = Readonly<Record<string, unknown>>

/** `version`: of the product. */
export function openApiDocument(routes: readonly Route[], version: string): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const route of routes)
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route) }
  const schemas = Object.entries(ANSWERS).map(([name, schema]) => [name, schemaOf(schema)])
  return {
    openapi: '3.1.1',
    info: {
      title: 'Sluice admin server',
      version,
      description:
        'What an operator and his tools can ask of a running gateway. GET is for viewers, all of it for operators.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    // From where this document is: a proxy may give the server a prefix.
    servers: [{ url: '..' }],
    paths,
    components: {
      schemas: Object.fromEntries(schemas) as Record<string, JsonSchema>,
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'admin.token: an operator' },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'sluice',
          description:
            'Of a login; its name is __Host-sluice behind TLS, and __Secure-sluice below a prefix there.',
        },
      },
    },
  }
}

function operation(route: Route): object {
  const { method, path, summary, access, answers, body } = route
  return {
    operationId: operationId(method, path),
    summary,
    ...(access === 'anyone'
      ? { security: [] }
      : { description: `For ${access}s.`, security: [{ token: [] }, { session: [] }] }),
    parameters: [...pathParameters(path), ...queryParameters(route)],
    ...(body === null
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: schemaOf(body) } },
          },
        }),
    responses: { [answers.status]: answerOf(answers), ...refusals(route) },
  }
}

/** `postStreamsPark`: the method and the words of the path. */
function operationId(method: string, path: string): string {
  const words = path.split(/[^a-z]+/).filter((word) => word !== '' && word !== 'api')
  const named = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
  return `${method.toLowerCase()}${named || 'Page'}`
}

function pathParameters(path: string): object[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
}

function queryParameters({ query }: Route): object[] {
  if (query === null) return []
  const { properties = {}, required = [] } = schemaOf(query) as {
    properties?: Readonly<Record<string, JsonSchema>>
    required?: readonly string[]
  }
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }))
}

function answerOf(answers: Route['answers']): object {
  if (!('is' in answers)) return { description: 'Done.', content: { [answers.contentType]: {} } }
  return {
    description: 'Done.',
    content: { 'application/json': { schema: reference(answers.is) } },
  }
}

function refusals({ access, answers }: Route): object {
  const refusal = {
    description: 'Refused, with a code and what to do.',
    content: { 'application/json': { schema: reference('Refusal') } },
  }
  // A probe that fails says so in its own form.
  if ('is' in answers && answers.is === 'Health') return { 503: answerOf(answers) }
  return { ...(access === 'anyone' ? {} : { 401: refusal, 403: refusal }), default: refusal }
}

function reference(name: keyof typeof ANSWERS): object {
  return { $ref: `#/components/schemas/${name}` }
}

/** As it is sent: members that are not named may come with later versions. */
function schemaOf(schema: z.ZodType): JsonSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return rest
}
