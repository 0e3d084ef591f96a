/**
 * What a configuration is built of: leaves in sections, lists, maps and variants, as zod schemas
 * that can be walked (walk.ts).
 *
 * Every leaf carries {@link LeafMeta} in a registry: the type and unit that the table of keys
 * shows, the text, whether it is a secret or a path. The loader reads it to resolve paths, the
 * printer to write units and to hide secrets.
 */
import { z } from 'zod'

/** A schema whose output is `T`. */
export type Schema<T> = z.ZodType<T>
/** A schema as the walkers see it. */
export type AnySchema = z.core.$ZodType

export type LeafKind =
  | 'size'
  | 'duration'
  | 'integer'
  | 'number'
  | 'boolean'
  | 'text'
  | 'name'
  | 'choice'
  | 'path'
  | 'secret'
  | 'url'

/**
 * What a value looks like, in keywords of JSON Schema: true of every value that is taken. `parse` has
 * the last word.
 */
export type LeafShape = Readonly<Record<string, unknown>>

export interface LeafMeta {
  readonly kind: LeafKind
  /** In words, as an error says it: `a size from 1KiB to 1GiB`. */
  readonly wanted: string
  readonly nullable: boolean
  readonly text: string
  /** Without the null of `nullable`. */
  readonly shape: LeafShape
}

export const leaves = z.registry<LeafMeta>()

/** Why a value was refused; `wanted` replaces the leaf's own words where it can be said better. */
export interface Refusal {
  readonly fix: string
  readonly wanted?: string
}
export type LeafResult<T> = { readonly value: T } | Refusal

export interface LeafSpec<T> {
  readonly kind: LeafKind
  readonly wanted: string
  readonly text: string
  readonly shape: LeafShape
  parse(input: unknown): LeafResult<T>
}

/** A schema for one value: everything it takes and says is in `spec`. */
export function leaf<T>(spec: LeafSpec<T>): z.ZodType<T> {
  return build(spec, false, (input) => spec.parse(input))
}

/** The same, or null. */
export function nullable<T>(spec: LeafSpec<T>): z.ZodType<T | null> {
  return build<T | null>(spec, true, (input) =>
    input === null ? { value: null } : spec.parse(input),
  )
}

function build<T>(
  spec: Omit<LeafSpec<unknown>, 'parse'>,
  isNullable: boolean,
  parse: (input: unknown) => LeafResult<T>,
): z.ZodType<T> {
  const wanted = isNullable ? `${spec.wanted}, or null` : spec.wanted
  const schema = z.unknown().transform((input, context): T => {
    const result = parse(input)
    if ('value' in result) return result.value
    context.addIssue({ code: 'custom', message: wanted, params: { wanted, ...result } })
    return z.NEVER
  })
  const { kind, text, shape } = spec
  leaves.add(schema, { kind, wanted, nullable: isNullable, text, shape })
  return schema
}

interface Length {
  readonly min?: number
  readonly max: number
}

interface GroupMeta {
  readonly text: string
  /** Of a list: how many items it may have. */
  readonly length?: Length
}

interface MapMeta extends GroupMeta {
  /** What its keys are, in a word. A `name` is checked: it becomes part of ids and of variables. */
  readonly key: string
  /** A text in place of the map is the value of this key alone. */
  readonly word?: string
}

export type Shape = Readonly<Record<string, AnySchema>>

export interface VariantMeta extends GroupMeta {
  /** The key whose value chooses the type. */
  readonly key: string
  /** Of that key. */
  readonly chooser: AnySchema
  /** Where the key is not written. */
  readonly usual: string
  /** Keys of each type alone, by type. */
  readonly types: ReadonlyMap<string, Shape>
  /** Keys that every type has. */
  readonly common: Shape
  /** The value of the key, written in place of the section, is a section with this key alone. */
  readonly word: boolean
}

/**
 * What a changed key does to a gateway that runs: it is in force at once; what it belongs to is
 * replaced by one of the new configuration; or it has to wait for a start.
 */
export type Effect = 'live' | 'replaced' | 'restart'

/** Of the schemas that say it; what is below one has its effect, too. */
export const effects = new WeakMap<AnySchema, Effect>()

/** The schema itself, and all below it that says nothing else, has this effect. */
export function changes<Of extends AnySchema>(effect: Effect, schema: Of): Of {
  effects.set(schema, effect)
  return schema
}

/** Texts of sections and lists. */
export const groups = z.registry<GroupMeta>()
export const maps = z.registry<MapMeta>()
/** No registry of zod's: its types would rewrite the schemas in what it keeps. */
export const variants = new WeakMap<AnySchema, VariantMeta>()

/** Is this a map of keys, as YAML and JSON know it? */
export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * A section: the keys in `shape` and no others; each has a default, so the section may be left out
 * or empty.
 */
export function section<Shape extends z.ZodRawShape>(text: string, shape: Shape) {
  const schema = z.strictObject(shape)
  groups.add(schema, { text })
  return schema
}

/** A list, written as a YAML sequence. */
export function list<Item extends z.ZodType>(text: string, item: Item, length: Length) {
  const schema = z
    .array(item)
    .min(length.min ?? 0)
    .max(length.max)
  groups.add(schema, { text, length })
  return schema
}

/**
 * A map of any keys to values of one kind; `key` says what the keys are, in a word. With `word`, a
 * text in its place is the map of that key alone.
 */
export function map<Value extends z.ZodType>(
  text: string,
  key: string,
  value: Value,
  { word }: Pick<MapMeta, 'word'> = {},
) {
  const schema = z.record(z.string(), value)
  maps.add(schema, { text, key, ...(word === undefined ? {} : { word }) })
  return schema
}
