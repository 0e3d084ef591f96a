/**
 * Problems of a configuration in a person's words: what zod found, keys that do not exist, names that
 * are none. Never repeats a secret.
 */
import type { z } from 'zod'
import { hideUrl } from '../shared/text/hide-url.ts'
import { nearest } from '../shared/text/nearest.ts'
import { NAME_PATTERN, NAME_WORDS, nameFix } from './fields.ts'
import { type Origin, type Problem, showKind, showValue } from './problems.ts'
import { type AnySchema, isMap } from './schema.ts'
import {
  childOf,
  find,
  keyPath,
  type Node,
  nodeAt,
  type Path,
  type SectionNode,
  spelledOut,
} from './walk.ts'

/** A section with more keys is not listed in full when the fix names the key that was meant. */
const MAX_LISTED_KEYS = 12

export type OriginOf = (path: Path) => Origin

/**
 * `telemetry:` with nothing below it is a section with its defaults, unless null is a value there; a
 * word that stands for a section becomes that.
 */
export function fillEmptySections(schema: AnySchema, written: unknown): unknown {
  const data = spelledOut(schema, written)
  const node = nodeAt(schema, data)
  if (data === null) return node.type === 'section' && !node.nullable ? {} : null
  if (node.type === 'list') {
    const { item } = node
    return Array.isArray(data) ? data.map((inner) => fillEmptySections(item, inner)) : data
  }
  if (node.type === 'leaf' || !isMap(data)) return data
  const entries = Object.entries(data).map(([key, inner]): [string, unknown] => {
    const child = childOf(node, key)
    return [key, child === null ? inner : fillEmptySections(child, inner)]
  })
  return Object.fromEntries(entries)
}

/** Names in maps as they are written, before the schema: it would pass over `__proto__`. */
export function nameProblems(
  schema: AnySchema,
  data: unknown,
  originOf: OriginOf,
  path: Path = [],
): Problem[] {
  const node = nodeAt(schema, data)
  if (!isMap(data)) return []
  return Object.entries(data).flatMap(([key, value]): Problem[] => {
    const child = childOf(node, key)
    if (child === null) return []
    const here = [...path, key]
    const inner = nameProblems(child, value, originOf, here)
    const isName = node.type === 'map' && node.key === 'name'
    return isName && !NAME_PATTERN.test(key) ? [nameProblem(key, here, originOf), ...inner] : inner
  })
}

function nameProblem(name: string, path: Path, originOf: OriginOf): Problem {
  return {
    code: 'CONFIG_BAD_VALUE',
    origin: originOf(path),
    key: keyPath(path),
    got: `the name ${showValue(name)}`,
    wanted: NAME_WORDS,
    fix: nameFix(name),
  }
}

/**
 * The issues that zod found as problems, in the order of the schema's sections.
 * @param data what zod was given: a problem says what it found there
 */
export function schemaProblems(
  schema: AnySchema,
  data: unknown,
  issues: readonly z.core.$ZodIssue[],
  originOf: OriginOf,
): Problem[] {
  return issues.flatMap((issue) => {
    const path = issue.path.map((key) => (typeof key === 'number' ? key : String(key)))
    const { node, value } = find(schema, data, path)
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => unknownKey([...path, key], node, originOf))
    return [valueProblem(issue, path, node, value, originOf)]
  })
}

function valueProblem(
  issue: z.core.$ZodIssue,
  path: Path,
  node: Node | null,
  value: unknown,
  originOf: OriginOf,
): Problem {
  const facts = {
    origin: originOf(path),
    key: keyPath(path),
    code: value === undefined ? ('CONFIG_MISSING_KEY' as const) : ('CONFIG_BAD_VALUE' as const),
    got: showAs(node, value),
  }
  if (issue.code === 'custom') {
    const { wanted, fix } = issue.params as { wanted: string; fix: string }
    return { ...facts, wanted, fix: value === undefined ? `add the key ${keyPath(path)}` : fix }
  }
  if (issue.code === 'too_small' || issue.code === 'too_big') {
    const [wanted, fix] =
      issue.code === 'too_small'
        ? [`at least ${issue.minimum} item`, 'add an item, or remove the key for its default']
        : [`at most ${issue.maximum} items`, 'remove some']
    return { ...facts, wanted, fix }
  }
  const wanted =
    node?.type === 'list' ? 'a list' : node?.type === 'map' ? 'a map of names' : 'a map of keys'
  const orNull = node?.nullable === true ? `${wanted}, or null` : wanted
  const example =
    node?.type === 'list' ? 'write its items as [a, b] or one a line behind "- "' : null
  return {
    ...facts,
    wanted: orNull,
    fix: example ?? 'write its keys indented below it, or remove it for the default',
  }
}

function unknownKey(path: Path, node: Node | null, originOf: OriginOf): Problem {
  const key = String(path.at(-1))
  const misplaced = node?.type === 'section' ? keyOfAnotherType(path, node, originOf) : null
  if (misplaced !== null)
    return {
      code: 'CONFIG_UNKNOWN_KEY',
      origin: originOf(path),
      key: keyPath(path),
      ...misplaced,
    }
  const known = node?.type === 'section' ? [...node.shape.keys()] : []
  const near = nearest(key, known)
  return {
    code: 'CONFIG_UNKNOWN_KEY',
    origin: originOf(path),
    key: keyPath(path),
    got: 'an unknown key',
    wanted:
      near !== null && known.length > MAX_LISTED_KEYS
        ? 'a key of this section'
        : `one of ${known.join(', ')}`,
    fix: near === null ? 'remove it, or put it into the section where it belongs' : `write ${near}`,
  }
}

function keyOfAnotherType(path: Path, { chosen, elsewhere }: SectionNode, originOf: OriginOf) {
  const types = elsewhere.get(String(path.at(-1)))?.types
  if (chosen === null || types === undefined) return null
  const chooser = originOf([...path.slice(0, -1), chosen.key])
  const own = originOf(path)
  const isOneVariable =
    own.kind === 'environment' && chooser.kind === own.kind && chooser.name === own.name
  return {
    got: `a key that belongs to ${chosen.key} ${types.join(' and ')}`,
    wanted: `a key of ${chosen.key} ${chosen.type}`,
    // A type that a variable chose stands, whatever is written where the key is.
    fix:
      chooser.kind === 'environment' && !isOneVariable
        ? `remove it, or the variable ${chooser.name}`
        : `remove it, or write ${chosen.key}: ${types.join(' or ')}`,
  }
}

function showAs(node: Node | null, value: unknown): string {
  if (node === null || node.type === 'map') return showKind(value)
  if (node.type === 'section') return typeof value === 'string' ? showKind(value) : showValue(value)
  if (node.type === 'list') return showValue(value)
  if (node.meta.kind === 'secret') return showKind(value)
  if (node.meta.kind === 'url' && typeof value === 'string') return showValue(hideUrl(value))
  return showValue(value)
}
