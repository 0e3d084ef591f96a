/**
 * What differs between two configurations, key by key, and what a change of each key does to a
 * gateway that runs. Pure. Not here: whether a change can be made as a whole (the composition
 * knows), nor making it.
 */
import { isDeepStrictEqual } from 'node:util'
import { shownValue } from '../print.ts'
import { type AnySchema, type Effect, isMap } from '../schema.ts'
import { childOf, keyPath, nodeAt, type Path, valueOf } from '../walk.ts'

export interface Change {
  /** As errors name it: `mqtt.listeners[0].port`. */
  readonly key: string
  readonly path: Path
  /** As the configuration is printed, secrets hidden; null: there is no such key. */
  readonly from: unknown
  readonly to: unknown
  readonly effect: Effect
}

/** Where two configurations are compared. */
interface Place {
  readonly path: Path
  /** Of what it is in. */
  readonly effect: Effect | null
}

/**
 * In the order of the schema. A section, item or name that only one of the two has is one change. A
 * list's items that are the same in both are no change, wherever they stand; the others are compared
 * in their order.
 * @throws Error for a key of which nobody said what its change does
 */
export function changesBetween(root: AnySchema, from: unknown, to: unknown): Change[] {
  return compare(root, from, to, { path: [], effect: null })
}

function compare(schema: AnySchema, from: unknown, to: unknown, above: Place): Change[] {
  if (isDeepStrictEqual(from, to)) return []
  const node = nodeAt(schema, to ?? from)
  const place = { ...above, effect: node.effect ?? above.effect }
  const isOtherType = node.type === 'section' && isTypeChange(node.chosen?.key, from, to)
  if (node.type === 'list' && Array.isArray(from) && Array.isArray(to) && from.some(isMap))
    return compareItems(node.item, from, to, place)
  if (isOtherType || node.type === 'leaf' || node.type === 'list' || !isMap(from) || !isMap(to))
    return [change(schema, from, to, place)]
  const keys =
    node.type === 'section'
      ? [...node.shape.keys()]
      : [...new Set([...Object.keys(from), ...Object.keys(to)])]
  return keys.flatMap((key) => {
    const child = childOf(node, key)
    if (child === null) return []
    const below = { ...place, path: [...place.path, key] }
    return compare(child, valueOf(from, key), valueOf(to, key), below)
  })
}

function isTypeChange(chooser: string | undefined, from: unknown, to: unknown): boolean {
  return chooser !== undefined && valueOf(from, chooser) !== valueOf(to, chooser)
}

/** An item's index is that of the new list; of one that is gone, of the old one. */
function compareItems(
  item: AnySchema,
  from: readonly unknown[],
  to: readonly unknown[],
  place: Place,
): Change[] {
  const { left, added } = unpaired(from, to)
  const count = Math.max(left.length, added.length)
  return Array.from({ length: count }, (_, n) => {
    const [old, next] = [left[n], added[n]]
    const index = next ?? old ?? 0
    const values = [
      old === undefined ? undefined : from[old],
      next === undefined ? undefined : to[next],
    ]
    return compare(item, values[0], values[1], { ...place, path: [...place.path, index] })
  }).flat()
}

/** Indexes of the items that have no equal in the other list. */
function unpaired(
  from: readonly unknown[],
  to: readonly unknown[],
): { readonly left: readonly number[]; readonly added: readonly number[] } {
  const left = [...from.keys()]
  const added = [...to.keys()].filter((next) => {
    const at = left.findIndex((old) => isDeepStrictEqual(from[old], to[next]))
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
  return { left, added }
}

function change(schema: AnySchema, from: unknown, to: unknown, { path, effect }: Place): Change {
  const key = keyPath(path)
  if (effect === null) throw new Error(`nobody says what a change of ${key} does`)
  const shown = (value: unknown): unknown =>
    value === undefined ? null : shownValue(schema, value)
  return { key, path, from: shown(from), to: shown(to), effect }
}
