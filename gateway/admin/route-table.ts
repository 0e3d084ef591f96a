/**
 * The table of routes, and which of them answers a request. Whether the caller may have it is the
 * guard's (guard.ts); what it sends is checked by the route.
 */
import { AdminError } from './errors.ts'
import type { Route } from './routes/route.ts'

/** A segment that stands for a name: of streams, sinks, ids. */
const SEGMENT = '[A-Za-z0-9][A-Za-z0-9._:-]{0,127}'

interface Found {
  readonly route: Route
  readonly params: Readonly<Record<string, string>>
}

export class RouteTable {
  readonly #entries: ReadonlyArray<{ readonly route: Route; readonly pattern: RegExp }>

  constructor(routes: readonly Route[]) {
    this.#entries = routes.map((route) => ({ route, pattern: patternOf(route.path) }))
  }

  /** The route of a request, or what is wrong about it. HEAD is a GET. */
  find(method: string, path: string): Found | AdminError {
    const asked = method === 'HEAD' ? 'GET' : method
    const allowed: string[] = []
    for (const { route, pattern } of this.#entries) {
      const match = pattern.exec(path)
      if (match === null) continue
      if (route.method === asked) return { route, params: { ...match.groups } }
      allowed.push(route.method)
    }
    if (allowed.length === 0) return new AdminError('ADMIN_NOT_FOUND', 'no such path')
    return new AdminError('ADMIN_METHOD', `${path} takes ${allowed.join(' and ')}`)
  }
}

function patternOf(path: string): RegExp {
  const named = (_: string, name: string): string => `(?<${name}>${SEGMENT})`
  return new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{(\w+)\}/g, named)}$`)
}
