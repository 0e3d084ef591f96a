/**
 * A section whose keys depend on the value of one of them, such as `type`: those of its type, and
 * those that every type has.
 */
import { z } from 'zod'
import { choice } from './fields.ts'
import { isMap, leaf, type Schema, variants } from './schema.ts'

interface VariantSpec<Key extends string, Types, Common> {
  /** The key whose value chooses the type. */
  readonly key: Key
  readonly keyText: string
  /** The type where the key is not written. */
  readonly usual: keyof Types & string
  readonly types: Types
  /** Keys that every type has. A type may have one of them with another default. */
  readonly common: Common
  /** What to write in place of words that name no type, such as a product. */
  readonly instead?: ReadonlyMap<string, string>
  /** The value of the key, written in place of the section, is a section with this key alone. */
  readonly word?: boolean
}

type VariantTypes = Readonly<Record<string, { readonly keys: z.ZodRawShape }>>

type Variant<Key extends string, Types extends VariantTypes, Common extends z.ZodRawShape> = {
  [Type in keyof Types]: { readonly [key in Key]: Type } & z.output<
    z.ZodObject<Types[Type]['keys'] & Common>
  >
}[keyof Types]

export function variant<
  Key extends string,
  Types extends VariantTypes,
  Common extends z.ZodRawShape,
>(text: string, spec: VariantSpec<Key, Types, Common>): Schema<Variant<Key, Types, Common>> {
  const { key, usual, common, instead, word = false } = spec
  const types = Object.entries(spec.types)
  const chooser = leaf(choice(spec.keyText, Object.keys(spec.types), instead)).prefault(usual)
  const sections = new Map(
    types.map(([type, { keys }]) => [
      type,
      z.strictObject({ [key]: chooser, ...keys, ...common, ...keys }),
    ]),
  )
  const schema = z.unknown().transform((given, context) => {
    const input = word && typeof given === 'string' ? { [key]: given } : given
    const written = isMap(input) && Object.hasOwn(input, key) ? input[key] : undefined
    const chosen = chooser.safeParse(written)
    const type = chosen.success ? chosen.data : usual
    const parsed = sections.get(type)?.safeParse(input)
    if (parsed?.success === true) return parsed.data
    // Of a type that is none, no key can be said to be wrong.
    const issues = chosen.success ? (parsed?.error.issues ?? []) : chosen.error.issues
    for (const issue of issues) {
      const path = chosen.success ? issue.path : [key, ...issue.path]
      context.addIssue({ ...issue, path })
    }
    return z.NEVER
  })
  variants.set(schema, {
    text,
    key,
    chooser,
    usual,
    types: new Map(types.map(([type, { keys }]) => [type, keys])),
    common,
    word,
  })
  return schema as unknown as Schema<Variant<Key, Types, Common>>
}
