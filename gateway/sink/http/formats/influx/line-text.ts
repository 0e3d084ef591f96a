/**
 * Texts of line protocol: names, tag values and strings, escaped so that every receiver reads the
 * same. Pure. What line protocol cannot carry at all is refused, never altered.
 *
 * Parsers differ where a backslash stands before what can be escaped, or at the end: InfluxDB 1
 * keeps `\\` as two, InfluxDB 3 reads one, and `\,` is a comma to both; `\"` in the name of a field
 * is a quote to InfluxDB 1. So such a backslash has no form that means one thing.
 */
import { Unmappable } from '../../../mapping/record-view.ts'

/** A line break ends the line, wherever it stands outside of quotes. */
const UNCARRIED = /[\n\r\0]|\\(?=[\\,= "]|$)/
/** All that is escaped or refused anywhere: mostly there is none of it. */
const UNUSUAL = /[\n\r\0\\,= ]/
const SPECIAL = /[,= ]/g
const MEASUREMENT_SPECIAL = /[, ]/g

/** Of a field that has no name: the payload is one value. */
export const LONE_FIELD = 'value'

/** @throws Unmappable */
export function measurementText(text: string): string {
  if (text === '') throw new Unmappable('the measurement is empty')
  // Receivers skip such a line as a comment, and answer that all is well.
  if (text.startsWith('#')) throw new Unmappable('the measurement begins with #: a comment')
  if (!UNUSUAL.test(text)) return text
  return carried(text, 'the measurement').replaceAll(MEASUREMENT_SPECIAL, '\\$&')
}

/** @throws Unmappable */
export function tagText(name: string, value: string): string {
  return UNUSUAL.test(value) ? carried(value, `tag ${name}`).replaceAll(SPECIAL, '\\$&') : value
}

/** Of a tag or a field. What is wrong with it is said by {@link nameFault}. */
export function nameText(name: string): string {
  return name.replaceAll(SPECIAL, '\\$&')
}

/** Why no tag and no field can have that name; null: one can. */
export function nameFault(name: string): string | null {
  if (name === '') return 'has no name'
  // InfluxDB 1 leaves such a field out, and answers that all is well.
  if (name === 'time')
    return 'is named time, which is reserved: map it by time.at, or give it another name'
  return UNCARRIED.test(name) ? 'has a line break or an ambiguous backslash in its name' : null
}

/** A string as the value of a field, quotes included. Line breaks may stand in it. */
export function stringText(text: string): string {
  return `"${/["\\]/.test(text) ? text.replaceAll(/["\\]/g, '\\$&') : text}"`
}

function carried(text: string, what: string): string {
  if (!UNCARRIED.test(text)) return text
  const found = /[\n\r\0]/.test(text)
    ? 'a line break or a NUL'
    : 'a backslash before , = " space or \\'
  throw new Unmappable(`${what} has ${found}, which line protocol cannot carry`)
}
