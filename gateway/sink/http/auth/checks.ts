/** What the keys of `auth` say of each other, and of the rest of a sink that speaks HTTP. Pure. */
import type { Report } from '../../../config/problems.ts'
import type { Path } from '../../../config/walk.ts'
import { isLoopback } from '../../../shared/hosts.ts'
import { headerFault } from '../header-rules.ts'
import type { AwsAuthConfig, HttpAuthConfig, OAuth2Config } from './config.ts'

type Complaint = Parameters<Report['complain']>[1]
type Complain = (key: string, complaint: Complaint) => void

interface Beside {
  /** Of the sink. */
  readonly path: Path
  readonly allowInsecure: boolean
  readonly report: Report
}

export function checkAuth(auth: HttpAuthConfig, { path, allowInsecure, report }: Beside): void {
  const complain: Complain = (key, complaint) => report.complain([...path, 'auth', key], complaint)
  if (auth.kind === 'header') checkHeader(auth.name, complain)
  if (auth.kind === 'oauth2') checkOAuth2(auth, allowInsecure, complain)
  if (auth.kind === 'aws-sigv4') checkAws(auth, complain)
  if (auth.kind === 'azure-sas' && auth.receiver !== 'iot-hub' && auth.keyName === null)
    complain('keyName', {
      got: 'no keyName',
      wanted: `the policy that the key is of, which ${auth.receiver} looks it up by`,
      fix: 'add keyName, for example RootManageSharedAccessKey',
    })
}

/** Names of the headers that it sets, lower case. */
export function authHeaders(auth: HttpAuthConfig): readonly string[] {
  if (auth.kind === 'none') return []
  if (auth.kind === 'header') return [auth.name.toLowerCase()]
  if (auth.kind !== 'aws-sigv4') return ['authorization']
  return ['authorization', 'x-amz-date', 'x-amz-security-token', 'x-amz-content-sha256']
}

/** Does the request carry something that opens doors to whoever reads it? */
export function exposesSecret(auth: HttpAuthConfig): boolean {
  // A signature is of this one request.
  return auth.kind !== 'none' && auth.kind !== 'aws-sigv4'
}

function checkHeader(name: string, complain: Complain): void {
  const fault = headerFault(name)
  if (fault === null) return
  const wanted =
    fault === 'contract'
      ? 'none of Sluice-*, Content-*, Idempotency-Key: the ingest contract sets them'
      : 'no header that HTTP itself sets'
  complain('name', { got: name, wanted, fix: 'choose another name' })
}

function checkOAuth2(auth: OAuth2Config, allowInsecure: boolean, complain: Complain): void {
  const url = new URL(auth.tokenUrl)
  if (url.protocol === 'http:' && !isLoopback(url.hostname) && !allowInsecure)
    complain('tokenUrl', {
      got: 'plain http to another host, with the client secret',
      wanted: 'https, so that nobody on the way can read the secret',
      fix: 'write https:// in tokenUrl, or set allowInsecure to true',
    })
  for (const name of ['grant_type', 'scope', 'client_id', 'client_secret'])
    if (Object.hasOwn(auth.parameters, name))
      complain('parameters', {
        got: `the parameter ${name}`,
        wanted: 'parameters that no other key of auth sets',
        fix: 'remove it; see clientId, clientSecret, clientAuth and scope',
      })
}

function checkAws(auth: AwsAuthConfig, complain: Complain): void {
  const { accessKeyId, secretAccessKey, sessionToken, credentialsFile } = auth
  if ((accessKeyId === null) !== (secretAccessKey === null)) {
    const missing = accessKeyId === null ? 'accessKeyId' : 'secretAccessKey'
    const wanted = 'accessKeyId and secretAccessKey, or neither'
    complain(missing, { got: `no ${missing}`, wanted, fix: `add ${missing}` })
  }
  if (accessKeyId !== null && credentialsFile !== null)
    complain('credentialsFile', {
      got: 'credentialsFile beside accessKeyId',
      wanted: 'one of the two: keys that belong together come from one place',
      fix: 'remove one',
    })
  if (accessKeyId === null && sessionToken !== null)
    complain('sessionToken', {
      got: 'sessionToken without accessKeyId',
      wanted: 'the keys that it belongs to beside it',
      fix: 'add accessKeyId and secretAccessKey, or put all three into credentialsFile',
    })
}
