/**
 * A configuration schema as JSON Schema (draft 2020-12), for editors: keys, types, units, choices
 * and their texts. It takes all that the loader takes, and refuses what is wrong by its shape; what
 * two keys mean together, and ranges of values with a unit, only the loader knows. Pure.
 */
import { NAME_PATTERN } from '../fields.ts'
import { type AnySchema, type LeafMeta, type LeafShape, type Shape } from '../schema.ts'
import { type Node, nodeOf, type VariantNode, type Wrapping } from '../walk.ts'

type JsonSchema = Readonly<Record<string, unknown>>

/** @param title what it describes, for a person */
export function jsonSchema(root: AnySchema, title: string): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title,
    ...schemaOf(root),
  }
}

function schemaOf(schema: AnySchema): JsonSchema {
  const node = nodeOf(schema)
  return { ...describe(node), ...shapeOf(node) }
}

function describe(node: Node | VariantNode): JsonSchema {
  const { text, wanted } = node.type === 'leaf' ? node.meta : { ...node, wanted: null }
  return {
    description: wanted === null ? text : `${text} Wants ${wanted}.`,
    ...(node.fallback === undefined ? {} : { default: node.fallback }),
  }
}

function shapeOf(node: Node | VariantNode): JsonSchema {
  if (node.type === 'leaf') return leafShape(node.meta)
  if (node.type === 'map') return mapShape(node)
  if (node.type === 'variant') return variantShape(node)
  if (node.type === 'list') {
    const items = { items: schemaOf(node.item), minItems: node.min, maxItems: node.max }
    return { type: typeOf('array', node), ...items }
  }
  const shape = Object.fromEntries(node.shape)
  return { type: typeOf('object', node, mayBeEmpty(shape)), ...keysOf(shape) }
}

function leafShape({ shape, nullable }: LeafMeta): LeafShape {
  if (!nullable) return shape
  if (typeof shape['type'] !== 'string' || 'enum' in shape)
    return { anyOf: [shape, { type: 'null' }] }
  return { ...shape, type: [shape['type'], 'null'] }
}

/** `isEmptyNull`: a key with nothing behind it is the value with its defaults. */
function typeOf(type: string, { nullable }: Wrapping, isEmptyNull = false): string | string[] {
  return nullable || isEmptyNull ? [type, 'null'] : type
}

function keysOf(shape: Shape): JsonSchema {
  const required = requiredKeys(shape)
  return {
    properties: propertiesOf(shape),
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
  }
}

function propertiesOf(shape: Shape): JsonSchema {
  return Object.fromEntries(Object.entries(shape).map(([key, child]) => [key, schemaOf(child)]))
}

function requiredKeys(shape: Shape): string[] {
  return Object.keys(shape).filter((key) => {
    const child = shape[key]
    if (child === undefined) return false
    const { fallback, optional } = nodeOf(child)
    return fallback === undefined && !optional
  })
}

function mayBeEmpty(shape: Shape): boolean {
  return requiredKeys(shape).length === 0
}

function mapShape(node: Extract<Node, { readonly type: 'map' }>): JsonSchema {
  const entry = schemaOf(node.value)
  const map = {
    type: typeOf('object', node),
    ...(node.key === 'name' ? { propertyNames: { pattern: NAME_PATTERN.source } } : {}),
    additionalProperties: entry,
  }
  if (node.word === undefined) return map
  return { anyOf: [{ type: 'string', ...wordsOf(entry) }, map] }
}

/** Of what may stand under a key, the words. */
function wordsOf({ anyOf = [] }: JsonSchema): JsonSchema {
  const found = (anyOf as readonly JsonSchema[]).find((one) => 'enum' in one)
  return found === undefined ? {} : { enum: found['enum'] }
}

/**
 * One `if` for each type, so that an editor offers the keys of the type that is written, and says
 * what is wrong by that type alone. Where the key is absent, the `if` of the usual type holds.
 */
function variantShape(node: VariantNode): JsonSchema {
  const { key, usual } = node
  const types = [...node.types].map(([type, keys]): readonly [string, Shape] => [
    type,
    { [key]: node.chooser, ...node.common, ...keys },
  ])
  const usualKeys = node.types.get(usual) ?? {}
  const section = {
    type: typeOf('object', node, mayBeEmpty({ ...node.common, ...usualKeys })),
    properties: { [key]: schemaOf(node.chooser) },
    allOf: types.map(([type, shape]) => {
      const properties = { [key]: { const: type } }
      const required = type === usual ? {} : { required: [key] }
      return whenever({ type: 'object', properties, ...required }, keysOf(shape))
    }),
  }
  if (!node.word) return section
  const words = types.filter(([, shape]) => mayBeEmpty(shape)).map(([type]) => type)
  return { anyOf: [{ type: 'string', enum: words }, section] }
}

function whenever(condition: JsonSchema, consequence: JsonSchema): JsonSchema {
  return Object.fromEntries([
    ['if', condition],
    // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema; nobody awaits data
    ['then', consequence],
  ])
}
