/**
 * What one key's schema cannot see of an HTTP sink: secrets over plain http, headers that are not
 * its to set, statuses that may not mean what `answers` says. Pure.
 */
import { type Report, showValue } from '../../config/problems.ts'
import type { Path } from '../../config/walk.ts'
import { isLoopback } from '../../shared/hosts.ts'
import { answerFaults, answerRules } from './answers/rules.ts'
import { authHeaders, checkAuth, exposesSecret } from './auth/checks.ts'
import type { HttpSinkConfig } from './config.ts'
import { checkFormat } from './formats/registry.ts'
import { headerFault } from './header-rules.ts'
import { checkProxy } from './proxy/config.ts'

/** What the keys of one sink say of each other. */
export function checkHttpSink(path: Path, sink: HttpSinkConfig, report: Report): void {
  const url = new URL(sink.url)
  checkHeaders(path, sink, report)
  checkAuth(sink.auth, { path, allowInsecure: sink.allowInsecure, report })
  checkProxy(path, sink.proxy, report)
  for (const fault of answerFaults(sink)) report.complain([...path, ...fault.path], fault.complaint)
  checkFormat([...path, 'format'], sink, report)
  if (url.protocol === 'http:') {
    if (sink.tls !== null) {
      const fix = 'write https:// in url, or remove tls'
      report.complain([...path, 'tls'], {
        got: 'TLS files for a plain http URL',
        wanted: 'an https URL',
        fix,
      })
    }
    const what = secretsOf(sink, url)
    if (what !== null && !isLoopback(url.hostname) && !sink.allowInsecure) {
      report.complain([...path, 'url'], {
        got: `plain http to another host, with ${what}`,
        wanted: 'https, so that nobody on the way can read the secret',
        fix: 'write https:// in url, or set allowInsecure to true',
      })
    }
  }
  const { cert = null, key = null } = sink.tls ?? {}
  if ((cert === null) !== (key === null)) {
    const missing = cert === null ? 'cert' : 'key'
    report.complain([...path, 'tls'], {
      got: `no ${missing}`,
      wanted: 'cert and key, or neither',
      fix: `add ${missing}`,
    })
  }
  if (sink.ack !== 'body' && answerRules(sink).meaningOf(202) === 'acked')
    report.warn(
      [...path, sink.ackStatus.includes(202) ? 'ackStatus' : 'answers'],
      '202 means "not done yet": a sink that loses it afterwards has lost it for good',
    )
}

function checkHeaders(path: Path, sink: HttpSinkConfig, report: Report): void {
  const { headers, bearerToken, auth } = sink
  const seen = new Set<string>()
  const ofAuth = authHeaders(auth)
  if (bearerToken !== null && ofAuth.includes('authorization')) {
    const got = `bearerToken beside auth of kind ${auth.kind}`
    const fix = 'remove bearerToken or auth'
    report.complain([...path, 'bearerToken'], { got, wanted: 'one of the two', fix })
  }
  for (const header of Object.keys(headers)) {
    const here = [...path, 'headers', header]
    const got = `the header ${showValue(header)}`
    const lower = header.toLowerCase()
    const fault = headerFault(header)
    if (fault === 'no-name') {
      const wanted = 'a header name: letters, digits and - without spaces'
      report.complain(here, { got, wanted, fix: 'rename it' })
    } else if (fault === 'contract') {
      const wanted = 'none of Sluice-*, Content-*, Idempotency-Key: the ingest contract sets them'
      report.complain(here, { got, wanted, fix: 'remove it, or choose another name' })
    } else if (fault === 'connection') {
      report.complain(here, { got, wanted: 'no header that HTTP itself sets', fix: 'remove it' })
    } else if (lower === 'authorization' && bearerToken !== null) {
      const fix = 'remove the header or bearerToken'
      report.complain(here, { got: `${got} beside bearerToken`, wanted: 'one of the two', fix })
    } else if (ofAuth.includes(lower)) {
      const fix = 'remove the header, or auth'
      report.complain(here, { got: `${got} beside auth`, wanted: 'one of the two', fix })
    } else if (seen.has(lower)) {
      report.complain(here, {
        got: `${got} twice`,
        wanted: 'each header once',
        fix: 'remove one of the two',
      })
    }
    seen.add(lower)
  }
}

/**
 * What of a request is a secret, in words: everything that is hidden when the configuration is
 * printed.
 */
function secretsOf(sink: HttpSinkConfig, url: URL): string | null {
  if (sink.bearerToken !== null) return 'a bearerToken'
  if (exposesSecret(sink.auth)) return 'credentials of auth'
  if (Object.keys(sink.headers).length > 0) return 'headers'
  return url.search === '' ? null : 'a query in the URL'
}
