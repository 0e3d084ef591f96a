/**
 * Topic filters and what belongs to them, looked up by topic name: one node per filter level.
 * Routing, the local subscribers and the subscriptions of sessions that are away share it, so that
 * one implementation of [MQTT-4.7.1-2] (`#` takes the parent too), [MQTT-4.7.1-3] (`+` takes one
 * level, an empty one too) and [MQTT-4.7.2-1] (a leading wildcard does not take `$` topics) decides
 * them all.
 *
 * It does not check filters; callers do (`checkTopicFilter`).
 */

interface Node<T> {
  /** Children by level; null while there are none: most nodes are leaves. */
  next: Map<string, Node<T>> | null
  values: Set<T> | null
}

const SLASH = 47
const DOLLAR = 36

export class TopicTrie<T> {
  readonly #root: Node<T> = { next: null, values: null }
  #size = 0

  /** Pairs of filter and value. */
  get size(): number {
    return this.#size
  }

  /** Returns false if the pair was there. */
  add(filter: string, value: T): boolean {
    let node = this.#root
    for (const level of filter.split('/')) {
      node.next ??= new Map()
      let child = node.next.get(level)
      if (child === undefined) {
        child = { next: null, values: null }
        node.next.set(level, child)
      }
      node = child
    }
    node.values ??= new Set()
    if (node.values.has(value)) return false
    node.values.add(value)
    this.#size += 1
    return true
  }

  /**
   * Returns false if the pair was not there. Empty branches go, so memory follows the live filters.
   */
  remove(filter: string, value: T): boolean {
    const levels = filter.split('/')
    const path: Node<T>[] = [this.#root]
    for (const level of levels) {
      const child = path[path.length - 1]?.next?.get(level)
      if (child === undefined) return false
      path.push(child)
    }
    const leaf = path[path.length - 1]
    if (leaf?.values?.delete(value) !== true) return false
    this.#size -= 1
    if (leaf.values.size === 0) leaf.values = null
    for (let depth = levels.length; depth > 0; depth -= 1) {
      const node = path[depth]
      if (node === undefined || node.values !== null || node.next !== null) break
      const parent = path[depth - 1]
      const level = levels[depth - 1]
      if (parent?.next && level !== undefined) {
        parent.next.delete(level)
        if (parent.next.size === 0) parent.next = null
      }
    }
    return true
  }

  /**
   * Appends the values of every filter that takes `topic`; a value under two such filters comes
   * twice.
   */
  collect(topic: string, into: T[]): void {
    walk(this.#root, topic, 0, (values) => {
      for (const value of values) into.push(value)
      return false
    })
  }

  /** Is there any filter that takes `topic`? Stops at the first. */
  matches(topic: string): boolean {
    return walk(this.#root, topic, 0, () => true)
  }
}

/**
 * Visits the value sets of all filters that take the topic, until `visit` says true. `from`: where
 * the level begins.
 */
function walk<T>(
  node: Node<T>,
  topic: string,
  from: number,
  visit: (values: Set<T>) => boolean,
): boolean {
  const { next } = node
  if (next === null) return false
  const wildcards = from > 0 || topic.charCodeAt(0) !== DOLLAR
  let to = from
  while (to < topic.length && topic.charCodeAt(to) !== SLASH) to += 1
  const last = to === topic.length
  if (wildcards) {
    const rest = next.get('#')?.values
    if (rest && visit(rest)) return true
    const any = next.get('+')
    if (any !== undefined && descend(any, topic, to, last, visit)) return true
  }
  const exact = next.get(topic.slice(from, to))
  return exact !== undefined && descend(exact, topic, to, last, visit)
}

function descend<T>(
  node: Node<T>,
  topic: string,
  to: number,
  last: boolean,
  visit: (values: Set<T>) => boolean,
): boolean {
  if (!last) return walk(node, topic, to + 1, visit)
  const parentOf = node.next?.get('#')?.values
  if (parentOf && visit(parentOf)) return true
  return node.values !== null && visit(node.values)
}
