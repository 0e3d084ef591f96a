/**
 * The schema as a tree that can be walked: by the environment overlay, by the printer, by the
 * table of keys. The only file that looks inside zod's schemas.
 */
import { z } from 'zod'
import { type AnySchema, groups, type LeafMeta, leaves, maps } from './schema.ts'

export type Path = ReadonlyArray<string | number>

export interface Wrapping {
  /** May be null. */
  readonly nullable: boolean
  /** May be absent although it has no default. */
  readonly optional: boolean
  /** Default as it would be written in YAML; undefined: there is none. */
  readonly fallback: unknown
}

export type Node = Wrapping &
  (
    | { readonly type: 'leaf'; readonly meta: LeafMeta }
    | {
        readonly type: 'section'
        readonly text: string
        readonly shape: ReadonlyMap<string, AnySchema>
      }
    | {
        readonly type: 'map'
        readonly text: string
        readonly key: string
        readonly value: AnySchema
      }
    | { readonly type: 'list'; readonly text: string; readonly item: AnySchema }
  )

/** What a schema is, without its wrappings. */
export function nodeOf(schema: AnySchema): Node {
  let inner = schema
  let nullable = false
  let optional = false
  let fallback: unknown
  while (true) {
    if (inner instanceof z.ZodPrefault) {
      fallback = inner.def.defaultValue
      inner = inner.def.innerType
    } else if (inner instanceof z.ZodNullable) {
      nullable = true
      inner = inner.def.innerType
    } else if (inner instanceof z.ZodExactOptional) {
      optional = true
      inner = inner.def.innerType
    } else break
  }
  const meta = leaves.get(inner as z.ZodType)
  if (meta !== undefined) return { type: 'leaf', meta, nullable: meta.nullable, optional, fallback }
  const wrapping = { nullable, optional, fallback }
  const map = maps.get(inner as z.ZodType)
  if (map !== undefined && inner instanceof z.ZodRecord)
    return { type: 'map', value: inner.valueType, ...map, ...wrapping }
  const text = groups.get(inner as z.ZodType)?.text ?? ''
  if (inner instanceof z.ZodObject)
    return {
      type: 'section',
      shape: new Map(Object.entries<AnySchema>(inner.shape)),
      text,
      ...wrapping,
    }
  if (inner instanceof z.ZodArray) return { type: 'list', item: inner.element, text, ...wrapping }
  throw new Error(`the configuration schema has a node of unknown kind: ${inner._zod.def.type}`)
}

/** The schema below one key, or null if there is no such key. */
export function childOf(node: Node, key: string | number): AnySchema | null {
  if (node.type === 'section') return typeof key === 'string' ? (node.shape.get(key) ?? null) : null
  if (node.type === 'map') return typeof key === 'string' ? node.value : null
  if (node.type === 'list') return typeof key === 'number' ? node.item : null
  return null
}

/** The node at a path, or null. */
export function nodeAt(schema: AnySchema, path: Path): Node | null {
  let node = nodeOf(schema)
  for (const key of path) {
    const child = childOf(node, key)
    if (child === null) return null
    node = nodeOf(child)
  }
  return node
}

/** Is this a map of keys, as YAML and JSON know it? */
export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * A copy of `value` with every leaf that the schema knows replaced by what `replace` gives. Keys
 * that the schema does not know stay as they are.
 */
export function mapLeaves(
  schema: AnySchema,
  value: unknown,
  replace: (value: unknown, meta: LeafMeta, path: Path) => unknown,
  path: Path = [],
): unknown {
  const node = nodeOf(schema)
  if (node.type === 'leaf') return replace(value, node.meta, path)
  if (node.type === 'list')
    return Array.isArray(value)
      ? value.map((item, index) => mapLeaves(node.item, item, replace, [...path, index]))
      : value
  if (!isMap(value)) return value
  const entries = Object.entries(value).map(([key, inner]): [string, unknown] => {
    const child = childOf(node, key)
    return [key, child === null ? inner : mapLeaves(child, inner, replace, [...path, key])]
  })
  return Object.fromEntries(entries)
}

/** `mqtt.listeners[0].host`, `sinks.cloud.headers."X-Site"`. */
export function keyPath(path: Path): string {
  let text = ''
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`
    else
      text += `${text === '' ? '' : '.'}${/^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key)}`
  }
  return text === '' ? '(the whole file)' : text
}
