/** What one key's schema cannot see of an object sink: keys that contradict each other. Pure. */
import type { Report } from '../../config/problems.ts'
import type { Path } from '../../config/walk.ts'
import { isLoopback } from '../../shared/hosts.ts'
import { checkAuth, exposesSecret } from '../http/auth/checks.ts'
import { checkProxy } from '../http/proxy/config.ts'
import { httpAuthOf, type ObjectSinkConfig } from './config.ts'

/** They are part of the exchange. */
const OURS =
  /^(authorization|host|connection|transfer-encoding|expect|if-.*|content-.*|x-amz-(date|content-sha256|security-token)|destination|overwrite)$/

export function checkObjectSink(path: Path, sink: ObjectSinkConfig, report: Report): void {
  const { auth, headers, store, temporaryNames, tls } = sink
  const url = new URL(sink.url)
  checkAuth(httpAuthOf(auth), { path, allowInsecure: sink.allowInsecure, report })
  checkProxy(path, sink.proxy, report)
  if (store === 's3' && temporaryNames)
    report.complain([...path, 'temporaryNames'], {
      got: 'temporary names in an S3 store',
      wanted: 'none: an object of S3 is never seen in part',
      fix: 'remove temporaryNames, or set store to dav',
    })
  if (store === 'dav' && auth.kind === 'aws-sigv4')
    report.complain([...path, 'auth', 'kind'], {
      got: 'aws-sigv4 for a WebDAV server',
      wanted: 'basic, bearer or none',
      fix: 'set kind to basic, or store to s3',
    })
  for (const name of Object.keys(headers)) {
    if (OURS.test(name.toLowerCase()))
      report.complain([...path, 'headers', name], {
        got: `the header ${name}`,
        wanted: 'no header that the exchange itself sets',
        fix: name.toLowerCase() === 'authorization' ? 'use auth' : 'remove it',
      })
  }
  if (url.protocol === 'http:') {
    if (tls !== null)
      report.complain([...path, 'tls'], {
        got: 'TLS files for a plain http URL',
        wanted: 'an https URL',
        fix: 'write https:// in url, or remove tls',
      })
    // A signature shows no key to those on the way; what it was made for can be read.
    const isShown = exposesSecret(httpAuthOf(auth)) || Object.keys(headers).length > 0
    if (isShown && !isLoopback(url.hostname) && !sink.allowInsecure)
      report.complain([...path, 'url'], {
        got: 'plain http to another host, with credentials or headers',
        wanted: 'https, so that nobody on the way can read them',
        fix: 'write https:// in url, or set allowInsecure to true',
      })
  }
  if (((tls?.cert ?? null) === null) !== ((tls?.key ?? null) === null)) {
    const missing = (tls?.cert ?? null) === null ? 'cert' : 'key'
    report.complain([...path, 'tls'], {
      got: `no ${missing}`,
      wanted: 'cert and key, or neither',
      fix: `add ${missing}`,
    })
  }
}
