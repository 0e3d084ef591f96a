/** What a preview or a test of a sink answered, for a person. Pure. */

/** Text as it is; anything else as indented JSON. */
export function trialText(answer: unknown): string {
  const text = (answer as { readonly text?: unknown } | null)?.text
  return typeof text === 'string' ? text : JSON.stringify(answer, null, 2)
}
