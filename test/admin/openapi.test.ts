/**
 * The OpenAPI document: it is one, it has every route, and what is really answered is what it says,
 * with no member that it does not name.
 */
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { z } from 'zod'
import { ANSWERS } from '../../gateway/admin/openapi/answers.ts'
import { allRoutes } from '../../gateway/admin/routes/all.ts'
import { type AdminFixture, startAdmin } from './admin-fixture.ts'

interface OpenApi {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

interface Operation {
  readonly operationId: string
  readonly security: readonly object[]
  readonly parameters: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: object
  readonly responses: Readonly<Record<string, object>>
}

const routes = allRoutes({ operator: { deadLetters: {} } } as Parameters<typeof allRoutes>[0])

let admin: AdminFixture
let document: OpenApi

beforeEach(async () => {
  admin = await startAdmin({ token: { value: 't0ken' } })
  document = (await admin.get('/api/openapi.json', AUTHORIZED)).body as OpenApi
})
afterEach(() => admin.stop())

const AUTHORIZED = { authorization: 'Bearer t0ken' }

test('is a valid document of OpenAPI 3.1', async () => {
  const result = await new Validator().validate({ ...document })
  expect(result.errors).toBeUndefined()
  expect(result.valid).toBe(true)
  expect(document.openapi).toBe('3.1.1')
})

test('has every route, each under a name of its own, and who may', () => {
  const documented = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ path, method, operation })),
  )
  const named = ({ path, method }: { readonly path: string; readonly method: string }) =>
    `${method.toUpperCase()} ${path}`
  expect(documented.map(named).toSorted()).toEqual(routes.map(named).toSorted())
  const ids = documented.map(({ operation }) => operation.operationId)
  expect(new Set(ids).size).toBe(ids.length)
  for (const route of routes) {
    const operation = document.paths[route.path]?.[route.method.toLowerCase()]
    expect(operation?.security.length, route.path).toBe(route.access === 'anyone' ? 0 : 2)
    expect(operation?.requestBody !== undefined, route.path).toBe(route.body !== null)
  }
  expect(document.paths['/api/dead-letters']?.['get']?.parameters).toEqual([
    expect.objectContaining({ name: 'stream', in: 'query', required: true }),
    expect.objectContaining({ name: 'limit', required: false }),
    expect.objectContaining({ name: 'after', required: false }),
  ])
})

/** What to ask a route for so that it has something to answer. */
const SAMPLES: Readonly<Record<string, { readonly path?: string; readonly body?: object }>> = {
  'POST /api/login': { body: { token: 't0ken' } },
  'GET /api/dead-letters': { path: '/api/dead-letters?stream=telemetry' },
  'POST /api/dead-letters/requeue': { body: { stream: 'telemetry', all: true } },
  // The fake fails at it: the form of a refusal.
  'POST /api/dead-letters/purge': { body: { stream: 'telemetry', all: true } },
  'DELETE /api/devices/{device}': { path: '/api/devices/press%2F7' },
  'POST /api/log-level': { body: { level: 'debug' } },
  'POST /api/streams/{stream}/drain': { body: { sink: 'cloud' } },
  'POST /api/streams/{stream}/park': { body: { seq: 7 } },
  'GET /api/test-reading/{id}': { path: '/api/test-reading/edge-01:k3f9:telemetry:102' },
}

test('what is really answered is what it says, and nothing beside', async () => {
  const answered: string[] = []
  for (const { method, path, answers } of routes) {
    if (!('is' in answers)) continue
    const key = `${method} ${path}`
    const { path: given = path, body = {} } = SAMPLES[key] ?? {}
    const url = given.replace('{stream}', 'telemetry').replace('{sink}', 'cloud')
    const answer = await {
      GET: () => admin.get(url, AUTHORIZED),
      POST: () => admin.post(url, body, AUTHORIZED),
      DELETE: () => admin.delete(url, AUTHORIZED),
    }[method]()
    const isRefusal = answer.status >= 400
    if (!isRefusal) {
      expect([key, answer.status]).toEqual([key, answers.status])
      answered.push(path)
    }
    const schema: z.ZodType = ANSWERS[isRefusal ? 'Refusal' : answers.is]
    const parsed = schema.safeParse(answer.body)
    expect([key, parsed.error?.issues]).toEqual([key, undefined])
    // The schema drops members that it does not name.
    expect(parsed.data).toEqual(answer.body)
  }
  const all = routes.filter(({ answers }) => 'is' in answers).map(({ path }) => path)
  expect(all.filter((path) => !answered.includes(path))).toEqual(['/api/dead-letters/purge'])
})
