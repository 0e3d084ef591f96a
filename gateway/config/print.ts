/** A configuration in effect as YAML, which loads as the same but for its secrets. Pure. */
import { stringify } from 'yaml'
import { hideUrl } from '../shared/text/hide-url.ts'
import type { AnySchema } from './schema.ts'
import { formatDuration, formatSize } from './units.ts'
import { mapLeaves } from './walk.ts'

export const HIDDEN = '(hidden)'

/**
 * Sizes and durations with units; a secret as `(hidden)`, or as the file that it is read from.
 * @param root the schema that `config` was loaded with
 */
export function effectiveYaml(root: AnySchema, config: unknown): string {
  return stringify(shownValue(root, config), { lineWidth: 0, aliasDuplicateObjects: false })
}

/** The same as data, of the whole or of the value of one key. */
export function shownValue(schema: AnySchema, config: unknown): unknown {
  return mapLeaves(schema, config, (value, { kind }) => {
    if (value === null || value === undefined) return value
    if (kind === 'size') return withUnit(formatSize(Number(value)))
    if (kind === 'duration') return formatDuration(Number(value))
    if (kind === 'url') return typeof value === 'string' ? hideUrl(value) : value
    if (kind !== 'secret') return value
    return typeof value === 'object' && 'file' in value ? value : HIDDEN
  })
}

function withUnit(size: string): string | number {
  return /^\d+$/.test(size) ? Number(size) : size
}
