/** Every key of a configuration as a row of its table, read from the schema. */
import { stringify } from 'yaml'
import { type AnySchema, type Effect, leaves } from '../schema.ts'
import { nodeOf, type Wrapping } from '../walk.ts'

export interface KeyDescription {
  /**
   * Dotted; `<name>` stands for a key of a map, by the word that the map has for its keys, `<n>`
   * for an index from 0.
   */
  readonly path: string
  /** `size`, `duration`, `list of text`, `section`, … */
  readonly type: string
  /**
   * As it would be written in YAML; `required` if there is none, `absent` for a key that may be
   * left out without one.
   */
  readonly default: string
  /** What it means, one or two sentences, and what it accepts. */
  readonly text: string
  /** The key of its section that must have this value, or there is no such key; null: none. */
  readonly only: Choice | null
  /** Of a change while the gateway runs; null: nobody said. */
  readonly effect: Effect | null
}

interface Choice {
  readonly key: string
  readonly value: string
  /** Path of the key, as in a row. */
  readonly at: string
  /** What must be chosen above it for there to be such a key. */
  readonly outer: Choice | null
}

/** What is said above a key, and holds for it. */
type Above = Pick<KeyDescription, 'only' | 'effect'>

/**
 * In the order of the schema; of a variant the common keys first, then those of each type. A section
 * has a row of its own only if it can be null.
 */
export function describeKeys(root: AnySchema): KeyDescription[] {
  return rowsOf(root, '', { only: null, effect: null })
}

function rowsOf(schema: AnySchema, path: string, above: Above): KeyDescription[] {
  const node = nodeOf(schema)
  const own: Above = { ...above, effect: node.effect ?? above.effect }
  const below = (key: string) => (path === '' ? key : `${path}.${key}`)
  const shapeRows = (shape: Iterable<readonly [string, AnySchema]>, of = own) =>
    [...shape].flatMap(([key, child]) => rowsOf(child, below(key), of))
  const row = (type: string, text: string) => ({
    path,
    type,
    default: showDefault(node),
    text,
    ...own,
  })
  if (node.type === 'leaf') {
    const { kind, wanted, text } = node.meta
    return [row(kind, `${text} Wants ${wanted}.`)]
  }
  if (node.type === 'section') {
    const itself = node.nullable || node.fallback === null ? [row('section', node.text)] : []
    return [...itself, ...shapeRows(node.shape)]
  }
  if (node.type === 'variant') {
    const ofTypes = [...node.types].flatMap(([type, shape]) =>
      shapeRows(Object.entries(shape), {
        ...own,
        only: { key: node.key, value: type, at: below(node.key), outer: above.only },
      }),
    )
    return [
      ...shapeRows([[node.key, node.chooser]]),
      ...shapeRows(Object.entries(node.common)),
      ...ofTypes,
    ]
  }
  if (node.type === 'map') return rowsOf(node.value, below(`<${node.key}>`), own)
  const item = leaves.get(node.item)
  if (item === undefined) return rowsOf(node.item, below('<n>'), own)
  return [row(`list of ${item.kind}`, `${node.text} Each wants ${item.wanted}.`)]
}

function showDefault({ fallback, optional }: Wrapping): string {
  if (optional) return 'absent'
  if (fallback === undefined) return 'required'
  return stringify(fallback, {
    lineWidth: 0,
    collectionStyle: 'flow',
    flowCollectionPadding: false,
  }).trim()
}
