/** What somebody meant who mistyped a key, a value or a topic. Pure. */

/** The candidate that a typing mistake is closest to, or null if none is close. */
export function nearest(input: string, candidates: readonly string[]): string | null {
  const plain = (word: string) => word.toLowerCase().replaceAll(/[-_ ]/g, '')
  let best: string | null = null
  let bestDistance = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    const distance = editDistance(plain(input), plain(candidate))
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return bestDistance <= Math.max(1, Math.floor(input.length / 3)) ? best : null
}

/** What one level that is missing or too many weighs, in characters. */
const LEVEL_WEIGHT = 2

/** The filter closest to a topic, or null if none is close. No filter may match the topic. */
export function nearestFilter(topic: string, filters: readonly string[]): string | null {
  const levels = topic.toLowerCase().split('/')
  let best: string | null = null
  let bestDistance = Number.POSITIVE_INFINITY
  for (const filter of filters) {
    const distance = filterDistance(levels, filter.toLowerCase().split('/'))
    if (distance < bestDistance) {
      best = filter
      bestDistance = distance
    }
  }
  return bestDistance <= Math.max(LEVEL_WEIGHT, Math.floor((best ?? '').length / 3)) ? best : null
}

/** Edit distance over levels; what a wildcard takes costs nothing. */
function filterDistance(topic: readonly string[], filter: readonly string[]): number {
  const takesRest = filter.at(-1) === '#'
  const wanted = takesRest ? filter.slice(0, -1) : filter
  const weight = (level: string | undefined): number => LEVEL_WEIGHT + (level ?? '').length
  let old = [0]
  for (const level of topic) old.push((old.at(-1) ?? 0) + weight(level))
  for (const want of wanted) {
    const current = [(old[0] ?? 0) + (want === '+' ? LEVEL_WEIGHT : weight(want))]
    for (const [index, level] of topic.entries()) {
      current.push(
        Math.min(
          (old[index + 1] ?? 0) + (want === '+' ? LEVEL_WEIGHT : weight(want)),
          (current[index] ?? 0) + weight(level),
          (old[index] ?? 0) + (want === '+' ? 0 : editDistance(level, want)),
        ),
      )
    }
    old = current
  }
  return takesRest ? Math.min(...old) : (old.at(-1) ?? 0)
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  // Nobody mistypes a key of this length; a hostile one must not cost quadratic time.
  if (a.length > 80 || b.length > 80) return a === b ? 0 : Math.max(a.length, b.length)
  let older: number[] = []
  let old = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const cost = a[row - 1] === b[column - 1] ? 0 : 1
      let distance = Math.min(
        (old[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (old[column - 1] ?? 0) + cost,
      )
      const swapped =
        row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (swapped) distance = Math.min(distance, (older[column - 2] ?? 0) + 1)
      current.push(distance)
    }
    older = old
    old = current
  }
  return old[b.length] ?? 0
}
