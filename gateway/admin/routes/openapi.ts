/** The OpenAPI document of all routes. */
import type { Operator } from '../../ports/operator.ts'
import { json, type Route, route } from './route.ts'

/** `routes`: all others. */
export function openApiRoute(routes: readonly Route[], operator: Operator): Route {
  const own: Route = route({
    method: 'GET',
    path: '/api/openapi.json',
    access: 'viewer',
    summary: 'This document.',
    answers: { status: 200, is: 'OpenApi' },
    handle: async () => {
      // Loaded with the first request for it: nobody at a start waits for schemas.
      const { openApiDocument } = await import('../openapi/document.ts')
      const { version } = await operator.status()
      return json(200, openApiDocument([...routes, own], version))
    },
  })
  return own
}
