/**
 * The readings that came last, for people who want to see them arrive: the end of each stored
 * batch, copied as bytes and read only when somebody looks. Bounded, whatever comes. Counts nothing
 * that is judged; the store is the truth.
 */

/** What a person wants to know of a stored line. */
export interface LatestReading {
  /** Counts stored lines from 1, since the start. */
  readonly number: number
  readonly storedAtMs: number
  readonly stream: string
  readonly device: string
  readonly topic: string
  /** Its payload as text, cut to {@link SHOWN_CHARACTERS}; binary ones as base64. */
  readonly payload: string
}

/** Lines kept of one batch, and of all. */
const LINES_OF_A_BATCH = 50
const LINES_KEPT = 500
/** Of a line: a longer one is not taken apart, only shown. */
const LINE_BYTES = 4 * 1024
export const SHOWN_CHARACTERS = 160

interface KeptLine {
  readonly number: number
  readonly storedAtMs: number
  readonly stream: string
  readonly bytes: Buffer
}

export class LatestReadings {
  #kept: KeptLine[] = []
  #total = 0

  /** Lines stored since the start. */
  get total(): number {
    return this.#total
  }

  /** `lines`: new ones of one batch, durable, each with its LF. */
  take(stream: string, lines: Buffer, count: number, storedAtMs: number): void {
    this.#total += count
    const fresh: KeptLine[] = []
    let end = lines.length - 1
    while (end > 0 && fresh.length < LINES_OF_A_BATCH) {
      const start = lines.lastIndexOf(0x0a, end - 1) + 1
      // A copy: the batch is not to be kept for the sake of its end.
      const bytes = Buffer.from(lines.subarray(start, Math.min(end, start + LINE_BYTES)))
      fresh.push({ number: this.#total - fresh.length, storedAtMs, stream, bytes })
      end = start - 1
    }
    this.#kept.push(...fresh.toReversed())
    if (this.#kept.length > 2 * LINES_KEPT) this.#kept = this.#kept.slice(-LINES_KEPT)
  }

  /**
   * The last reading of each device among the lines after `number`, newest first, at most `limit`.
   */
  perDevice(limit: number, after = 0): LatestReading[] {
    const devices = new Map<string, LatestReading>()
    for (let index = this.#kept.length - 1; index >= 0 && devices.size < limit; index -= 1) {
      const line = this.#kept[index]
      if (line === undefined || line.number <= after) break
      const reading = readingOf(line)
      const key = `${reading.stream} ${reading.device}`
      if (!devices.has(key)) devices.set(key, reading)
    }
    return [...devices.values()]
  }
}

function readingOf({ number, storedAtMs, stream, bytes }: KeptLine): LatestReading {
  const line = bytes.toString()
  const record = recordOf(line)
  const { payloadBase64 } = record
  const payload =
    record.payload === undefined && typeof payloadBase64 === 'string'
      ? textOfBase64(payloadBase64)
      : plainText(record.payload)
  return {
    number,
    storedAtMs,
    stream,
    device: plainText(record.device),
    topic: plainText(record.topic),
    payload: payload.length > SHOWN_CHARACTERS ? `${payload.slice(0, SHOWN_CHARACTERS)}…` : payload,
  }
}

/** Members of a line; of one that was cut, the line as its payload. */
function recordOf(line: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return { device: '?', topic: '?', payload: line }
  }
}

/** What was sent, if that is text to read; a payload that is no JSON need not be binary. */
function textOfBase64(base64: string): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(base64, 'base64'))
    if (!/[\p{Cc}\p{Cf}]/u.test(text)) return text === '' ? '(empty)' : text
  } catch {
    // Not UTF-8.
  }
  return `base64 ${base64}`
}

function plainText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}
