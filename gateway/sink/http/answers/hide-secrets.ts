/**
 * Words of a sink without what was shown to it in confidence: servers like to quote what they do not
 * take, the URL's token and the credentials with it. Pure.
 */
import type { SinkAnswer } from '../../../ports/sink.ts'
import { hiddenParts } from '../../../shared/text/hide-url.ts'
import type { HeaderPair } from '../header-rules.ts'

/** A shorter one would hide words that are none. */
const MIN_SECRET_CHARS = 6

const HIDDEN = '(hidden)'

/** Parameters of a query that hold one; others name what a receiver complains of: a database. */
const SECRET_PARAMETER = /^(?:u|p|auth|code|sig)$|pass|token|key|secret|signature/i

/** Behind words that were cut: {@link printable}. */
const CUT = '…'

/** What no message about requests to `url` with these headers may show, the longest first. */
export function secretsOf(url: URL, headers: readonly HeaderPair[]): readonly string[] {
  const parameters = [...url.searchParams].flatMap(([name, value]) =>
    SECRET_PARAMETER.test(name) ? [value] : [],
  )
  const shown = [...hiddenParts(url), ...parameters, ...headers.flatMap(([, value]) => told(value))]
  return [...new Set(shown)]
    .filter(({ length }) => length >= MIN_SECRET_CHARS)
    .toSorted((one, other) => other.length - one.length)
}

/** A header's value with and without its scheme, and of Basic the password. */
function told(value: string): string[] {
  const bare = value.replace(/^\S+ /, '')
  if (!/^Basic /i.test(value)) return [bare]
  const pair = Buffer.from(bare, 'base64').toString()
  return [bare, pair, pair.slice(pair.indexOf(':') + 1)]
}

export function hideSecrets(text: string, secrets: readonly string[]): string {
  let shown = text
  for (const secret of secrets) {
    shown = shown.replaceAll(secret, HIDDEN)
    shown = hideCut(shown, secret)
  }
  return shown
}

/** The same in all that an answer says. */
export function hideInAnswer(answer: SinkAnswer, secrets: readonly string[]): SinkAnswer {
  if ('detail' in answer) return { ...answer, detail: hideSecrets(answer.detail, secrets) }
  const listed = answer.listed.map((one) =>
    'reason' in one && typeof one.reason === 'string'
      ? { ...one, reason: hideSecrets(one.reason, secrets) }
      : one,
  )
  return { ...answer, listed }
}

/** Its beginning, where the words were cut within it. */
function hideCut(text: string, secret: string): string {
  if (!text.includes(CUT)) return text
  for (let length = secret.length - 1; length >= MIN_SECRET_CHARS; length -= 1) {
    const begin = secret.slice(0, length) + CUT
    if (text.includes(begin)) return text.replaceAll(begin, HIDDEN + CUT)
  }
  return text
}
