/**
 * A URL as logs, status, errors and pages may show it: without what could be a secret in it. Many
 * services put the token into the path, so a part of the path that looks like one is hidden, too; a
 * word of a person's is not. Works on texts that are no URLs: a mistake in the configuration must
 * not show what it holds.
 */
const HIDDEN = '(hidden)'

/** Longer than a word that somebody chose; or shorter, but mixed as nobody writes. */
const LONG_CHARS = 20
const MIXED_CHARS = 12
const MIXED_CASE_CHARS = 16

/** User, password, query and parts of the path that look like tokens are hidden. */
export function hideUrl(url: string): string {
  const [, start = '', user = '', host = '', path = '', query = '', rest = ''] =
    /^([a-z][a-z0-9+.-]*:\/*)?([^/?#]*@)?([^/?#]*)([^?#]*)(\?[^#]*)?(.*)$/is.exec(url) ?? []
  const parts = path.split('/').map((part) => (isLikeToken(part) ? HIDDEN : part))
  const shownUser = user === '' ? '' : `${HIDDEN}@`
  const shownQuery = query === '' ? '' : `?${HIDDEN}`
  return `${start}${shownUser}${host}${parts.join('/')}${shownQuery}${rest}`
}

/** The parts of a URL that {@link hideUrl} hides from its path and query, as they are. */
export function hiddenParts(url: URL): string[] {
  const parts = url.pathname.split('/').filter(isLikeToken)
  return url.search.length > 1 ? [...parts, url.search.slice(1)] : parts
}

function isLikeToken(part: string): boolean {
  if (part.length >= LONG_CHARS) return true
  if (part.length >= MIXED_CASE_CHARS && /[a-z]/.test(part) && /[A-Z]/.test(part)) return true
  return part.length >= MIXED_CHARS && /[0-9]/.test(part) && /[a-zA-Z]/.test(part)
}
