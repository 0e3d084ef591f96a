/**
 * A configuration made again of what is shown of one (print.ts): secrets are hidden there, and come
 * from another configuration that shows the same in their place. Pure.
 */
import { HIDDEN, shownValue } from '../print.ts'
import type { Schema } from '../schema.ts'
import { mapLeaves, type Path, valueOf } from '../walk.ts'

interface FromShown<T> {
  readonly config: T
  /** Where a secret is still hidden: the other configuration does not have it. */
  readonly hidden: readonly Path[]
}

/** null: `shown` is of a version whose keys are other ones. */
export function fromShown<T>(root: Schema<T>, shown: unknown, known: T): FromShown<T> | null {
  const parsed = root.safeParse(shown)
  if (!parsed.success) return null
  const shownOfKnown = shownValue(root, known)
  const hidden: Path[] = []
  const config = mapLeaves(root, parsed.data, (value, { kind }, path) => {
    const text = at(shown, path)
    const isHidden = kind === 'secret' ? text === HIDDEN : kind === 'url' && isPartlyHidden(text)
    if (!isHidden) return value
    if (at(shownOfKnown, path) === text) return at(known, path)
    hidden.push(path)
    return value
  })
  return { config: config as T, hidden }
}

function isPartlyHidden(value: unknown): boolean {
  return typeof value === 'string' && value.includes(HIDDEN)
}

function at(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((found, key) => valueOf(found, key), value)
}
