/**
 * What one key's schema cannot see of an HTTP sink: secrets over plain http, headers that are not
 * its to set, statuses that may not mean what `answers` says. Pure.
 */
import { type Report, showValue } from '../../config/problems.ts'
import type { Path } from '../../config/walk.ts'
import { isLoopback } from '../../shared/hosts.ts'
import type { AnswerMeaning, HttpSinkConfig } from './config.ts'
import { headerFault } from './header-rules.ts'

/** What the keys of one sink say of each other. */
export function checkHttpSink(path: Path, sink: HttpSinkConfig, report: Report): void {
  const url = new URL(sink.url)
  checkHeaders(path, sink, report)
  checkAnswers(path, sink, report)
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
  if (sink.ack === 'status' && sink.ackStatus.includes(202))
    report.warn(
      [...path, 'ackStatus'],
      '202 means "not done yet": a sink that loses it afterwards has lost it for good',
    )
}

function checkHeaders(path: Path, { headers, bearerToken }: HttpSinkConfig, report: Report): void {
  const seen = new Set<string>()
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
  if (Object.keys(sink.headers).length > 0) return 'headers'
  return url.search === '' ? null : 'a query in the URL'
}

/** They speak of what was sent, and nothing between here and the sink answers them on its own. */
const MAY_ACK: readonly number[] = [409, 422]

/** They speak of who asks, when, or how the service is: the records have nothing to do with it. */
const NOT_OF_RECORDS: readonly number[] = [401, 402, 407, 408, 425, 429, 502, 503, 504, 511]

function checkAnswers(path: Path, { answers }: HttpSinkConfig, report: Report): void {
  for (const [key, meaning] of Object.entries(answers)) {
    const fault = faultOf(key, meaning)
    if (fault !== null)
      report.complain([...path, 'answers', key], { got: `${key}: ${meaning}`, ...fault })
  }
}

function faultOf(key: string, meaning: AnswerMeaning): { wanted: string; fix: string } | null {
  const status = /^[1-9]\d\d$/.test(key) ? Number(key) : 0
  if (status < 200 || status > 599) {
    return { wanted: 'a status from 300 to 599', fix: 'write the status of an answer, such as 409' }
  }
  if (status < 300) {
    const fix =
      meaning === 'acked' ? `list ${status} in ackStatus` : `leave ${status} out of ackStatus`
    return { wanted: 'a status from 300 to 599: ackStatus says which of 2xx ack', fix }
  }
  if (meaning === 'acked' && !MAY_ACK.includes(status)) {
    const wanted = `acked for ${MAY_ACK.join(', ')} alone: others come from portals and proxies, too`
    return { wanted, fix: 'write retry or hold: both keep the records' }
  }
  const judges = meaning === 'refused' || meaning === 'too-large'
  if (judges && (status < 400 || NOT_OF_RECORDS.includes(status))) {
    const wanted = `a status that speaks of the records, not ${status}`
    return { wanted, fix: 'write retry or hold: both keep the records' }
  }
  return null
}
