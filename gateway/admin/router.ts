/**
 * Which route answers a request. Requests were guarded before they get here (guard.ts); bodies are
 * parsed JSON of bounded size.
 */
import type { RunningOperator } from '../ports/operator.ts'
import type { Views } from '../ports/status.ts'
import { AdminError } from './errors.ts'
import { deadLetterRoutes } from './routes/dead-letters.ts'
import { gatewayRoutes } from './routes/gateway.ts'
import type { AdminAnswer, AdminRequest, Route } from './routes/route.ts'
import { sinkRoutes } from './routes/sinks.ts'
import { spoolRoutes } from './routes/spool.ts'
import { statusRoutes } from './routes/status.ts'
import { streamRoutes } from './routes/streams.ts'
import { viewRoutes } from './routes/views.ts'

/** A function that answers requests; throws for those that it cannot. */
export function createRouter(
  views: Views,
  operator: RunningOperator,
): (request: AdminRequest) => Promise<AdminAnswer> {
  const routes = [
    ...viewRoutes(views, operator),
    ...statusRoutes(operator),
    ...gatewayRoutes(operator),
    ...sinkRoutes(operator),
    ...deadLetterRoutes(operator),
    ...streamRoutes(operator),
    ...spoolRoutes(operator),
  ]
  return (request) => dispatch(routes, request)
}

async function dispatch(routes: readonly Route[], request: AdminRequest): Promise<AdminAnswer> {
  const method = request.method === 'HEAD' ? 'GET' : request.method
  let allowed: string | null = null
  for (const route of routes) {
    const match = route.path.exec(request.path)
    if (match === null) continue
    if (route.method === method) return route.handle(request, match.slice(1))
    allowed = route.method
  }
  if (allowed !== null) throw new AdminError('ADMIN_METHOD', `${request.path} takes ${allowed}`)
  throw new AdminError('ADMIN_NOT_FOUND', 'no such path')
}
