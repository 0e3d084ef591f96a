/** The names that a template may have between `${` and `}`, and what each is of a record. */
import { nearest } from '../../shared/text/nearest.ts'
import { parsePointer, pointerFix } from './pointer.ts'
import type { FieldValue, RecordView } from './record-view.ts'
import { arrivalOf } from './time.ts'

/** What a placeholder is of one record. @throws Unmappable */
export type Placeholder = (view: RecordView) => FieldValue

const text = (value: string): FieldValue => ({ type: 'text', text: value })
const number = (value: number): FieldValue => ({ type: 'number', text: String(value) })
const json = (value: string): FieldValue => ({ type: 'json', text: value })

const NAMES: Readonly<Record<string, Placeholder>> = {
  device: ({ record }) => text(record.device),
  topic: ({ record }) => text(record.topic),
  gateway: ({ gateway }) => text(gateway),
  stream: ({ stream }) => text(stream),
  seq: ({ record }) => number(record.seq),
  id: ({ record }) => text(record.id),
  qos: ({ record }) => number(record.qos),
  receivedAt: (view) => text(view.receivedAt),
  receivedAtMs: ({ record }) => number(record.receivedAtMs),
  receivedAtNs: (view) => ({ type: 'number', text: arrivalOf(view) }),
  payload: (view) => json(view.json),
  payloadBase64: (view) => text(view.base64),
  record: (view) => json(view.line),
}

const WORDS = [...Object.keys(NAMES).map((name) => `\${${name}}`), '${topic.N}', '${/pointer}']

/** They are the same for all records of a batch. */
const OF_BATCH = ['gateway', 'stream']

/**
 * What a name stands for, or what is wrong with it.
 * @param scope `batch`: where no record is at hand
 */
export function placeholderOf(
  name: string,
  scope: 'record' | 'batch' = 'record',
): { readonly value: Placeholder } | { fix: string } {
  if (scope === 'batch' && !OF_BATCH.includes(name))
    return { fix: 'write ${gateway} or ${stream}: no record is at hand here' }
  const known = Object.hasOwn(NAMES, name) ? NAMES[name] : undefined
  if (known !== undefined) return { value: known }
  const level = /^topic\.(-?\d{1,4})$/.exec(name)?.[1]
  if (level !== undefined) return { value: (view) => text(view.level(Number(level))) }
  if (name.startsWith('/')) {
    const fix = pointerFix(name)
    if (fix !== null) return { fix }
    const pointer = parsePointer(name)
    return { value: (view) => view.textAt(pointer) }
  }
  const near = nearest(name, Object.keys(NAMES))
  if (/^topic[.[]/.test(name)) return { fix: 'write ${topic.0} for the first level of the topic' }
  return { fix: near === null ? `write one of ${WORDS.join(', ')}` : `write \${${near}}` }
}
