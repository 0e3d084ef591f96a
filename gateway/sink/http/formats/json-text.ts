/** Whether a body is the JSON that its Content-Type says it is. Pure. */

/** One JSON text, or, as many services take it under the same type, one on each line. */
const JSON_TYPE = /^(?:application|text)\/(?:[\w.-]+\+)?json(?:$|[\s;])/i
const LINES_TYPE =
  /^(?:application|text)\/(?:x-)?(?:nd-?json|json-?lines|jsonl|json-seq)(?:$|[\s;])/i

/** What is wrong with the body, in the words of the parser; null: nothing, or it need not be JSON. */
export function jsonFault(body: string, contentType: string): string | null {
  const isText = JSON_TYPE.test(contentType)
  if (!isText && !LINES_TYPE.test(contentType)) return null
  const asText = faultOf(body)
  if (asText === null) return null
  const lines = body.split('\n').filter((line) => line.trim() !== '')
  const ofLines = lines.map(faultOf).find((fault) => fault !== null) ?? null
  if (lines.length > 0 && ofLines === null) return null
  return isText ? asText : (ofLines ?? 'it is empty')
}

function faultOf(text: string): string | null {
  try {
    JSON.parse(text)
    return null
  } catch (error) {
    return (error as Error).message
  }
}
