/** Records for the tests of formats, as a batch hands them over. */
import type { Random } from '../../../../device-sim/random.ts'
import type { SinkRecord } from '../../../../gateway/ports/sink.ts'
import { RecordView, Unmappable } from '../../../../gateway/sink/mapping/record-view.ts'
import { recordOfLine } from '../../../../gateway/spool/codec/record.ts'
import { recordId } from '../batches.ts'

export interface MadeRecord {
  readonly seq?: number
  readonly device?: string
  readonly topic?: string
  readonly receivedAt?: string
  /** As the device sent it: JSON. */
  readonly payload?: string
  /** What is no JSON, in place of `payload`. */
  readonly payloadBase64?: string
}

export function madeRecord(made: MadeRecord = {}): SinkRecord {
  const { seq = 42, device = 'press-7', topic = 'plant/press-7/temp', payloadBase64 } = made
  const { receivedAt = '2026-11-23T03:05:00.123Z', payload = '{"celsius":21.4}' } = made
  const where = `"device":${JSON.stringify(device)},"topic":${JSON.stringify(topic)}`
  const what =
    payloadBase64 === undefined ? `"payload":${payload}` : `"payloadBase64":"${payloadBase64}"`
  const line = `{"id":"${recordId(seq)}","seq":${seq},${where},"qos":1,"receivedAt":"${receivedAt}",${what}}\n`
  return recordOfLine(Buffer.from(line))
}

/** What a compiled encoder makes of a record; of an unmappable one, why it is that. */
export function encoded(encode: (view: RecordView) => string, made: MadeRecord = {}): string {
  const view = new RecordView({ gateway: 'edge-01', stream: 'telemetry' }).at(madeRecord(made))
  try {
    return encode(view)
  } catch (error) {
    if (error instanceof Unmappable) return `unmappable: ${error.message}`
    throw error
  }
}

const CHARS = [
  'a',
  'b',
  'Z',
  '0',
  ' ',
  ',',
  '=',
  '"',
  '\\',
  '\n',
  '\t',
  '#',
  '_',
  'é',
  '€',
  '😀',
  '/',
]

/** A short text with whatever a format might trip over. */
export function oddText(random: Random, max = 8): string {
  const length = random.below(max + 1)
  return Array.from({ length }, () => CHARS[random.below(CHARS.length)]).join('')
}

/** Any JSON value, as a device might send it. */
export function oddJson(random: Random, depth = 0): unknown {
  const kind = random.below(depth > 3 ? 6 : 8)
  switch (kind) {
    case 0:
      return null
    case 1:
      return random.chance(0.5)
    case 2:
      return oddText(random)
    case 3:
      return random.below(2_000_000) - 1_000_000
    case 4:
    case 5:
      return (random.next() - 0.5) * 10 ** (random.below(40) - 20)
    case 6:
      return Array.from({ length: random.below(4) }, () => oddJson(random, depth + 1))
    default:
      return Object.fromEntries(
        Array.from({ length: random.below(5) }, () => [
          oddText(random),
          oddJson(random, depth + 1),
        ]),
      )
  }
}
