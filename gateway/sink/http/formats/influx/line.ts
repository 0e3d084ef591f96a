/**
 * A record -> a line of line protocol: `measurement,tag=… field=… time`. Pure. The same record gives
 * the same line, so that a repeat overwrites what it repeats: a point is known by its measurement,
 * its tags and its time.
 */
import { parsePointer } from '../../../mapping/pointer.ts'
import { type RecordView, Unmappable } from '../../../mapping/record-view.ts'
import { compileMapped, compileTemplate, type Mapped } from '../../../mapping/template.ts'
import { compileTime, inUnit, type TimeConfig } from '../../../mapping/time.ts'
import { compileFields, type FieldRules } from './fields.ts'
import { measurementText, nameText, tagText } from './line-text.ts'

type Precision = 's' | 'ms' | 'us' | 'ns'

export interface LineConfig extends FieldRules {
  readonly measurement: string
  /** null: the device. */
  readonly tags: Readonly<Record<string, string>> | null
  /** A JSON Pointer. */
  readonly fields: string
  readonly time: TimeConfig
  readonly precision: Precision
}

/** Marks a line whose time was to be in the payload, and is that of its arrival. */
export const ARRIVAL_MARK = 'time_is_arrival'

/** Without the line break. @throws Unmappable */
export function compileLine(config: LineConfig): (view: RecordView) => string {
  const { time } = config
  const tags = config.tags ?? { device: '${device}' }
  const measurement = compileTemplate(config.measurement)
  const tagsOf = compileTags(tags)
  const elsewhere = [...Object.values(tags), time.at ?? ''].filter((text) => text.startsWith('/'))
  const fieldsOf = compileFields(parsePointer(config.fields), elsewhere.map(parsePointer), config)
  const timeOf = compileTime(time)
  const arrivalOf = ARRIVAL[config.precision]
  return (view) => {
    const head = `${measurementText(measurement.render(view))}${tagsOf(view)}`
    const fields = fieldsOf(view)
    if (time.at === null) return `${head} ${fields} ${arrivalOf(view)}`
    const { nanoseconds, fellBack } = timeOf(view)
    if (fellBack) return `${head} ${fields},${ARRIVAL_MARK}=true ${arrivalOf(view)}`
    return `${head} ${fields} ${inUnit(nanoseconds, config.precision)}`
  }
}

/**
 * The arrival, unique for all records of a stream in one millisecond, as far as the precision has
 * room: two points at one time would be one.
 */
const ARRIVAL: Readonly<Record<Precision, (view: RecordView) => string>> = {
  s: ({ record }) => String(Math.floor(record.receivedAtMs / 1000)),
  ms: ({ record }) => String(record.receivedAtMs),
  us: ({ record }) => String(record.receivedAtMs * 1000 + (record.seq % 1000)),
  ns: ({ record: { receivedAtMs, seq } }) =>
    `${receivedAtMs}${String(1_000_000 + (seq % 1_000_000)).slice(1)}`,
}

/** By name, as receivers keep them. A tag without a value is left out: there is no such thing. */
function compileTags(tags: Readonly<Record<string, string>>): (view: RecordView) => string {
  const all = Object.keys(tags)
    .toSorted()
    .map((name) => ({ name, text: nameText(name), of: compileMapped(tags[name] ?? '') }))
  return (view) => {
    let out = ''
    for (const { name, text, of } of all) {
      const value = tagValue(name, of, view)
      if (value !== '') out += `,${text}=${tagText(name, value)}`
    }
    return out
  }
}

function tagValue(name: string, of: Mapped, view: RecordView): string {
  const { type, text } = of(view)
  if (type === 'missing' || type === 'null') return ''
  if (type === 'json') throw new Unmappable(`tag ${name} is an object or a list`)
  return text
}
