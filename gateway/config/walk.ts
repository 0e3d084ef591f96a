/**
 * The schema as a tree that can be walked: by the environment overlay, by the printer, by the
 * table of keys. The only file that looks inside zod's schemas.
 */
import { z } from 'zod'
import {
  type AnySchema,
  type Effect,
  effects,
  groups,
  isMap,
  type LeafMeta,
  leaves,
  maps,
  type VariantMeta,
  variants,
} from './schema.ts'

export type Path = ReadonlyArray<string | number>

export interface Wrapping {
  /** May be null. */
  readonly nullable: boolean
  /** May be absent although it has no default. */
  readonly optional: boolean
  /** Default as it would be written in YAML; undefined: there is none. */
  readonly fallback: unknown
  /** Of a change; null: that of what it is in. */
  readonly effect: Effect | null
}

/** A key that belongs to other types, not to the chosen one. */
interface KeyElsewhere {
  readonly types: readonly string[]
  readonly schema: AnySchema
}

export interface SectionNode extends Wrapping {
  readonly type: 'section'
  readonly text: string
  readonly shape: ReadonlyMap<string, AnySchema>
  /** The key that chose the type, and what it chose; null: there are no types. */
  readonly chosen: { readonly key: string; readonly type: string } | null
  readonly elsewhere: ReadonlyMap<string, KeyElsewhere>
}

export interface VariantNode extends Wrapping, VariantMeta {
  readonly type: 'variant'
}

/** What a schema is where its value is known: a variant is the section of its type. */
export type Node =
  | SectionNode
  | (Wrapping &
      (
        | { readonly type: 'leaf'; readonly meta: LeafMeta }
        | {
            readonly type: 'map'
            readonly text: string
            readonly key: string
            readonly word?: string
            readonly value: AnySchema
          }
        | {
            readonly type: 'list'
            readonly text: string
            readonly item: AnySchema
            readonly min: number
            readonly max: number
          }
      ))

/** What a schema is, without its wrappings (default, null, optional). */
export function nodeOf(schema: AnySchema): Node | VariantNode {
  let inner = schema
  let nullable = false
  let optional = false
  let fallback: unknown
  let effect: Effect | null = null
  while (true) {
    effect ??= effects.get(inner) ?? null
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
  const wrapping = { nullable, optional, fallback, effect }
  const leaf = leaves.get(inner as z.ZodType)
  if (leaf !== undefined) return { type: 'leaf', meta: leaf, ...wrapping, nullable: leaf.nullable }
  const variant = variants.get(inner)
  if (variant !== undefined) return { type: 'variant', ...variant, ...wrapping }
  const map = maps.get(inner as z.ZodType)
  if (map !== undefined && inner instanceof z.ZodRecord)
    return { type: 'map', value: inner.valueType, ...map, ...wrapping }
  const { text, length } = groups.get(inner as z.ZodType) ?? { text: '' }
  if (inner instanceof z.ZodObject) {
    const shape = new Map(Object.entries<AnySchema>(inner.shape))
    return { type: 'section', shape, chosen: null, elsewhere: new Map(), text, ...wrapping }
  }
  if (inner instanceof z.ZodArray && length !== undefined)
    return { type: 'list', item: inner.element, text, min: 0, ...length, ...wrapping }
  throw new Error(`the configuration schema has a node of unknown kind: ${inner._zod.def.type}`)
}

/** What a schema is where `value` stands, as written or as loaded; undefined: its default. */
export function nodeAt(schema: AnySchema, value: unknown): Node {
  const node = nodeOf(schema)
  return node.type === 'variant'
    ? sectionOf(node, value === undefined ? node.fallback : spelledOut(schema, value))
    : node
}

/** A word in place of a section that it stands for as that section; else the value as it is. */
export function spelledOut(schema: AnySchema, value: unknown): unknown {
  if (typeof value !== 'string') return value
  const node = nodeOf(schema)
  if (node.type === 'map' && node.word !== undefined) return { [node.word]: value }
  return node.type === 'variant' && node.word ? { [node.key]: value } : value
}

/** With an unknown type it has the keys of all: nothing can be said against any of them. */
function sectionOf(node: VariantNode, value: unknown): SectionNode {
  const { key, text, nullable, optional, fallback, effect } = node
  const written = isMap(value) && Object.hasOwn(value, key) ? value[key] : node.usual
  const type = String(written)
  const own = node.types.get(type)
  const shape = new Map<string, AnySchema>([[key, node.chooser]])
  const elsewhere = new Map<string, KeyElsewhere>()
  for (const [name, keys] of node.types) {
    for (const [each, schema] of Object.entries(keys)) {
      if (own === undefined || name === type) shape.set(each, schema)
      else if (!Object.hasOwn(own, each) && !Object.hasOwn(node.common, each))
        elsewhere.set(each, {
          types: [...(elsewhere.get(each)?.types ?? []), name],
          schema,
        })
    }
  }
  for (const [each, schema] of Object.entries(node.common))
    if (!shape.has(each)) shape.set(each, schema)
  const chosen = own === undefined ? null : { key, type }
  const wrapping = { nullable, optional, fallback, effect }
  return { type: 'section', text, shape, chosen, elsewhere, ...wrapping }
}

/** The schema below one key, or null if there is no such key. */
export function childOf(node: Node, key: string | number): AnySchema | null {
  if (node.type === 'section') return typeof key === 'string' ? (node.shape.get(key) ?? null) : null
  if (node.type === 'map') return typeof key === 'string' ? node.value : null
  if (node.type === 'list') return typeof key === 'number' ? node.item : null
  return null
}

/** What is below one key of a value: its own, never an inherited one. */
export function valueOf(container: unknown, key: string | number): unknown {
  if (Array.isArray(container)) return typeof key === 'number' ? container[key] : undefined
  return isMap(container) && Object.hasOwn(container, key) ? container[key] : undefined
}

/** The node and the value at a path; node null: there is no such key. */
export function find(
  schema: AnySchema,
  data: unknown,
  path: Path,
): { readonly node: Node | null; readonly value: unknown } {
  let node: Node | null = nodeAt(schema, data)
  let value = data
  for (const key of path) {
    value = valueOf(value, key)
    const child: AnySchema | null = node === null ? null : childOf(node, key)
    node = child === null ? null : nodeAt(child, value)
  }
  return { node, value }
}

/** The keys that choose a type, of all variants in a schema. */
export function chooserKeys(schema: AnySchema, found = new Set<string>()): ReadonlySet<string> {
  const node = nodeOf(schema)
  if (node.type === 'list') chooserKeys(node.item, found)
  else if (node.type === 'map') chooserKeys(node.value, found)
  else if (node.type === 'section')
    for (const child of node.shape.values()) chooserKeys(child, found)
  else if (node.type === 'variant') {
    found.add(node.key)
    for (const shape of [node.common, ...node.types.values()])
      for (const child of Object.values(shape)) chooserKeys(child, found)
  }
  return found
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
  const node = nodeAt(schema, value)
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
