/**
 * What keeps a stranger's web page out: a pure decision over one request's head. Who the caller is,
 * sign-in/ knows.
 *
 * Loopback alone is no protection from a browser on the same machine, and a cookie none from one
 * that is logged in: a page can point a name of its own at 127.0.0.1 (DNS rebinding) or post a form
 * across sites. So where loopback is trusted the Host must be a loopback name; cross-site requests
 * are refused, there are no CORS headers, and a POST must be JSON, which a form cannot send. Where
 * people log in, a page under a name of its own has no cookie, and a proxy may give any name.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { isLoopback } from '../shared/hosts.ts'
import type { AdminConfig } from './config.ts'
import { AdminError } from './errors.ts'
import { trustsLoopback } from './sign-in/caller.ts'

interface RequestHead {
  readonly headers: IncomingHttpHeaders
  /** A look that is for anyone, from a link on another site too. */
  readonly isPublic: boolean
  readonly takesBody: boolean
}

/** Throws {@link AdminError} for what may not be served. */
export function guard(
  { headers, isPublic, takesBody }: RequestHead,
  config: Pick<AdminConfig, 'host' | 'token' | 'usersFile'>,
): void {
  if (trustsLoopback(config)) checkHost(headers.host, config.host)
  if (!isPublic || takesBody) checkSite(headers)
  if (takesBody) checkContentType(headers['content-type'])
}

function checkHost(host: string | undefined, configured: string): void {
  const name = hostName(host ?? '')
  if (name !== null && (isLoopback(name) || name === configured.toLowerCase())) return
  throw new AdminError(
    'ADMIN_BAD_HOST',
    `without admin.usersFile and admin.token only this machine is served: the Host header must name it (localhost, 127.0.0.1, [::1]), and is ${JSON.stringify(host ?? '')}`,
  )
}

/** The name in a Host header, without its port; null for nonsense. */
function hostName(host: string): string | null {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?$/i.exec(host)
  return match?.[1]?.toLowerCase() ?? null
}

/** Browsers say where a request comes from; others say nothing. */
function checkSite(headers: IncomingHttpHeaders): void {
  const site = headers['sec-fetch-site']
  const { origin, host } = headers
  const sameSite = site === undefined || site === 'same-origin' || site === 'none'
  const sameOrigin =
    origin === undefined || origin === `http://${host}` || origin === `https://${host}`
  if (sameSite && sameOrigin) return
  throw new AdminError(
    'ADMIN_CROSS_SITE',
    sameSite
      ? `requests from other web sites are not served: this one is of ${JSON.stringify(origin)}, for the Host ${JSON.stringify(host ?? '')}. A proxy must pass on the Host that it was asked for (nginx: proxy_set_header Host $http_host)`
      : 'requests from other web sites are not served',
  )
}

function checkContentType(contentType: string | undefined): void {
  if (/^application\/json *(;.*)?$/i.test(contentType ?? '')) return
  throw new AdminError('ADMIN_CONTENT_TYPE', 'send Content-Type: application/json')
}
