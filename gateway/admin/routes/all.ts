/** The table of routes, in the order in which documents show it. */
import type { RunningOperator } from '../../ports/operator.ts'
import type { Views } from '../../ports/status.ts'
import type { Trials } from '../../ports/trials.ts'
import type { EventStreams } from '../live/event-streams.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import { configurationRoutes } from './configuration.ts'
import { deadLetterRoutes } from './dead-letters.ts'
import { deviceRoutes } from './devices.ts'
import { eventRoutes } from './events.ts'
import { gatewayRoutes } from './gateway.ts'
import { openApiRoute } from './openapi.ts'
import { readingRoutes } from './readings.ts'
import type { Route } from './route.ts'
import { sessionRoutes } from './session.ts'
import { sinkRoutes } from './sinks.ts'
import { spoolRoutes } from './spool.ts'
import { statusRoutes } from './status.ts'
import { streamRoutes } from './streams.ts'
import { viewRoutes } from './views.ts'

interface RouteSources {
  readonly views: Views
  readonly operator: RunningOperator
  readonly trials: Trials
  readonly signIn: SignIn
  readonly streams: EventStreams
}

export function allRoutes({
  views,
  operator,
  trials,
  signIn,
  streams,
}: RouteSources): readonly Route[] {
  const routes = [
    ...viewRoutes(views, operator),
    ...sessionRoutes(signIn),
    ...statusRoutes(operator),
    ...eventRoutes(streams),
    ...gatewayRoutes(operator),
    ...configurationRoutes(operator),
    ...deviceRoutes(operator),
    ...sinkRoutes(operator, trials),
    ...readingRoutes(trials),
    ...deadLetterRoutes(operator),
    ...streamRoutes(operator),
    ...spoolRoutes(operator),
  ]
  return [...routes, openApiRoute(routes, operator)]
}
