/** Keys of a configuration that hold mappings. Checked at the start, kept as they are written. */
import { choice, text } from '../../config/fields.ts'
import { type LeafSpec, leaf, nullable, section } from '../../config/schema.ts'
import { pointerFix } from './pointer.ts'
import { parseMapped, parseTemplate } from './template.ts'

/** A text with placeholders. */
export function templateKey(description: string): LeafSpec<string> {
  return text(description, {
    wanted: 'a text that may have placeholders such as ${device}',
    check: (input) => fixIn(parseTemplate(input)),
  })
}

/** A JSON Pointer. */
export function pointerKey(description: string): LeafSpec<string> {
  return text(description, {
    wanted: 'a JSON Pointer into the payload, such as /temp/celsius',
    check: pointerFix,
  })
}

/** A pointer or a template: one value of a record. */
export function mappedKey(description: string): LeafSpec<string> {
  return text(description, {
    wanted: 'a JSON Pointer such as /celsius, or a text with placeholders such as ${device}',
    check: (input) => fixIn(parseMapped(input)),
  })
}

/** `time`: a section with its defaults, the arrival. */
export const timeKey = section('When a record happened.', {
  at: nullable(
    pointerKey('Where the payload says when. null, or a time that cannot be read: its arrival.'),
  ).prefault(null),
  unit: leaf(choice('Of the time there.', ['s', 'ms', 'us', 'ns', 'rfc3339'])).prefault('ms'),
}).prefault({})

function fixIn(parsed: { readonly value: unknown } | { readonly fix: string }): string | null {
  return 'fix' in parsed ? parsed.fix : null
}
