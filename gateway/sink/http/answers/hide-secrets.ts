/** What a receiver may quote of a request and no message may show; an answer without it. Pure. */
import type { SinkAnswer } from '../../../ports/sink.ts'
import { hideSecrets } from '../../../shared/text/hide-secrets.ts'
import { hiddenParts } from '../../../shared/text/hide-url.ts'
import type { HeaderPair } from '../header-rules.ts'

/** Parameters of a query that hold one; others name what a receiver complains of: a database. */
const SECRET_PARAMETER = /^(?:u|p|auth|code|sig)$|pass|token|key|secret|signature/i

/** Of requests to `url` with these headers. */
export function secretsOf(url: URL, headers: readonly HeaderPair[]): readonly string[] {
  const parameters = [...url.searchParams].flatMap(([name, value]) =>
    SECRET_PARAMETER.test(name) ? [value] : [],
  )
  return [...hiddenParts(url), ...parameters, ...headers.flatMap(([, value]) => told(value))]
}

/** A header's value without its scheme, and of Basic the password. */
function told(value: string): string[] {
  const bare = value.replace(/^\S+ /, '')
  if (!/^Basic /i.test(value)) return [bare, ...signatureIn(value)]
  const pair = Buffer.from(bare, 'base64').toString()
  return [bare, pair, pair.slice(pair.indexOf(':') + 1)]
}

/** Of a token of Azure: whoever has it makes the token of it. */
export function signatureIn(token: string): string[] {
  const signature = /^SharedAccessSignature .*\bsig=([^&]+)/.exec(token)?.[1]
  return signature === undefined ? [] : [signature, decodeURIComponent(signature)]
}

/** In all that it says. */
export function hideInAnswer(answer: SinkAnswer, secrets: readonly string[]): SinkAnswer {
  if ('detail' in answer) return { ...answer, detail: hideSecrets(answer.detail, secrets) }
  const listed = answer.listed.map(({ reason, ...one }) => ({
    ...one,
    reason: reason === null ? null : hideSecrets(reason, secrets),
  }))
  return { ...answer, listed }
}
