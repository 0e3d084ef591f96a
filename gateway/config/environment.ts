/**
 * The environment overlay: `SLUICE__` + the key's path joined by `__`, camelCase as UPPER_SNAKE,
 * `-` as `_`, list items by index, values parsed as YAML. It changes what would be in effect
 * without it, defaults included: `SLUICE__MQTT__LISTENERS__0__HOST` changes the default listener. A
 * name that means no key, or two, is refused (I9 in spirit: a setting that does nothing must not
 * pass unseen). A variable may set the type of a section; the others are then keys of that type.
 *
 * Pure. Values are checked later, with those of the file.
 */
import { parseDocument } from 'yaml'
import { nearest } from '../shared/text/nearest.ts'
import type { Origin, Problem } from './problems.ts'
import { type AnySchema, isMap } from './schema.ts'
import {
  childOf,
  chooserKeys,
  keyPath,
  type Node,
  nodeAt,
  type Path,
  spelledOut,
  valueOf,
} from './walk.ts'

const ENVIRONMENT_PREFIX = 'SLUICE__'

interface Overlay {
  readonly data: unknown
  /** Name of the variable that set the longest part of a path, or null. */
  variableOf(path: Path): string | null
  readonly problems: readonly Problem[]
}

/**
 * The variable that sets a key: `['streams', 'a-b', 'maxBytes']` is
 * `SLUICE__STREAMS__A_B__MAX_BYTES`.
 */
export function variableName(path: Path): string {
  return ENVIRONMENT_PREFIX + path.map(encodeKey).join('__')
}

function encodeKey(key: string | number): string {
  return String(key)
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toUpperCase()
    .replaceAll(/[^A-Z0-9]/g, '_')
}

/** `data` with the environment laid over it; `data` itself is not changed. */
export function overlayEnvironment(
  schema: AnySchema,
  data: unknown,
  environment: Readonly<Record<string, string | undefined>>,
): Overlay {
  const problems: Problem[] = []
  const variables = new Map<string, string>()
  let tree: unknown = structuredClone(data ?? {})
  for (const name of variableNames(environment, chooserKeys(schema))) {
    const paths = resolve(schema, tree, name.slice(ENVIRONMENT_PREFIX.length), [])
    const [path] = paths
    if (path === undefined) problems.push(unknownName(schema, tree, name))
    else if (paths.length > 1) problems.push(ambiguousName(name, paths))
    else {
      const parsed = parseValue(name, path, environment[name] ?? '')
      if ('problem' in parsed) problems.push(parsed.problem)
      else {
        const outcome = setAt(schema, tree, path, parsed.value)
        if (typeof outcome === 'string')
          problems.push(environmentProblem(name, keyPath(path), outcome))
        else {
          tree = outcome.value
          variables.set(JSON.stringify(path), name)
        }
      }
    }
  }
  return { data: tree, problems, variableOf: (path) => longest(variables, path) }
}

/**
 * Keys that one variable name would mean, in pairs. They are refused even when no variable is set:
 * one that is set later must not fail then.
 */
export function clashingNames(
  schema: AnySchema,
  data: unknown,
): ReadonlyArray<{ readonly name: string; readonly first: Path; readonly second: Path }> {
  const seen = new Map<string, Path>()
  const clashes: Array<{ name: string; first: Path; second: Path }> = []
  visitKeys(schema, data, (path) => {
    const name = variableName(path)
    const first = seen.get(name)
    if (first === undefined) seen.set(name, path)
    else clashes.push({ name, first, second: path })
    return first === undefined
  })
  return clashes
}

/**
 * Calls `visit` for each key that a variable can set now, a section before the keys in it; false:
 * not for those.
 */
function visitKeys(
  schema: AnySchema,
  value: unknown,
  visit: (path: Path) => boolean,
  path: Path = [],
): void {
  const node = nodeAt(schema, value)
  const here = value === undefined ? node.fallback : value
  for (const key of keysOf(node, here)) {
    const inner = [...path, key]
    const child = childOf(node, key)
    if (visit(inner) && child !== null) visitKeys(child, valueOf(here, key), visit, inner)
  }
}

function longest(variables: ReadonlyMap<string, string>, path: Path): string | null {
  for (let length = path.length; length > 0; length--) {
    const name = variables.get(JSON.stringify(path.slice(0, length)))
    if (name !== undefined) return name
  }
  return null
}

/**
 * Whole sections before the keys in them, the key that chooses a type before the others, list items
 * in order.
 */
function variableNames(
  environment: Readonly<Record<string, string | undefined>>,
  choosers: ReadonlySet<string>,
): string[] {
  const first = new Set([...choosers].map(encodeKey))
  return Object.keys(environment)
    .filter((name) => name.startsWith(ENVIRONMENT_PREFIX) && environment[name] !== undefined)
    .sort((a, b) => compareNames(a.split('__'), b.split('__'), first))
}

function compareNames(
  a: readonly string[],
  b: readonly string[],
  first: ReadonlySet<string>,
): number {
  for (const [index, left] of a.entries()) {
    const right = b[index]
    if (right === undefined) return 1
    if (left === right) continue
    if (first.has(left) !== first.has(right)) return first.has(left) ? -1 : 1
    if (/^\d+$/.test(left) && /^\d+$/.test(right)) return Number(left) - Number(right)
    return left < right ? -1 : 1
  }
  return a.length - b.length
}

