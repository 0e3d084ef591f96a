/** Every key of a configuration as a row of its table, read from the schema. */
import { stringify } from 'yaml'
import { type AnySchema, leaves } from './schema.ts'
import { type Node, nodeOf } from './walk.ts'

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
  /** `bytes` or `ms` in the loaded configuration; null: no unit. */
  readonly unit: 'bytes' | 'ms' | null
  /** What it means, one or two sentences, and what it accepts. */
  readonly text: string
}

/** In the order of the schema. Sections have a row of their own only if they can be null. */
export function describeKeys(root: AnySchema): KeyDescription[] {
  const rows: KeyDescription[] = []
  visit(nodeOf(root), '', rows)
  return rows
}

function visit(node: Node, path: string, rows: KeyDescription[]): void {
  const below = (key: string) => (path === '' ? key : `${path}.${key}`)
  if (node.type === 'leaf') {
    const { kind, wanted, text } = node.meta
    const unit = kind === 'size' ? 'bytes' : kind === 'duration' ? 'ms' : null
    rows.push({
      path,
      type: kind,
      default: showDefault(node),
      unit,
      text: `${text} Wants ${wanted}.`,
    })
  } else if (node.type === 'section') {
    if (node.nullable || node.fallback === null) {
      rows.push({ path, type: 'section', default: showDefault(node), unit: null, text: node.text })
    }
    for (const [key, child] of node.shape) visit(nodeOf(child), below(key), rows)
  } else if (node.type === 'map') {
    visit(nodeOf(node.value), below(`<${node.key}>`), rows)
  } else {
    const item = leaves.get(node.item)
    if (item === undefined) visit(nodeOf(node.item), below('<n>'), rows)
    else {
      const text = `${node.text} Each wants ${item.wanted}.`
      rows.push({
        path,
        type: `list of ${item.kind}`,
        default: showDefault(node),
        unit: null,
        text,
      })
    }
  }
}

function showDefault({ fallback, optional }: Node): string {
  if (optional) return 'absent'
  if (fallback === undefined) return 'required'
  return stringify(fallback, {
    lineWidth: 0,
    collectionStyle: 'flow',
    flowCollectionPadding: false,
  }).trim()
}
