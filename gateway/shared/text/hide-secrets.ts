/**
 * Words of the far side without what was shown to it in confidence: servers like to quote what they
 * do not take. Pure.
 */

/** A shorter one would hide words that are none. */
const MIN_SECRET_CHARS = 6

const HIDDEN = '(hidden)'

/** Behind words that were cut. */
const CUT = '…'

/** @param secrets what a message may not show, as it may be quoted */
export function hideSecrets(text: string, secrets: readonly string[]): string {
  let shown = text
  // One may be a part of another.
  for (const secret of secrets.toSorted((one, other) => other.length - one.length)) {
    if (secret.length < MIN_SECRET_CHARS) continue
    shown = hideCut(shown.replaceAll(secret, HIDDEN), secret)
  }
  return shown
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
