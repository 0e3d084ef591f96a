/**
 * How two topic filters relate, as sets of topic names: what an access rule for subscriptions has
 * to know. Exact, not approximate, for valid filters (checked against brute force in the tests):
 * [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.2-1], and a topic name has at least one character
 * [MQTT-4.7.3-1].
 */

/** Does `rule` take every topic name that `filter` takes? */
export function covers(rule: string, filter: string): boolean {
  const wide = rule.split('/')
  const narrow = filter.split('/')
  for (let depth = 0; ; depth += 1) {
    const allowed = wide[depth]
    const asked = narrow[depth]
    if (allowed === '#') return depth > 0 || !isReserved(asked)
    if (asked === undefined) return allowed === undefined
    if (allowed === undefined) return false
    if (asked === '#') {
      // The rest takes nothing more, one level, two …; nothing more is no topic name at the very
      // beginning.
      const nothingMoreIsNoTopic = depth === 0 || (depth === 1 && narrow[0] === '')
      return nothingMoreIsNoTopic && allowed === '+' && wide[depth + 1] === '#'
    }
    if (allowed === '+') {
      if (depth === 0 && isReserved(asked)) return false
    } else if (allowed !== asked) {
      return false
    }
  }
}

/** Is there a topic name that both take? */
export function overlaps(one: string, other: string): boolean {
  const a = one.split('/')
  const b = other.split('/')
  for (let depth = 0; ; depth += 1) {
    const x = a[depth]
    const y = b[depth]
    if (x === undefined && y === undefined) return true
    if (x === '#' || y === '#') {
      if (depth === 0) return !isReserved(x) && !isReserved(y)
      const ended = x === undefined || y === undefined
      // The topic name would have to be the one empty level.
      return !(ended && depth === 1 && (a[0] === '' || b[0] === ''))
    }
    if (x === undefined || y === undefined) return false
    if (x === '+' || y === '+') {
      if (depth === 0 && (isReserved(x) || isReserved(y))) return false
    } else if (x !== y) {
      return false
    }
  }
}

/** A first level that a leading wildcard does not take. */
function isReserved(level: string | undefined): boolean {
  return level?.startsWith('$') === true
}
