/**
 * Who may ask the admin server for what: a pure decision over one request's head.
 *
 * - Another address than loopback without a token serves the open paths and nothing else.
 * - With a token, everything under /api needs it, on loopback too.
 * - Loopback alone is no protection from a browser on the same machine: a page can point a name of
 *   its own at 127.0.0.1 (DNS rebinding) or post a form across sites. So on loopback the Host must
 *   be a loopback name, cross-site requests are refused, there are no CORS headers, and a POST must
 *   be JSON, which a form cannot send.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { isLoopback } from '../shared/hosts.ts'
import { AdminError } from './errors.ts'

/**
 * Served without a token on every address: nothing in them identifies a device or a reading.
 */
const OPEN_PATHS: ReadonlySet<string> = new Set([
  '/',
  '/favicon.ico',
  '/metrics',
  '/livez',
  '/readyz',
])

interface GuardPolicy {
  /** `admin.host`. */
  readonly host: string
  /** null: none is configured. */
  readonly token: string | null
}

interface RequestHead {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
}

/** Throws {@link AdminError} for what may not be served. */
export function guard(request: RequestHead, policy: GuardPolicy): void {
  const loopback = isLoopback(policy.host)
  if (loopback) checkHost(header(request, 'host'), policy.host)
  if (OPEN_PATHS.has(request.path)) return
  checkSite(request)
  if (policy.token !== null) checkToken(header(request, 'authorization'), policy.token)
  else if (!loopback) {
    throw new AdminError(
      'ADMIN_TOKEN_REQUIRED',
      `the admin server listens on ${policy.host} without a token and serves only /, /metrics, /livez and /readyz; set admin.token, or listen on 127.0.0.1`,
    )
  }
  if (request.method === 'POST') checkContentType(header(request, 'content-type'))
}

function checkHost(host: string | undefined, configured: string): void {
  const name = hostName(host ?? '')
  if (name !== null && (isLoopback(name) || name === configured.toLowerCase())) return
  throw new AdminError(
    'ADMIN_BAD_HOST',
    `the Host header must name this machine (localhost, 127.0.0.1, [::1]); it is ${JSON.stringify(host ?? '')}`,
  )
}

/** The name in a Host header, without its port; null for nonsense. */
function hostName(host: string): string | null {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?$/i.exec(host)
  return match?.[1]?.toLowerCase() ?? null
}

/** Browsers say where a request comes from; others say nothing. */
function checkSite(request: RequestHead): void {
  const site = header(request, 'sec-fetch-site')
  const origin = header(request, 'origin')
  const sameSite = site === undefined || site === 'same-origin' || site === 'none'
  const host = header(request, 'host')
  const sameOrigin =
    origin === undefined || origin === `http://${host}` || origin === `https://${host}`
  if (sameSite && sameOrigin) return
  throw new AdminError('ADMIN_CROSS_SITE', 'requests from other web sites are not served')
}

function checkToken(authorization: string | undefined, token: string): void {
  const given = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
  if (given !== undefined && sameSecret(given, token)) return
  throw new AdminError(
    'ADMIN_UNAUTHORIZED',
    given === undefined ? 'send the token: Authorization: Bearer <admin.token>' : 'wrong token',
  )
}

/** In time that does not depend on where they differ, nor on their lengths. */
function sameSecret(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text, 'utf8').digest()
  return timingSafeEqual(digest(a), digest(b))
}

function checkContentType(contentType: string | undefined): void {
  if (/^application\/json *(;.*)?$/i.test(contentType ?? '')) return
  throw new AdminError('ADMIN_CONTENT_TYPE', 'send Content-Type: application/json')
}

function header(request: RequestHead, name: string): string | undefined {
  const value = request.headers[name]
  return typeof value === 'string' ? value : undefined
}
