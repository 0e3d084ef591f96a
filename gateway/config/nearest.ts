/** What somebody meant who mistyped a key or a value. Pure. */

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

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  // Nobody mistypes a key of this length; a hostile one must not cost quadratic time.
  if (a.length > 80 || b.length > 80) return a === b ? 0 : 80
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
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (swapped) distance = Math.min(distance, (older[column - 2] ?? 0) + 1)
      current.push(distance)
    }
    older = old
    old = current
  }
  return old[b.length] ?? 0
}