/**
 * Every path that `rest` can mean. Keys that are there come before new ones, and before those of
 * another type, which are taken so that they can be refused as what they are.
 */
function resolve(schema: AnySchema, value: unknown, rest: string, path: Path): Path[] {
  const node = nodeAt(schema, value)
  const here = value === undefined ? node.fallback : value
  const found: Path[] = []
  for (const key of keysOf(node, here)) found.push(...resolveKey(node, here, key, rest, path))
  if (found.length > 0) return found
  return newKeys(node, rest).flatMap((key) => resolveKey(node, here, key, rest, path))
}

function resolveKey(
  node: Node,
  here: unknown,
  key: string | number,
  rest: string,
  path: Path,
): Path[] {
  const encoded = encodeKey(key)
  const inner = [...path, key]
  if (rest === encoded) return [inner]
  if (!rest.startsWith(`${encoded}__`)) return []
  const remainder = rest.slice(encoded.length + 2)
  const child = anyChildOf(node, key)
  return child === null ? [] : resolve(child, valueOf(here, key), remainder, inner)
}

function anyChildOf(node: Node, key: string | number): AnySchema | null {
  const elsewhere = node.type === 'section' ? node.elsewhere.get(String(key))?.schema : undefined
  return childOf(node, key) ?? elsewhere ?? null
}

/** Keys below a node: the schema's, or those that are there. A secret may be given by file. */
function keysOf(node: Node, here: unknown): ReadonlyArray<string | number> {
  if (node.type === 'section') return [...node.shape.keys()]
  if (node.type === 'map') return isMap(here) ? Object.keys(here) : []
  if (node.type === 'list') return Array.isArray(here) ? here.map((_, index) => index) : []
  return node.meta.kind === 'secret' ? ['file'] : []
}

/** Keys that a name would create in a map or list, and those of another type. */
function newKeys(node: Node, rest: string): ReadonlyArray<string | number> {
  const [first = ''] = rest.split('__', 1)
  if (node.type === 'section') return [...node.elsewhere.keys()]
  if (node.type === 'list') return /^(0|[1-9]\d{0,4})$/.test(first) ? [Number(first)] : []
  if (node.type !== 'map' || !/^[A-Z0-9][A-Z0-9_]*$/.test(first)) return []
  return [first.toLowerCase().replaceAll('_', '-')]
}

/** A copy of `current` with the value at `path`, or what the path wants instead. */
function setAt(
  schema: AnySchema,
  current: unknown,
  path: Path,
  value: unknown,
): { value: unknown } | string {
  const [key, ...rest] = path
  if (key === undefined) return { value }
  const node = nodeAt(schema, current)
  if (node.type === 'leaf') return { value: { [key]: value } }
  const here = current === undefined ? structuredClone(node.fallback) : spelledOut(schema, current)
  const child = anyChildOf(node, key)
  if (child === null) return 'a key of this section'
  const inner = setAt(child, valueOf(here, key), rest, value)
  if (typeof inner === 'string') return inner
  if (node.type !== 'list') {
    if (here !== undefined && here !== null && !isMap(here)) return 'a map above this key'
    // Not a literal: __proto__ would be no own key then.
    return { value: Object.fromEntries([...Object.entries(here ?? {}), [key, inner.value]]) }
  }
  const items: unknown[] = Array.isArray(here) ? [...here] : []
  if (here !== undefined && here !== null && !Array.isArray(here)) return 'a list above this index'
  if (Number(key) > items.length)
    return `an index without a hole before it, at most ${items.length}`
  items[Number(key)] = inner.value
  return { value: items }
}

function parseValue(
  name: string,
  path: Path,
  text: string,
): { value: unknown } | { problem: Problem } {
  const quote = `put the value in quotation marks inside the variable: ${name}='"…"'`
  const document = parseDocument(text, { prettyErrors: false })
  const refuse = (got: string) => ({
    problem: { ...environmentProblem(name, keyPath(path), 'a YAML value'), got, fix: quote },
  })
  if (document.errors.length > 0 || document.warnings.length > 0)
    return refuse('text that is not YAML')
  if (document.comment !== null || document.commentBefore !== null || hasComment(document.contents))
    return refuse('a text that YAML cuts at its #')
  try {
    return { value: document.toJS({ maxAliasCount: 100 }) }
  } catch {
    return refuse('a text that YAML reads as an alias')
  }
}

function hasComment(contents: unknown): boolean {
  return (
    typeof contents === 'object' &&
    contents !== null &&
    'comment' in contents &&
    Boolean(contents.comment)
  )
}

function environmentProblem(name: string, key: string, wanted: string): Problem {
  const origin: Origin = { kind: 'environment', name }
  return {
    code: 'CONFIG_ENVIRONMENT',
    origin,
    key,
    got: `the variable ${name}`,
    wanted,
    fix: 'change or remove the variable',
  }
}

function unknownName(schema: AnySchema, tree: unknown, name: string): Problem {
  const known: string[] = []
  visitKeys(schema, tree, (path) => known.push(variableName(path)) > 0)
  const near = nearest(name, known)
  return {
    ...environmentProblem(name, '', 'a name that means a key'),
    fix: near === null ? 'remove it, or see the configuration table for the keys' : `write ${near}`,
  }
}

function ambiguousName(name: string, paths: readonly Path[]): Problem {
  return {
    ...environmentProblem(name, '', 'a name that means one key'),
    got: `a name that means ${paths.map(keyPath).join(' and ')}`,
    fix: 'rename one of them in the file',
  }
}
