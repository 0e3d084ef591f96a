/** The names that a template may have between `${` and `}`, and what each is of a record. */
import { nearest } from '../../shared/text/nearest.ts'
import { parsePointer, pointerFix } from './pointer.ts'
import type { FieldValue, RecordView } from './record-view.ts'

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
  receivedAt: ({ record }) => text(new Date(record.receivedAtMs).toISOString()),
  receivedAtMs: ({ record }) => number(record.receivedAtMs),
  payload: (view) => json(view.json),
  payloadBase64: ({ record }) => text(Buffer.from(record.payload).toString('base64')),
  record: (view) => json(view.line),
}

const WORDS = [...Object.keys(NAMES).map((name) => `\${${name}}`), '${topic.N}', '${/pointer}']

/** What a name stands for, or what is wrong with it. */
export function placeholderOf(name: string): { readonly value: Placeholder } | { fix: string } {
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
