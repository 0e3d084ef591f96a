/**
 * The table of routes, and which of them answers a request. Whether the caller may have it is the
 * guard's (guard.ts); what it sends is checked by the route.
 */
import { AdminError } from './errors.ts'
import type { Route } from './routes/route.ts'

/** A segment that stands for a name, encoded as in any URL: of streams, sinks, devices, ids. */
const SEGMENT = '[^/]+'

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
      if (route.method !== asked) {
        allowed.push(route.method)
        continue
      }
      const params = decoded(match.groups ?? {})
      if (params !== null) return { route, params }
      return new AdminError('ADMIN_BAD_REQUEST', `${path} is not percent-encoded UTF-8`)
    }
    if (allowed.length === 0) return new AdminError('ADMIN_NOT_FOUND', 'no such path')
    return new AdminError('ADMIN_METHOD', `${path} takes ${allowed.join(' and ')}`)
  }
}

/** null: that is no encoding. */
function decoded(
  groups: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> | null {
  try {
    const entries = Object.entries(groups)
    return Object.fromEntries(entries.map(([name, text]) => [name, decodeURIComponent(text)]))
  } catch {
    return null
  }
}

function patternOf(path: string): RegExp {
  const named = (_: string, name: string): string => `(?<${name}>${SEGMENT})`
  return new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{(\w+)\}/g, named)}$`)
}
