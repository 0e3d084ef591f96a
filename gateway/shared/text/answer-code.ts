/**
 * A receiver's own code for an answer: an HTTP status, an SQLSTATE, an errno. Stages hand it on as
 * text; where it is stored, logged or listed, whole numbers are numbers, as HTTP statuses always
 * were there. Nothing is lost either way.
 */
export type WrittenCode = number | string | null

export function writtenCode(code: string | null): WrittenCode {
  const number = Number(code)
  return code !== null && Number.isSafeInteger(number) && String(number) === code ? number : code
}

export function codeOf(written: WrittenCode): string | null {
  return written === null ? null : String(written)
}
