/** A dead letter for a person: whose it was, what it held, what became of it. Pure. */
import type { DeadLetter, DeadLetterChange } from '../../../ports/operator.ts'
import { counted } from '../../../shared/text/words.ts'

interface LetterText {
  /** null: what was kept does not say. */
  readonly topic: string | null
  readonly device: string | null
  readonly payload: string
}

/** What was cut off, or never was a record, is shown as it is. */
export function payloadOf({ record, truncated }: DeadLetter): LetterText {
  const line = truncated ? null : parsed(record)
  if (line === null) return { topic: null, device: null, payload: record }
  const { payload, payloadBase64 } = line
  const text = (name: string): string | null => {
    const value = line[name]
    return typeof value === 'string' ? value : null
  }
  return {
    topic: text('topic'),
    device: text('device'),
    payload:
      typeof payloadBase64 === 'string'
        ? (readable(payloadBase64) ?? `base64: ${payloadBase64}`)
        : typeof payload === 'string'
          ? payload
          : JSON.stringify(payload === undefined ? line : payload, null, 2),
  }
}

/** What a person can read of bytes that are no JSON; null: they are no text. */
function readable(base64: string): string | null {
  try {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return text === '' || /[^\P{C}\n\r\t]/u.test(text) ? null : text
  } catch {
    return null
  }
}

function parsed(record: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(record)
    return typeof value === 'object' ? (value as Readonly<Record<string, unknown>> | null) : null
  } catch {
    return null
  }
}

/** `3 dead letters requeued; 1 skipped: truncated`. */
export function changeText(done: 'requeued' | 'purged', change: DeadLetterChange): string {
  const { changed, skipped } = change
  const why = [...new Set(skipped.map((each) => each.why))].join('; ')
  const rest = skipped.length === 0 ? '' : `; ${counted(skipped.length, 'dead letter')} not: ${why}`
  return `${counted(changed, 'dead letter')} ${done}${rest}.`
}
